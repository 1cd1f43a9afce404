from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from hospproxy.process.worker import TaskThread


class OneThread(TestCase):
    def test_tasks_run_in_order_in_one_other_thread_and_fire_in_this_one(self) -> Deferred[object]:
        worker = TaskThread(reactor, "t")
        order: list[int] = []
        here = threading.get_ident()
        back: list[int] = []

        def task(number: int) -> int:
            order.append(number)
            return threading.get_ident()

        def noted(thread: int) -> int:
            back.append(threading.get_ident())
            return thread

        all_ = gatherResults([worker.run(lambda n=n: task(n)).addCallback(noted) for n in range(20)])

        def check(threads: list[int]) -> None:
            worker.stop()
            self.assertEqual(order, list(range(20)))
            self.assertEqual(len(set(threads)), 1)
            self.assertNotIn(here, threads)
            self.assertEqual(set(back), {here})

        return all_.addCallback(check)

    def test_a_failure_comes_back_and_the_thread_lives_on(self) -> Deferred[object]:
        worker = TaskThread(reactor, "t")
        failed = self.assertFailure(worker.run(lambda: 1 // 0), ZeroDivisionError)
        done = worker.run(lambda: "alive").addCallback(self.assertEqual, "alive")
        return gatherResults([failed, done]).addCallback(lambda _: worker.stop())

    def test_a_stopped_thread_ends_after_what_it_was_given(self) -> Deferred[object]:
        worker = TaskThread(reactor, "t")
        done = worker.run(threading.current_thread)
        worker.stop()

        def ended(thread: threading.Thread) -> None:
            thread.join(10)
            self.assertFalse(thread.is_alive())

        return done.addCallback(ended)

"""Changed options reach all workers, or none."""

from __future__ import annotations

import pickle
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.control.messages import ControlError
from hospproxy.options.source import OptionsState
from hospproxy.workers.messages import AbandonReload, OptionsNews
from hospproxy.workers.workers_reload import WorkersReload

OTHER = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:3000"), deadline_s=5.0)


class Post:
    """A worker slot that notes what it is told."""

    def __init__(self, slot: int, *, ready: bool = True, running: bool = True) -> None:
        self.slot, self.pid = slot, 100 + slot
        self.ready, self.running = ready, running
        self.settings = b"former"
        self.calls: list[str] = []
        self.said: list[Any] = []
        self.prepared: Deferred[str] = Deferred()

    def prepare(self, settings: bytes) -> Deferred[str]:
        assert pickle.loads(settings) == OTHER
        self.calls.append("prepare")
        return self.prepared

    def commit(self) -> Deferred[str]:
        self.calls.append("commit")
        done: Deferred[str] = Deferred()
        done.callback("")
        return done

    def say(self, message: Any) -> None:
        self.said.append(message)


class WorkersReloadTests(SynchronousTestCase):
    def reload(self, *posts: Post) -> tuple[WorkersReload, Deferred[None]]:
        workers: Any = posts
        made = WorkersReload(workers)
        return made, Deferred.fromCoroutine(made.apply(OTHER, self.prepared))

    async def prepared(self) -> None:
        """Wait for the audit record, as ``OptionsReload`` does."""
        self.noting += 1
        await self.noted

    def setUp(self) -> None:
        self.noting, self.noted = 0, Deferred[None]()
        self.noted.callback(None)

    def test_none_applies_before_the_audit_record_is_kept(self) -> None:
        self.noted = Deferred()
        one, two = Post(0), Post(1)
        _, done = self.reload(one, two)
        one.prepared.callback("")
        self.assertEqual(self.noting, 0)
        two.prepared.callback("")
        self.assertEqual((self.noting, one.calls, two.calls), (1, ["prepare"], ["prepare"]))
        two.pid = 999  # replaced meanwhile: it has prepared nothing
        self.noted.callback(None)
        self.successResultOf(done)
        self.assertEqual((one.calls, two.calls), (["prepare", "commit"], ["prepare", "prepare", "commit"]))

    def test_none_applies_before_all_have_prepared(self) -> None:
        one, two = Post(0), Post(1)
        _, done = self.reload(one, two)
        one.prepared.callback("")
        self.assertEqual((one.calls, two.calls, one.settings), (["prepare"], ["prepare"], b"former"))
        two.prepared.callback("")
        self.successResultOf(done)
        for each in (one, two):
            self.assertEqual(each.calls, ["prepare", "commit"])
            self.assertEqual(pickle.loads(each.settings), OTHER)  # for a successor

    def test_if_one_cannot_all_stay(self) -> None:
        one, two = Post(0), Post(1)
        _, done = self.reload(one, two)
        one.prepared.callback("")
        two.prepared.callback("the secret is too short")
        error = self.failureResultOf(done, ControlError).value
        self.assertEqual(self.noting, 0)
        self.assertEqual(error.lines, ("worker 1 cannot apply them: the secret is too short",))
        for each in (one, two):
            self.assertEqual((each.calls, each.settings), (["prepare"], b"former"))
            self.assertEqual(each.said, [AbandonReload()])

    def test_one_that_dies_meanwhile_gets_a_successor_with_them(self) -> None:
        one, two = Post(0), Post(1)
        _, done = self.reload(one, two)
        two.prepared.callback("")
        two.ready = two.running = False
        one.prepared.callback("")
        self.successResultOf(done)
        self.assertEqual((two.calls, pickle.loads(two.settings)), (["prepare"], OTHER))

    def test_one_that_is_starting_gets_them_when_it_serves(self) -> None:
        one, two = Post(0), Post(1, ready=False)
        made, done = self.reload(one, two)
        one.prepared.callback("")
        self.successResultOf(done)
        self.assertEqual(two.calls, [])
        post: Any = two
        made.serves(post)
        made.serves(post)
        self.assertEqual(two.calls, ["prepare", "commit"])

    def test_one_that_comes_up_while_others_prepare(self) -> None:
        one, two = Post(0), Post(1, ready=False)
        _, done = self.reload(one, two)
        two.ready = True
        one.prepared.callback("")
        self.successResultOf(done)
        self.assertEqual(two.calls, ["prepare", "commit"])

    def test_worker_0_shows_what_has_become_of_the_options(self) -> None:
        one, two = Post(0), Post(1)
        made, _ = self.reload(one, two)
        made.tell(OptionsState(3, 4.0, 5.0))
        made.serves(one)  # type: ignore[arg-type]
        self.assertEqual((one.said, two.said), ([OptionsNews(3, 4.0, 5.0)] * 2, []))

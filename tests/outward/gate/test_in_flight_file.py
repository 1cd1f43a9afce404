"""A process is killed with requests in flight at HOSP: the next process holds their slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.in_flight_file import END_S, InFlightFile, read_from
from tests.outward.ledger.fakes import AtOnce

from .test_left_behind import World


class Held:
    """Does the work when it is told to."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        self.tasks.append((task, Deferred()))
        return self.tasks[-1][1]

    def stop(self) -> None:
        pass

    def work(self) -> None:
        while self.tasks:
            task, done = self.tasks.pop(0)
            done.callback(task())


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.boot = Clock()
        self.boot.advance(500.0)

    def made(self, reading: float) -> tuple[InFlightFile, Clock, list[float]]:
        """Start a process whose clock has this reading; return what it finds on disk."""
        clock = Clock()
        clock.advance(reading)
        file = InFlightFile(self.path, AtOnce(), clock, self.boot.seconds)
        return file, clock, file.open()

    def test_what_was_in_hand_is_found_by_the_next(self) -> None:
        file, clock, found = self.made(1000.0)
        self.assertEqual(found, [])
        for name, at in (("a", 1000.0), ("b", 1001.0), ("c", 1002.0)):
            file.begin(name, at)
        file.end("b")
        file.end("unknown")
        self.boot.advance(7.0)
        clock.advance(7.0)
        # The next process's clock has another reading, as after a change of the wall clock.
        self.assertEqual(self.made(50.0)[2], [43.0, 45.0])

    def test_how_long_hosp_takes_is_handed_on_too(self) -> None:
        file, _, _ = self.made(0.0)
        file.learn(0.75)
        file.begin("a", 0.0)
        second, _, _ = self.made(0.0)
        second.learn(None)
        second.begin("b", 0.0)
        self.assertEqual(self.made(0.0)[0].longest_s, 0.75)

    def test_an_end_waits_for_the_next_attempt_or_a_moment(self) -> None:
        file, clock, _ = self.made(0.0)
        file.begin("a", 0.0)
        file.end("a")
        self.assertEqual(self.made(0.0)[2], [0.0])
        file.begin("b", 0.0)
        self.assertEqual(len(self.made(0.0)[2]), 1)
        clock.advance(END_S)
        file.end("b")
        file.begin("c", 0.0)
        file.end("c")
        self.assertEqual(len(self.made(0.0)[2]), 1)
        clock.advance(END_S)
        self.assertEqual(self.made(0.0)[2], [])
        clock.advance(10.0)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_stop_writes_what_has_ended(self) -> None:
        file, clock, _ = self.made(0.0)
        file.begin("a", 0.0)
        file.begin("b", 0.0)
        file.end("a")
        file.stop()
        self.assertEqual(self.made(0.0)[2], [0.0])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_stop_while_the_thread_is_busy_writes_all_changes(self) -> None:
        worker = Held()
        file = InFlightFile(self.path, worker, Clock(), self.boot.seconds)
        file.open()
        file.begin("a", 0.0)
        file.begin("b", 0.0)
        file.end("a")
        file.stop()
        worker.work()
        self.assertEqual(len(self.made(0.0)[2]), 1)

    def test_a_stop_leaves_what_is_in_hand_then(self) -> None:
        file, _, _ = self.made(0.0)
        file.begin("a", 0.0)
        file.stop()
        file.end("a")
        self.assertEqual(self.made(0.0)[2], [0.0])

    def test_what_cannot_be_written_is_said_once_and_does_no_harm(self) -> None:
        self.path.mkdir()
        file, _, found = self.made(0.0)
        file.begin("a", 0.0)
        file.end("a")
        file.stop()
        self.assertEqual(found, [])

    @given(st.binary(max_size=60))
    def test_any_bytes_are_moments_or_nothing(self, content: bytes) -> None:
        self.assertIsInstance(read_from(content).sent, list)

    def test_a_shorter_content_over_a_longer_one(self) -> None:
        self.assertEqual(read_from(b'{"v":1,"sent":[2.5]}\n0.0,7.25]}\n').sent, [2.5])
        self.assertEqual(read_from(b'{"v":2,"sent":[2.5]}\n').sent, [])


class InheritingTests(SynchronousTestCase):
    def test_places_come_back_one_by_one_when_hosp_must_have_finished(self) -> None:
        world = World(concurrency=3)
        self.addCleanup(world.close)
        world.clock.advance(100.0)
        world.gate.inherit([76.0, 80.0, 30.0, 100.5, -1.0])
        self.assertEqual((world.gauge("gate_in_flight"), world.gauge("gate_left_behind")), (2, 2))
        for _ in range(3):
            world.send()
        self.assertEqual(len(world.hosp.working), 1)
        world.clock.advance(1.0)
        self.assertEqual(len(world.hosp.working), 2)
        world.clock.advance(4.0)
        self.assertEqual((len(world.hosp.working), world.gauge("gate_left_behind")), (3, 0))

    def test_a_quick_hosp_is_waited_for_only_as_long_as_it_ever_took(self) -> None:
        world = World(concurrency=3)
        self.addCleanup(world.close)
        world.clock.advance(100.0)
        world.gate.inherit([99.0, 99.8], 0.5)
        self.assertEqual(world.gauge("gate_in_flight"), 1)
        world.clock.advance(0.4)
        self.assertEqual(world.gauge("gate_in_flight"), 0)

    def test_a_file_cannot_take_more_places_than_there_are(self) -> None:
        world = World(concurrency=3)
        self.addCleanup(world.close)
        world.gate.inherit([0.0] * 1000)
        self.assertEqual(world.gauge("gate_in_flight"), 3)

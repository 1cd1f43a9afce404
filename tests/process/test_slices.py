"""Long work runs in slices, one in each turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Generator

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.slices import SliceQueue


class Reactor:
    """Runs what was due when its turn began, like a real reactor; a Clock also runs what is added meanwhile."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        assert delay == 0
        self.due.append(call)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.turns = SliceQueue(self.reactor)  # type: ignore[arg-type]
        self.done: list[str] = []

    def work(self, name: str, slices: int) -> Generator[None, None, str]:
        for _ in range(slices):
            self.done.append(name)
            yield
        return name

    def start(self, name: str, slices: int) -> Deferred[str]:
        return Deferred.fromCoroutine(self.turns.run(self.work(name, slices)))

    def test_one_slice_a_turn_whoever_it_belongs_to(self) -> None:
        one, other = self.start("a", 3), self.start("b", 2)
        self.assertEqual(self.done, [])
        counts = []
        for _ in range(7):
            self.reactor.turn()
            counts.append(len(self.done))
        self.assertEqual(self.done, ["a", "b", "a", "b", "a"])
        self.assertEqual(counts, [1, 2, 3, 4, 5, 5, 5])
        self.assertEqual((self.successResultOf(one), self.successResultOf(other)), ("a", "b"))
        self.assertEqual(self.reactor.due, [])

    def test_who_leaves_takes_no_turn(self) -> None:
        one, other = self.start("a", 5), self.start("b", 2)
        self.reactor.turn()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        for _ in range(3):
            self.reactor.turn()
        self.assertEqual((self.done, self.successResultOf(other)), (["a", "b", "b"], "b"))

    def test_what_the_work_raises(self) -> None:
        def failing() -> Generator[None, None, None]:
            yield
            raise ValueError("x")

        failed = Deferred.fromCoroutine(self.turns.run(failing()))
        self.reactor.turn()
        self.reactor.turn()
        self.failureResultOf(failed, ValueError)

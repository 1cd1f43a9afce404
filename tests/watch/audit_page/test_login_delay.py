from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.audit_page.login_delay import (
    FORGET_S,
    LONGEST_S,
    MOST_TRIES,
    MOST_TRIES_EACH,
    LoginDelay,
)


class SlowingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.slowing = LoginDelay(self.clock.seconds, most_keys=100)

    def fail_once(self, address: str = "a", name: str = "n") -> float:
        wait = self.slowing.begin(address, name)
        assert wait is not None
        self.slowing.end(address, name, right=False)
        return wait

    def test_it_grows_from_half_a_second_to_thirty(self) -> None:
        waits = [self.fail_once() for _ in range(9)]
        self.assertEqual(waits, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_S, LONGEST_S])

    def test_nobody_is_ever_locked_out(self) -> None:
        for _ in range(1000):
            self.assertLessEqual(self.fail_once(), LONGEST_S)

    def test_another_name_from_there_and_the_name_from_elsewhere_wait_too(self) -> None:
        for _ in range(3):
            self.fail_once("a", "n")
        self.assertEqual(self.fail_once("a", "other"), 2.0)
        self.assertEqual(self.fail_once("b", "n"), 2.0)
        self.assertEqual(self.fail_once("c", "third"), 0.0)

    def test_the_right_password_ends_it(self) -> None:
        self.fail_once()
        self.slowing.begin("a", "n")
        self.slowing.end("a", "n", right=True)
        self.assertEqual((self.fail_once(), len(self.slowing)), (0.0, 2))

    def test_a_try_that_was_given_up_is_no_failure(self) -> None:
        self.slowing.begin("a", "n")
        self.slowing.end("a", "n", right=None)
        self.assertEqual((len(self.slowing), self.fail_once()), (0, 0.0))

    def test_time_forgives(self) -> None:
        for _ in range(5):
            self.fail_once()
        self.clock.advance(FORGET_S)
        self.assertEqual(self.fail_once(), 0.0)

    def test_many_at_once_are_not_quicker_than_one_after_the_other(self) -> None:
        waits = [self.slowing.begin("a", "n") for _ in range(MOST_TRIES_EACH)]
        self.assertEqual(waits, [0.0, 0.5, 1.0, 2.0])
        self.assertIsNone(self.slowing.begin("a", "other"))
        self.assertEqual(self.slowing.begin("b", "third"), 0.0)

    def test_tries_at_one_time_are_bounded(self) -> None:
        begun = [self.slowing.begin(f"a{n}", f"n{n}") for n in range(MOST_TRIES + 5)]
        self.assertEqual(sum(wait is not None for wait in begun), MOST_TRIES)
        self.slowing.end("a0", "n0", right=False)
        self.assertIsNotNone(self.slowing.begin("another", "another"))

    def test_memory_is_bounded(self) -> None:
        for n in range(1000):
            self.fail_once(f"a{n}", f"n{n}")
        self.assertLessEqual(len(self.slowing), 100)

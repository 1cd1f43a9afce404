"""How long a guess must wait, how fast requests may come, and what a full table forgets."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard.admission.key_limits import REACH, DelayRule, ExpiryTable, FailedGuesses, TokenBuckets
from hospproxy.guard.admission.refusals import NoRefusalCache, RefusalCache

PATIENCE = DelayRule(free=3, forgive_s=60, cap_s=10)


class DelayTests(SynchronousTestCase):
    def test_some_are_free_then_it_doubles_up_to_the_cap(self) -> None:
        self.assertEqual(
            [PATIENCE.delay_s(failures) for failures in range(10)], [0, 0, 0, 0.5, 1, 2, 4, 8, 10, 10]
        )

    def test_one_failure_is_forgotten_each_minute(self) -> None:
        guilt = FailedGuesses(PATIENCE, 100)
        for _ in range(4):
            guilt.failed(b"a", 0.0)
        self.assertEqual(
            [guilt.failures(b"a", now) for now in (0, 59.9, 60, 120, 180, 240, 999)], [4, 4, 3, 2, 1, 0, 0]
        )
        self.assertEqual(guilt.failures(b"b", 0.0), 0)

    def test_guilt_has_an_end_however_long_the_attack(self) -> None:
        guilt = FailedGuesses(PATIENCE, 100)
        for _ in range(100_000):
            guilt.failed(b"a", 5.0)
        self.assertEqual(guilt.failures(b"a", 5.0), 3 + REACH)
        self.assertEqual(PATIENCE.delay_s(guilt.failures(b"a", 5.0 + 60 * (REACH + 1))), 0)

    def test_a_success_ends_it(self) -> None:
        guilt = FailedGuesses(PATIENCE, 100)
        for key in (b"a", b"b"):
            guilt.failed(key, 0.0)
        guilt.succeeded(b"a")
        self.assertEqual([guilt.failures(key, 1.0) for key in (b"a", b"b")], [0, 1])


class MarksTests(SynchronousTestCase):
    def test_a_flood_of_new_keys_frees_nobody(self) -> None:
        """An attacker could fill the table with names that were tried once."""
        guilt = FailedGuesses(PATIENCE, 100)
        for _ in range(6):
            guilt.failed(b"victim", 0.0)
        for number in range(10_000):
            guilt.failed(b"%d" % number, 0.0)
            self.assertLessEqual(len(guilt), 100)
        self.assertEqual(guilt.failures(b"victim", 0.0), 6)

    def test_a_table_full_of_the_guilty_does_not_make_the_next_one_innocent(self) -> None:
        guilt = FailedGuesses(PATIENCE, 100)
        for number in range(100):
            for _ in range(5):
                guilt.failed(b"%d" % number, 0.0)
        for _ in range(5):
            guilt.failed(b"next", 0.0)
        self.assertGreaterEqual(guilt.failures(b"next", 0.0), 5)

    def test_what_is_over_goes_first_and_leaves_nothing(self) -> None:
        marks = ExpiryTable(4)
        for key in (b"a", b"b", b"c", b"d"):
            marks.set(key, 10.0, 0.0)
        marks.set(b"e", 30.0, 20.0)
        self.assertEqual((len(marks), marks.of(b"new")), (1, 0.0))

    @given(
        st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100), st.booleans()), max_size=200),
        st.integers(1, 8),
    )
    def test_it_never_forgets_to_the_gain_of_anybody(
        self, steps: list[tuple[int, float, bool]], most: int
    ) -> None:
        marks, truth, now = ExpiryTable(most), dict[bytes, float](), 0.0
        for number, ahead, clear in steps:
            key = b"%d" % number
            now += ahead / 50
            if clear:
                marks.clear(key)
                truth.pop(key, None)
            else:
                marks.set(key, now + ahead, now)
                truth[key] = now + ahead
            self.assertLessEqual(len(marks), most)
            for known, until in truth.items():
                self.assertGreaterEqual(max(marks.of(known), now), until if until > now else now)


class RateTests(SynchronousTestCase):
    def test_the_burst_and_one_more(self) -> None:
        rate = TokenBuckets(2.0, 5, 100)
        self.assertEqual([rate.take(b"a", 0.0) for _ in range(5)], [0.0] * 5)
        self.assertEqual(rate.take(b"a", 0.0), 0.5)
        self.assertEqual(rate.take(b"b", 0.0), 0.0)
        self.assertEqual((rate.take(b"a", 0.5), rate.take(b"a", 0.5)), (0.0, 0.5))

    def test_zero_is_no_limit_and_keeps_nothing(self) -> None:
        rate = TokenBuckets(0.0, 1, 100)
        self.assertEqual({rate.take(b"a", 0.0) for _ in range(1000)}, {0.0})
        self.assertEqual(len(rate), 0)

    @given(st.lists(st.floats(0, 3), max_size=40), st.floats(0.1, 20), st.integers(1, 10))
    def test_what_is_told_to_be_left_can_be_taken_at_once(
        self, pauses: list[float], per_s: float, burst: int
    ) -> None:
        rate, now = TokenBuckets(per_s, burst, 100), 0.0
        for pause in pauses:
            now += pause
            rate.take(b"key", now)
        found = re.fullmatch(rb'"user";r=(\d+);t=(\d+)', rate.standing(b"user", b"key", now))
        assert found is not None
        left, wait_s = int(found[1]), int(found[2])
        if left:
            later = rate.standing(b"user", b"key", now + wait_s)
            self.assertEqual(later, b'"user";r=%d;t=1' % burst, "the bucket is full by then")
            self.assertEqual({rate.take(b"key", now) for _ in range(left)}, {0.0})
        missing = rate.take(b"key", now)
        self.assertGreater(missing, 0.0)
        if not left:
            self.assertEqual(wait_s, max(1, math.ceil(missing - 1e-6)))

    @given(st.lists(st.floats(0, 3), max_size=120), st.floats(0.1, 20), st.integers(1, 10))
    def test_never_more_than_flows_in(self, pauses: list[float], per_s: float, burst: int) -> None:
        rate, now, taken = TokenBuckets(per_s, burst, 100), 0.0, 0
        for pause in pauses:
            now += pause
            missing = rate.take(b"key", now)
            taken += not missing
            self.assertLessEqual(taken, burst + now * per_s + 1e-6)
            self.assertLessEqual(missing, 1 / per_s + 1e-6)

    def test_the_memory_of_it_is_bounded_and_a_flood_of_keys_shuts_nobody_out(self) -> None:
        rate = TokenBuckets(1.0, 3, 50)
        for number in range(5000):
            self.assertEqual(rate.take(b"%d" % number, 0.0), 0.0)
            self.assertLessEqual(len(rate), 50)


class RefusalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.refusals = RefusalCache(self.clock, 5.0, 3, 25.0)

    def test_five_seconds_and_no_longer(self) -> None:
        self.refusals.refused(b"a", self.refusals.ticket())
        self.clock.advance(4.99)
        self.assertTrue(self.refusals.lately(b"a"))
        self.clock.advance(0.01)
        self.assertFalse(self.refusals.lately(b"a"))
        self.assertEqual(len(self.refusals), 0)

    def test_a_write_ends_it_and_what_was_asked_before_the_write_is_not_kept(self) -> None:
        ticket = self.refusals.ticket()
        self.refusals.refused(b"a", ticket)
        self.refusals.written()
        self.assertFalse(self.refusals.lately(b"a"))
        self.clock.advance(25)
        self.refusals.refused(b"a", ticket)
        self.assertFalse(self.refusals.lately(b"a"))
        self.refusals.refused(b"a", self.refusals.ticket())
        self.assertTrue(self.refusals.lately(b"a"))

    def test_nothing_is_kept_while_the_write_may_still_be_carried_out(self) -> None:
        self.refusals.written()
        for seconds, kept in ((0, False), (24.9, False), (0.1, True)):
            self.clock.advance(seconds)
            self.refusals.refused(b"a", self.refusals.ticket())
            self.assertEqual(self.refusals.lately(b"a"), kept)

    def test_the_bound(self) -> None:
        for key in (b"a", b"b", b"c", b"d"):
            self.refusals.refused(key, self.refusals.ticket())
        self.assertEqual([self.refusals.lately(key) for key in (b"a", b"b", b"d")], [False, True, True])

    def test_switched_off(self) -> None:
        for refusals in (NoRefusalCache(), RefusalCache(self.clock, 0.0, 3, 25.0)):
            refusals.refused(b"a", refusals.ticket())
            refusals.written()
            self.assertFalse(refusals.lately(b"a"))

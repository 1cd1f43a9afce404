"""How long a worker may serve from its cache, and how long a writer waits that cannot reach the others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.options.redis_section import RedisSettings
from hospproxy.sharing.lease import NEVER, Lease

TIMING = RedisSettings(lease_s=2.0, timeout_s=0.5, settle_s=0.0)
seconds = st.floats(0, 5, allow_nan=False)


class LeaseTests(SynchronousTestCase):
    def test_nobody_has_one_before_the_first_beat(self) -> None:
        self.assertFalse(Lease(TIMING).holds(0.0))

    def test_it_counts_from_the_moment_of_sending(self) -> None:
        lease = Lease(TIMING).sent(10.0).answered(10.4).granted(10.0)
        self.assertTrue(lease.holds(11.99))
        self.assertFalse(lease.holds(12.0))

    def test_an_older_beat_shortens_nothing(self) -> None:
        lease = Lease(TIMING).granted(10.0).granted(9.0)
        self.assertTrue(lease.holds(11.9))
        self.assertFalse(lease.ended().holds(10.1))

    def test_a_beat_without_an_answer_may_take_effect_until_its_time_is_over(self) -> None:
        lease = Lease(TIMING, effect=3.0).sent(10.0)
        self.assertEqual(lease.latest_effect, 10.5)
        self.assertEqual(lease.sent(11.0).answered(11.1).latest_effect, 11.1)
        self.assertEqual(lease.answered(10.1).latest_effect, 10.1)

    def test_an_answer_that_comes_late_tells_of_no_later_effect(self) -> None:
        self.assertEqual(Lease(TIMING).sent(10.0).answered(13.0).latest_effect, 10.5)

    def test_settling_lasts_alease_at_least(self) -> None:
        self.assertGreater(TIMING.settle_ms, 2000)
        self.assertGreater(TIMING.held_s, TIMING.lease_s)
        self.assertEqual(Lease(TIMING).safe_at, NEVER)

    @given(st.lists(st.tuples(seconds, st.one_of(st.none(), st.floats(0, 0.5))), max_size=20), seconds)
    @settings(deadline=None, derandomize=True)
    def test_who_knows_nothing_waits_until_nobody_can_have_one(
        self, beats: list[tuple[float, float | None]], pause: float
    ) -> None:
        """Another worker sends its heartbeat at the last moment at which this one still counts."""
        now, lease, effects = 0.0, Lease(TIMING, effect=0.0), [0.0]
        for gap, takes in beats:
            now += gap
            lease = lease.sent(now)
            effects.append(now + TIMING.timeout_s if takes is None else now + takes)
            now = effects[-1]
            if takes is not None:
                lease = lease.answered(now)
        now += pause
        counted_until = max(effects) + TIMING.held_s
        others_last = counted_until + TIMING.lease_s
        self.assertGreaterEqual(lease.safe_at, others_last)

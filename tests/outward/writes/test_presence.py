"""What HOSP's responses show of its clock, and for how long it has been working."""

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.writes.presence import UpstreamClock, WorkingTime


def date(epoch: float) -> bytes:
    return formatdate(int(epoch), usegmt=True).encode()


class UpstreamClockTests(SynchronousTestCase):
    def test_nothing_is_known_before_an_answer(self) -> None:
        clock = UpstreamClock()
        clock.learn(None, 0, 1)
        clock.learn(b"yesterday", 0, 1)
        clock.learn(b"\xff", 0, 1)
        self.assertIsNone(clock.earliest(5))

    @given(
        st.floats(-1e6, 1e6),
        st.lists(st.tuples(st.floats(0, 60), st.floats(0.001, 20), st.floats(0, 1)), min_size=1, max_size=20),
        st.floats(0, 100),
    )
    def test_never_later_than_the_truth(
        self, offset: float, answers: list[tuple[float, float, float]], ago: float
    ) -> None:
        """HOSP's clock shows monotonic + offset + epoch; the result must be a lower bound of it."""
        clock, now, epoch = UpstreamClock(), 1000.0, 1.7e9
        for wait, took, where in answers:
            sent = now + wait
            received = sent + took
            clock.learn(date(epoch + offset + sent + took * where), sent, received)
            now = received
        earliest = clock.earliest(now - ago)
        assert earliest is not None
        self.assertLessEqual(earliest, epoch + offset + now - ago)

    def test_more_answers_narrow_it(self) -> None:
        clock = UpstreamClock()
        clock.learn(date(1000.9), 0.0, 5.0)
        first = clock.earliest(5.0)
        for step in range(20):
            clock.learn(date(1005.9 + step * 1.05), 5.0 + step * 1.05, 5.0 + step * 1.05)
        later = clock.earliest(5.0)
        assert first is not None
        assert later is not None
        self.assertGreater(later, first)

    def test_a_clock_that_was_set_begins_anew(self) -> None:
        clock = UpstreamClock()
        clock.learn(date(1000), 0.0, 0.1)
        clock.learn(date(500), 1.0, 1.1)
        earliest = clock.earliest(1.0)
        assert earliest is not None
        self.assertTrue(499 <= earliest <= 501)


class WorkingTimeTests(SynchronousTestCase):
    def test_time_passes_while_hosp_answers(self) -> None:
        self.assertEqual(WorkingTime(0.0).since(10.0, 35.0), 25.0)

    def test_it_stands_still_from_the_last_answer_before_a_silence_until_the_next(self) -> None:
        time = WorkingTime(0.0)
        time.answered(100.0)
        time.silent()
        self.assertEqual(time.since(90.0, 160.0), 10.0)
        time.silent()
        self.assertEqual(time.since(90.0, 200.0), 10.0)
        time.answered(300.0)
        self.assertEqual(time.since(90.0, 310.0), 20.0)
        self.assertEqual(time.since(150.0, 310.0), 10.0)
        self.assertEqual(time.since(305.0, 310.0), 5.0)

    @given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 30)), max_size=40), st.floats(0, 500))
    def test_never_more_than_the_clock_says_and_never_backwards(
        self, steps: list[tuple[bool, float]], moment: float
    ) -> None:
        time, now = WorkingTime(0.0), 0.0
        for answers, wait in steps:
            now += wait
            if answers:
                time.answered(now)
            else:
                time.silent()
            if now >= moment:
                self.assertTrue(-1e-6 <= time.since(moment, now) <= now - moment + 1e-6)

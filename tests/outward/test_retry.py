"""Errors are tried again where that is safe, within deadline and budget."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.errors import BadAnswer, FailedAfterSending, NotSent, OverCapacity
from hospproxy.messages import Response
from hospproxy.outward.retry import AGAIN, Budget, Safety, backoff_s, safety
from tests.rig import Rig

RESULTS = st.one_of(
    st.integers(100, 599).map(Response),
    st.just(NotSent("x")),
    st.just(FailedAfterSending("x")),
    st.just(BadAnswer("x")),
    st.just(OverCapacity("x")),
)


class RuleTests(SynchronousTestCase):
    def test_what_was_not_sent_may_always_be_tried_again(self) -> None:
        for repeatable in (True, False):
            self.assertIs(safety(NotSent("x"), repeatable=repeatable), Safety.NOT_SENT)

    @given(RESULTS)
    def test_a_write_that_was_sent_never_is(self, result: Response | Exception) -> None:
        if not isinstance(result, NotSent):
            self.assertIs(safety(result, repeatable=False), Safety.NO)  # type: ignore[arg-type]

    @given(st.integers(100, 599))
    def test_a_read_is_after_the_failures_that_pass(self, status: int) -> None:
        again = safety(Response(status), repeatable=True) is Safety.REPEATABLE
        self.assertEqual(again, status in AGAIN)

    def test_no_place_is_not_tried_again(self) -> None:
        self.assertIs(safety(OverCapacity("x"), repeatable=True), Safety.NO)

    @given(st.integers(1, 1000), st.floats(0, 10), st.floats(0, 100), st.floats(0, 1))
    def test_back_off_stays_under_its_ceiling(
        self, tries: int, base: float, cap: float, chance: float
    ) -> None:
        pause = backoff_s(tries, base, cap, chance)
        self.assertTrue(0 <= pause <= cap)

    @given(st.lists(st.booleans(), max_size=300))
    def test_the_budget_never_gives_more_than_it_has(self, steps: list[bool]) -> None:
        budget, earned, spent = Budget(0.2, 5), 5.0, 0
        for spend in steps:
            if spend:
                spent += budget.spend()
            else:
                budget.earn()
                earned += 0.2
            self.assertLessEqual(spent, earned + 1e-6)
            self.assertLessEqual(budget.left, 5.0)


class RetryTests(SynchronousTestCase):
    def test_a_read_is_tried_again_until_it_succeeds(self) -> None:
        rig = Rig()
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.read_faults = [500, FailedAfterSending("x"), NotSent("x"), 503]
        self.assertEqual(rig.get(rig.send("GET", "/notes")).status, 200)
        self.assertEqual(rig.exchanges[-1].attempts, 5)

    def test_tries_end(self) -> None:
        rig = Rig()
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.read_faults = [500] * 9
        self.assertEqual(rig.get(rig.send("GET", "/notes")).status, 500)
        self.assertEqual(len(rig.hosp.read_faults), 4)

    def test_a_screening_may_be_repeated(self) -> None:
        rig = Rig()
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.read_faults = [500]
        self.assertEqual(rig.get(rig.send("POST", "/patients/7/screen", {"images": []})).status, 200)

    def test_no_try_begins_after_the_deadline(self) -> None:
        rig = Rig()
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.read_faults = [500] * 9
        rig.hosp.hold = True
        answer = rig.send("GET", "/notes")
        rig.clock.advance(27.99)
        rig.hosp.hold = False
        rig.hosp.held[-1].callback(None)
        self.assertEqual(rig.get(answer).status, 500)
        self.assertEqual(len(rig.hosp.read_faults), 8)

    def test_an_empty_budget_ends_it_too(self) -> None:
        rig = Rig(leave_out=["guard.identity", "guard.ownership"])
        statuses = []
        for _ in range(30):
            rig.hosp.read_faults = [500] * 4
            statuses.append(rig.get(rig.send("GET", "/notes", auth=None)).status)
            rig.hosp.read_faults = []
        self.assertEqual(statuses[0], 401)
        self.assertIn(500, statuses)

    def test_the_clock_is_the_one_handed_in(self) -> None:
        self.assertIsInstance(Rig().clock, Clock)

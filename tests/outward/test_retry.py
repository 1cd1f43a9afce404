"""Failed attempts are repeated if that is safe, within deadline and budget."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import BadAnswer, BreakerOpen, FailedAfterSending, NotSent, OverCapacity
from hospproxy.http.messages import Headers, Response
from hospproxy.options.sections import RetrySettings
from hospproxy.outward.retry import AGAIN, Retry, RetryBudget, RetrySafety, backoff_s, safety
from tests.rig import CONTRACT, Rig
from tests.stages import identified

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
            self.assertIs(safety(NotSent("x"), repeatable=repeatable), RetrySafety.NOT_SENT)

    @given(RESULTS)
    def test_a_write_that_was_sent_never_is(self, result: Response | Exception) -> None:
        if not isinstance(result, NotSent):
            self.assertIs(safety(result, repeatable=False), RetrySafety.NO)  # type: ignore[arg-type]

    @given(st.integers(100, 599))
    def test_a_read_is_after_the_failures_that_pass(self, status: int) -> None:
        again = safety(Response(status), repeatable=True) is RetrySafety.REPEATABLE
        self.assertEqual(again, status in AGAIN)

    def test_no_place_is_not_tried_again(self) -> None:
        self.assertIs(safety(OverCapacity("x"), repeatable=True), RetrySafety.NO)

    @given(st.integers(1, 1000), st.floats(0, 10), st.floats(0, 100), st.floats(0, 1))
    def test_back_off_stays_under_its_ceiling(
        self, tries: int, base: float, cap: float, chance: float
    ) -> None:
        pause = backoff_s(tries, base, cap, chance)
        self.assertTrue(0 <= pause <= cap)


class BudgetModel(RuleBasedStateMachine):
    """The budget compared with a full history."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.budget = RetryBudget(0.2, 5, window_s=60.0)
        self.tries: list[float] = []
        self.repeats: list[float] = []

    def within(self, moments: list[float]) -> int:
        oldest = int(self.now / 5.0) - 12
        return sum(int(moment / 5.0) > oldest for moment in moments)

    @rule(seconds=st.sampled_from([0.0, 0.3, 4.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 40))
    def earn(self, times: int) -> None:
        for _ in range(times):
            self.budget.earn(self.now)
            self.tries.append(self.now)

    @rule()
    def spend(self) -> None:
        left = max(5.0, 0.2 * self.within(self.tries)) - self.within(self.repeats)
        assert self.budget.spend(self.now) is (left >= 1.0)
        if left >= 1.0:
            self.repeats.append(self.now)

    @invariant()
    def bounds(self) -> None:
        assert self.within(self.repeats) <= max(5.0, 0.2 * self.within(self.tries)) or not self.tries
        assert len(self.budget._steps) <= RetryBudget.STEPS


class BudgetTests(SynchronousTestCase):
    def test_a_fifth_of_what_goes_to_hosp_and_fifty_in_any_case(self) -> None:
        budget = RetryBudget(0.2, 50)
        self.assertEqual(sum(budget.spend(0.0) for _ in range(100)), 50)
        for _ in range(500):
            budget.earn(1.0)
        self.assertEqual(sum(budget.spend(1.0) for _ in range(100)), 50)

    def test_the_least_is_shared_by_all_workers_and_each_has_one(self) -> None:
        for workers, repeats in ((4, 12), (50, 1), (70, 1)):
            budget = RetryBudget(0.2, 50, workers=lambda workers=workers: workers)  # type: ignore[misc]
            self.assertEqual(sum(budget.spend(0.0) for _ in range(100)), repeats)
        budget = RetryBudget(0.2, 0, workers=lambda: 4)
        self.assertFalse(budget.spend(0.0))

    def test_an_outage_does_not_use_up_what_is_needed_after_it(self) -> None:
        budget = RetryBudget(0.2, 50)
        while budget.spend(0.0):
            pass
        self.assertTrue(budget.spend(61.0))

    def test_it_does_as_its_rules_say(self) -> None:
        run_state_machine_as_test(BudgetModel, settings=settings(max_examples=60, deadline=None))  # type: ignore[no-untyped-call]


class RetryTests(SynchronousTestCase):
    def test_a_read_is_tried_again_until_it_succeeds(self) -> None:
        rig = Rig()
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.read_faults = [500, FailedAfterSending("x"), NotSent("x"), 503]
        self.assertEqual(rig.get(rig.send("GET", "/notes")).status, 200)
        self.assertEqual(rig.exchanges[-1].trace.attempts, 5)

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

    def test_what_found_no_place_earns_nothing(self) -> None:
        budget = RetryBudget(1.0, 0)
        rig = Rig(put_in={"outward.retry": Retry(Clock(), budget, lambda: 0.5, NullMeter(), RetrySettings())})
        rig.hosp.read_faults = [BreakerOpen()]
        self.assertEqual(rig.get(rig.send("GET", "/notes")).status, 503)
        self.assertEqual(budget.left(0.0), 0)
        self.assertEqual(rig.get(rig.send("GET", "/notes")).status, 200)
        self.assertEqual(budget.left(0.0), 2)

    def test_looks_neither_earn_nor_spend(self) -> None:
        budget, clock = RetryBudget(0.0, 1), Clock()
        rig = Rig(
            clock=clock,
            put_in={"outward.retry": Retry(clock, budget, lambda: 0.0, NullMeter(), RetrySettings())},
        )
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.faults = [("after", 500)]
        rig.hosp.read_faults = [500, 500, 500]
        answer = rig.send("POST", "/notes", {"title": "t", "body": "b", "patient_id": 7})
        self.assertEqual(rig.get(answer).status, 201)
        self.assertEqual(budget.left(0.0), 1)

    def test_the_clock_is_the_one_handed_in(self) -> None:
        self.assertIsInstance(Rig().clock, Clock)


READ = Call(CONTRACT.operation("listNotes"))


class Repeating:
    """Retry in front of a HOSP with scripted responses: a result, or an error to raise."""

    def __init__(self, budget: RetryBudget, *script: Response | Exception) -> None:
        self.clock, self.script = Clock(), list(script)
        self.retry = Retry(self.clock, budget, lambda: 0.0, NullMeter(), RetrySettings())
        self.at: list[float] = []

    def begin(self, proceed: Any = None) -> Deferred[Response]:
        exchange = identified(READ, deadline=self.clock.seconds() + 28.0)
        return Deferred.fromCoroutine(self.retry.process(exchange, proceed or self.proceed))

    async def proceed(self, exchange: Exchange) -> Response:
        result = self.script.pop(0)
        self.at.append(self.clock.seconds())
        if not isinstance(result, (NotSent, OverCapacity)):
            exchange.last_attempt.sent_at = self.clock.seconds()
        if isinstance(result, Exception):
            raise result
        return result


class ReachingTests(SynchronousTestCase):
    """Only attempts that reached HOSP earn and spend."""

    def after(self, budget: RetryBudget, *script: Response | Exception) -> None:
        running = Repeating(budget, *script)
        answer = running.begin()
        answer.addErrback(lambda failure: failure.trap(NotSent, OverCapacity) and None)
        running.clock.pump([1.0] * 30)
        self.assertTrue(answer.called)
        self.assertEqual(running.script, [])

    def test_refused_connections_leave_the_budget_to_the_500s_after_an_outage(self) -> None:
        budget = RetryBudget(0.2, 5)
        for _ in range(50):
            self.after(budget, *[NotSent("refused")] * 5)
        self.assertEqual(budget.left(0.0), 5)
        self.after(budget, Response(500), Response(200))
        self.assertEqual(budget.left(0.0), 4)

    def test_they_earn_nothing_either(self) -> None:
        budget = RetryBudget(1.0, 0)
        self.after(budget, *[NotSent("refused")] * 5)
        self.assertEqual(budget.left(0.0), 0)
        self.after(budget, NotSent("refused"), Response(200))
        self.assertEqual(budget.left(0.0), 1)

    def test_a_repeat_that_was_refused_is_given_back(self) -> None:
        for refusal in (NotSent("refused"), OverCapacity("full")):
            budget = RetryBudget(0.0, 5)
            rest = [Response(200)] if isinstance(refusal, NotSent) else []
            self.after(budget, Response(500), refusal, *rest)
            self.assertEqual(budget.left(0.0), 4 if rest else 5)

    def test_a_repeat_whose_client_left_has_reached_hosp(self) -> None:
        budget = RetryBudget(0.0, 5)
        running = Repeating(budget, Response(500))
        inside: Deferred[Response] = Deferred()

        async def proceed(exchange: Exchange) -> Response:
            if running.script:
                return await running.proceed(exchange)
            exchange.last_attempt.sent_at = running.clock.seconds()
            return await inside

        answer = running.begin(proceed)
        running.clock.advance(0.1)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(budget.left(0.0), 4)


class LeavingHospAloneTests(SynchronousTestCase):
    """HOSP's own Retry-After."""

    def busy(self, value: bytes) -> Response:
        return Response(503, Headers(((b"Retry-After", value),)))

    def test_the_next_try_waits_as_long_as_hosp_asked_for(self) -> None:
        running = Repeating(RetryBudget(0.2, 5), self.busy(b"7"), Response(200))
        answer = running.begin()
        running.clock.pump([0.5] * 20)
        self.assertEqual((self.successResultOf(answer).status, running.at), (200, [0.0, 7.0]))

    def test_beyond_the_deadline_there_is_none_and_the_client_is_told(self) -> None:
        running = Repeating(RetryBudget(0.2, 5), self.busy(b"40"))
        self.assertEqual(self.successResultOf(running.begin()).headers.get(b"retry-after"), b"40")

    def test_nonsense_counts_for_nothing(self) -> None:
        for value in (b"soon", b"-1", b"1e9", b"99999999999999999999", b"Fri, 01 Jan 2100 00:00:00 GMT"):
            running = Repeating(RetryBudget(0.2, 5), self.busy(value), Response(200))
            answer = running.begin()
            running.clock.pump([0.0, 0.1])
            self.assertEqual(self.successResultOf(answer).status, 200, value)

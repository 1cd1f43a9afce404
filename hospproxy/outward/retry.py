"""Retries attempts where that is safe: reads, screenings, and requests that were certainly not sent."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable

from twisted.internet import task
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..exchange.exchange import Identified
from ..http.errors import BadAnswer, FailedAfterSending, NotSent, OverCapacity, ProxyError
from ..http.messages import Response
from ..http.retry_after import retry_after_s
from ..interfaces import IMeter, IProcessor, Proceed
from ..options.sections import RetrySettings
from .gate.rules import PROBE

AGAIN = frozenset({500, 502, 503, 504})
"""Statuses after which HOSP usually succeeds at the second attempt."""


class RetrySafety(enum.Enum):
    """Why an attempt may be repeated, or may not."""

    NOT_SENT = "not sent"
    REPEATABLE = "repeatable"
    NO = "no"


def safety(result: Response | ProxyError, *, repeatable: bool) -> RetrySafety:
    """Whether another attempt is safe and may help.

    :param result: outcome of the last attempt.
    :param repeatable: whether the contract says that the operation may be carried out twice.
    """
    if isinstance(result, NotSent):
        return RetrySafety.NOT_SENT
    if not repeatable:
        return RetrySafety.NO
    if isinstance(result, (FailedAfterSending, BadAnswer)):
        return RetrySafety.REPEATABLE
    if isinstance(result, Response) and result.status in AGAIN:
        return RetrySafety.REPEATABLE
    return RetrySafety.NO


def backoff_s(tries: int, base_s: float, cap_s: float, chance: float) -> float:
    """Seconds to wait before the next attempt: full jitter under an exponential ceiling.

    :param tries: attempts made so far, from 1.
    :param base_s: seconds; half of the ceiling after the first attempt.
    :param cap_s: highest ceiling in seconds.
    :param chance: a random number from 0 to 1.
    """
    return chance * min(cap_s, base_s * 2.0 ** min(tries, 30))


class RetryBudget:
    """Budget for retries, so that retries cannot become the load.

    Within the window, retries may be a share of the requests that reached HOSP, and a fixed minimum in any case: an
    outage that used up the share must not leave requests after it without a retry. The window moves in steps.

    :param ratio: retries for each first attempt.
    :param minimum: retries that are always allowed.
    :param window_s: length of the window in seconds.
    :param workers: number of processes that share the minimum. Each keeps at least one retry.
    """

    STEPS = 12

    def __init__(
        self, ratio: float, minimum: int, window_s: float = 60.0, workers: Callable[[], int] = lambda: 1
    ) -> None:
        self._ratio = ratio
        self._minimum = minimum
        self._workers = workers
        self._step_s = window_s / self.STEPS
        self._steps: deque[list[int]] = deque()
        """For each step that had any attempt: its number, first attempts, retries."""

    def reload(self, ratio: float, minimum: int) -> None:
        """Apply changed options; what was spent within the window stays spent."""
        self._ratio = ratio
        self._minimum = minimum

    def left(self, now: float) -> float:
        """How many retries the budget allows now.

        :param now: monotonic seconds.
        """
        oldest = int(now / self._step_s) - self.STEPS
        while self._steps and self._steps[0][0] <= oldest:
            self._steps.popleft()
        tries, repeats = (sum(step[i] for step in self._steps) for i in (1, 2))
        minimum = max(self._minimum // self._workers(), min(1, self._minimum))
        return max(float(minimum), self._ratio * tries) - repeats

    def earn(self, now: float) -> None:
        """A first attempt has reached HOSP."""
        self._step(now)[1] += 1

    def spend(self, now: float) -> bool:
        """Take one retry; False if none is left."""
        if self.left(now) < 1.0:
            return False
        self._step(now)[2] += 1
        return True

    def give_back(self) -> None:
        """Return the last retry: it did not reach HOSP. Does nothing if it has left the window."""
        for step in reversed(self._steps):
            if step[2] > 0:
                step[2] -= 1
                return

    def _step(self, now: float) -> list[int]:
        number = int(now / self._step_s)
        if not self._steps or self._steps[-1][0] != number:
            self._steps.append([number, 0, 0])
            self.left(now)  # drops steps outside the window, so there are never more than STEPS
        return self._steps[-1]


@implementer(IProcessor)
class Retry:
    """Retries what is safe to repeat, with backoff, within the request's deadline and a budget.

    :param random: returns numbers from 0 to 1.
    :param settings: ``base_s`` is the upper bound of the first backoff, doubled each time up to ``cap_s``; a
        Retry-After from HOSP may ask for more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        budget: RetryBudget,
        random: Callable[[], float],
        meter: IMeter,
        settings: RetrySettings,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._random = random
        self._meter = meter
        self._settings = settings

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        if exchange.own == PROBE:
            return await proceed(exchange)  # the prober sends the next one anyway
        repeatable = exchange.call.operation.repeatable
        share = _Share(self._budget, self._clock, exchange)
        tries = 0
        while True:
            tries += 1
            result = await share.tried(exchange, proceed)
            why = safety(result, repeatable=repeatable)
            if why is RetrySafety.NO:
                return _ended(result)
            pause = backoff_s(tries, self._settings.base_s, self._settings.cap_s, self._random())
            pause = max(pause, _asked_for_s(result))
            over = tries >= self._settings.max_attempts or self._clock.seconds() + pause >= exchange.deadline
            if over or not share.another():
                return _ended(result)
            self._meter.count("retries_total", reason=why.value)
            await task.deferLater(self._clock, pause, lambda: None)


class _Share:
    """What one request adds to and takes from the budget. Only attempts that reached HOSP count as load.

    Refused connections cost HOSP nothing. If they counted, an outage would leave no retries for the 500s after it.
    """

    def __init__(self, budget: RetryBudget, clock: IReactorTime, exchange: Identified) -> None:
        self._budget = budget
        self._clock = clock
        self._counted = exchange.own != "look"
        # A write that was found absent passes here again, but its first attempt has reached HOSP already.
        self._reached = exchange.last_attempt.sent_at is not None
        self._earned = self._reached
        self._taken = False

    async def tried(self, exchange: Identified, proceed: Proceed) -> Response | ProxyError:
        """Make one attempt. Returns the response, or the error that may be retried.

        :raise ProxyError: no slot, or HOSP is down; nothing reached HOSP.
        """
        before = exchange.last_attempt.sent_at
        result: Response | ProxyError
        try:
            result = await proceed(exchange)
        except (NotSent, FailedAfterSending, BadAnswer) as error:
            result = error
        except OverCapacity:
            self._over(reached=False)
            raise
        except BaseException:
            # The client left. HOSP may be working on the request.
            self._over(reached=exchange.last_attempt.sent_at != before)
            raise
        self._over(reached=not isinstance(result, NotSent))
        return result

    def another(self) -> bool:
        """Whether another attempt is allowed. If one has reached HOSP, this takes a retry from the budget."""
        if not self._counted or not self._reached:
            return True
        self._taken = self._budget.spend(self._clock.seconds())
        return self._taken

    def _over(self, *, reached: bool) -> None:
        if self._taken and not reached:
            self._budget.give_back()
        self._taken = False
        self._reached = self._reached or reached
        if self._counted and self._reached and not self._earned:
            self._budget.earn(self._clock.seconds())
            self._earned = True


def _asked_for_s(result: Response | ProxyError) -> float:
    """Seconds from HOSP's Retry-After; 0.0 if there is none."""
    return retry_after_s(result.headers) or 0.0 if isinstance(result, Response) else 0.0


def _ended(result: Response | ProxyError) -> Response:
    if isinstance(result, ProxyError):
        raise result
    return result


def budget_for(settings: RetrySettings, workers: Callable[[], int]) -> RetryBudget:
    """Build the retry budget from the options.

    :param workers: number of processes that share the budget's minimum.
    """
    return RetryBudget(settings.budget_ratio, settings.budget_min, workers=workers)

"""Errors tried again where that is safe: reads, screenings, and whatever was certainly not sent."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable

from twisted.internet import task
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..errors import BadAnswer, FailedAfterSending, NotSent, OverCapacity, ProxyError
from ..interfaces import IMeter, IProcessor, Proceed
from ..messages import Exchange, Response
from ..options.sections import RetrySettings
from ..retry_after import retry_after_s
from .gate.rules import PROBE

AGAIN = frozenset({500, 502, 503, 504})
"""Statuses after which HOSP usually succeeds at the second try."""


class Safety(enum.Enum):
    """Why something may be tried again, or not."""

    NOT_SENT = "not sent"
    REPEATABLE = "repeatable"
    NO = "no"


def safety(result: Response | ProxyError, *, repeatable: bool) -> Safety:
    """Whether another try is safe and may help.

    :param result: what the last try came to.
    :param repeatable: the contract says that the operation may be carried out twice.
    """
    if isinstance(result, NotSent):
        return Safety.NOT_SENT
    if not repeatable:
        return Safety.NO
    if isinstance(result, (FailedAfterSending, BadAnswer)):
        return Safety.REPEATABLE
    if isinstance(result, Response) and result.status in AGAIN:
        return Safety.REPEATABLE
    return Safety.NO


def backoff_s(tries: int, base_s: float, cap_s: float, chance: float) -> float:
    """Seconds to wait before the next try: full jitter under an exponential ceiling.

    :param tries: tries made so far, from 1.
    :param chance: a random number from 0 to 1.
    """
    return chance * min(cap_s, base_s * 2.0 ** min(tries, 30))


class Budget:
    """How many tries beyond the first are in hand, so that repeats cannot become the load.

    Within a window there may be a share of what went to HOSP in it, and a minimum whatever went: an outage that used
    all up must not leave those without a second try who come when it is over. The window moves in steps.

    :param ratio: repeats for each first try.
    :param minimum: repeats in any case.
    :param window_s: seconds.
    :param workers: among how many processes the minimum is shared; one repeat each is left in any case.
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
        """Of each step that had any: its number, first tries, repeats."""

    def left(self, now: float) -> float:
        """How many repeats are in hand.

        :param now: monotonic seconds.
        """
        oldest = int(now / self._step_s) - self.STEPS
        while self._steps and self._steps[0][0] <= oldest:
            self._steps.popleft()
        tries, repeats = (sum(step[i] for step in self._steps) for i in (1, 2))
        minimum = max(self._minimum // self._workers(), min(1, self._minimum))
        return max(float(minimum), self._ratio * tries) - repeats

    def earn(self, now: float) -> None:
        """A first try has reached HOSP."""
        self._step(now)[1] += 1

    def spend(self, now: float) -> bool:
        """Take one repeat; False if none is left."""
        if self.left(now) < 1.0:
            return False
        self._step(now)[2] += 1
        return True

    def give_back(self) -> None:
        """The repeat that was taken last did not reach HOSP. One that has left the window by now is nobody's."""
        for step in reversed(self._steps):
            if step[2] > 0:
                step[2] -= 1
                return

    def _step(self, now: float) -> list[int]:
        number = int(now / self._step_s)
        if not self._steps or self._steps[-1][0] != number:
            self._steps.append([number, 0, 0])
            self.left(now)  # drops what is out of the window, so that there are never more than STEPS
        return self._steps[-1]


@implementer(IProcessor)
class Retry:
    """Repeats what may be repeated, with back-off, under the exchange's deadline and a budget.

    :param base_s: seconds of back-off after the first try, doubled each time.
    :param cap_s: the most seconds of back-off.
    :param max_attempts: tries in all.
    :param random: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        clock: IReactorTime,
        budget: Budget,
        random: Callable[[], float],
        meter: IMeter,
        *,
        base_s: float = 0.1,
        cap_s: float = 2.0,
        max_attempts: int = 5,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._random = random
        self._meter = meter
        self._base_s = base_s
        self._cap_s = cap_s
        self._max_attempts = max_attempts

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        assert exchange.call is not None
        if exchange.own == PROBE:
            return await proceed(exchange)  # the next one is on its way anyhow
        repeatable = exchange.call.operation.repeatable
        share = _Share(self._budget, self._clock, exchange)
        tries = 0
        while True:
            tries += 1
            result = await share.tried(exchange, proceed)
            why = safety(result, repeatable=repeatable)
            pause = backoff_s(tries, self._base_s, self._cap_s, self._random())
            pause = max(pause, _asked_for_s(result))
            over = tries >= self._max_attempts or self._clock.seconds() + pause >= exchange.deadline
            if why is Safety.NO or over or not share.another():
                return _ended(result)
            self._meter.count("retries_total", reason=why.value)
            await task.deferLater(self._clock, pause, lambda: None)


class _Share:
    """What one request earns and takes of the budget. Only tries that reached HOSP count, for they alone are load.

    Refused connections cost HOSP nothing. If they counted, an outage would leave no repeats for the 500s after it.
    """

    def __init__(self, budget: Budget, clock: IReactorTime, exchange: Exchange) -> None:
        self._budget = budget
        self._clock = clock
        self._counted = exchange.own != "look"
        # A write that was found absent comes here once more: its first try has reached HOSP already.
        self._reached = exchange.sent_at is not None
        self._earned = self._reached
        self._taken = False

    async def tried(self, exchange: Exchange, proceed: Proceed) -> Response | ProxyError:
        """One try and what it came to.

        :raise ProxyError: no place, or HOSP is gone: it did not reach HOSP.
        """
        before = exchange.sent_at
        try:
            result = await _tried(exchange, proceed)
        except OverCapacity:
            self._over(reached=False)
            raise
        except BaseException:
            # Its client left: HOSP may have it in hand.
            self._over(reached=exchange.sent_at != before)
            raise
        self._over(reached=not isinstance(result, NotSent))
        return result

    def another(self) -> bool:
        """Whether there may be another try. After one that has reached HOSP it takes one repeat of the budget."""
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
    """Seconds for which HOSP itself wants to be left alone; 0.0 if it did not say so."""
    return retry_after_s(result.headers) or 0.0 if isinstance(result, Response) else 0.0


async def _tried(exchange: Exchange, proceed: Proceed) -> Response | ProxyError:
    try:
        return await proceed(exchange)
    except (NotSent, FailedAfterSending, BadAnswer) as error:
        return error


def _ended(result: Response | ProxyError) -> Response:
    if isinstance(result, ProxyError):
        raise result
    return result


def retry_for(
    settings: RetrySettings,
    clock: IReactorTime,
    random: Callable[[], float],
    meter: IMeter,
    workers: Callable[[], int],
) -> Retry:
    """Repeats by the options.

    :param workers: among how many processes the budget's minimum is shared.
    """
    return Retry(
        clock,
        Budget(settings.budget_ratio, settings.budget_min, workers=workers),
        random,
        meter,
        base_s=settings.base_s,
        cap_s=settings.cap_s,
        max_attempts=settings.max_attempts,
    )

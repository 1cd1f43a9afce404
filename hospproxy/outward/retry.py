"""Errors tried again where that is safe: reads, screenings, and whatever was certainly not sent."""

from __future__ import annotations

import enum
from collections.abc import Callable

from twisted.internet import task
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..errors import BadAnswer, FailedAfterSending, NotSent, ProxyError
from ..interfaces import IMeter, IProcessor, Proceed
from ..messages import Exchange, Response

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

    :param ratio: what each first try earns.
    :param minimum: what is in hand at the start, and the most that is kept.
    """

    def __init__(self, ratio: float, minimum: int) -> None:
        self._ratio = ratio
        self._most = float(max(minimum, 1))
        self.left = float(minimum)

    def earn(self) -> None:
        """A first try went to HOSP."""
        self.left = min(self._most, self.left + self._ratio)

    def spend(self) -> bool:
        """Take one repeat; False if none is left."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


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
        repeatable = exchange.call.operation.repeatable
        counted = exchange.own != "look"
        if counted:
            self._budget.earn()
        tries = 0
        while True:
            tries += 1
            result = await _tried(exchange, proceed)
            why = safety(result, repeatable=repeatable)
            pause = backoff_s(tries, self._base_s, self._cap_s, self._random())
            over = tries >= self._max_attempts or self._clock.seconds() + pause >= exchange.deadline
            if why is Safety.NO or over or (counted and not self._budget.spend()):
                return _ended(result)
            self._meter.count("retries_total", reason=why.value)
            await task.deferLater(self._clock, pause, lambda: None)


async def _tried(exchange: Exchange, proceed: Proceed) -> Response | ProxyError:
    try:
        return await proceed(exchange)
    except (NotSent, FailedAfterSending, BadAnswer) as error:
        return error


def _ended(result: Response | ProxyError) -> Response:
    if isinstance(result, ProxyError):
        raise result
    return result

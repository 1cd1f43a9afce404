"""Slots at HOSP that this worker owns, and their exchange with the other workers (docs/adr/0025).

Redis holds each worker's number of slots, and their sum is never above what HOSP bears. During an exchange this worker
uses no more slots than it has reported to keep, even if the exchange fails: so Redis never counts fewer slots than are
in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ....exchange.words import PlacesResult
from ....interfaces import IMeter
from ....options.redis_section import RedisSettings
from ....process.background import Background
from ....sharing.kinds import Away, RedisScripts
from ....sharing.lua_scripts import script
from ..breaker import BreakerState
from ..slots import SlotUse, SlotUser
from .base_share import OwnBase

SPACING_S = 0.02
"""Shortest time from one exchange to the next, in seconds."""
RECENT_S = 30.0
"""Seconds for which an idle worker that has needed a slot keeps one, so that it has one when Redis goes away."""
LOST_S = 5.0
"""Seconds without Redis after which no request waits for this worker's first slot."""
MAX_NAMES = 256

_log = Logger()


@frozen(slots=True, kw_only=True)
class SharedSlotRules:
    """Parameters of the exchange of slots.

    :param ceiling: the most requests in flight at HOSP (``gate.concurrency``).
    :param redis: an exchange follows each heartbeat; a worker gets no more slots after ``lease_s`` of silence; workers
        have ``settle_s`` to come back after Redis has lost its data; the slots of a silent worker stay reserved for
        ``vanished_s``.
    :param linger_s: seconds after a worker's death for which HOSP may be busy with its requests.
    :param turn_s: seconds after which it is another worker's turn to ask whether HOSP is back.
    :param patience_s: seconds after which a worker that cannot reach Redis uses no more than its base: a little
        longer than a request may take.
    """

    ceiling: int
    redis: RedisSettings
    linger_s: float
    turn_s: float
    patience_s: float


@frozen(slots=True)
class SlotExchange:
    """The result of an exchange: which slots this worker has now, and what the others report.

    :param quota: slots that this worker owns now.
    :param share: its fair share of the slots.
    :param limit: slots in all.
    :param workers: number of workers that share them.
    :param turn: this worker's position among them.
    :param state: of the breaker, as a worker has reported it; None: none has.
    :param age_s: seconds since that report.
    :param base: slots that this worker owns when Redis is away for long.
    :param names: other members that own slots, or may come to.
    """

    quota: int
    share: int
    limit: int
    workers: int
    turn: int
    state: BreakerState | None
    age_s: float
    base: int
    names: tuple[bytes, ...]


def levelled(said: Sequence[Any], keep: int, ceiling: int) -> SlotExchange | None:
    """Parse the reply of ``places.lua``; None if it is invalid.

    :param keep: slots that this worker has reported to keep: it cannot be left with fewer.
    :param ceiling: slots in all: it cannot own more, unless it keeps more.
    """
    numbers, names = [*said[:5], *said[6:8]], said[8:]
    if len(numbers) != 7 or not all(type(number) is int for number in numbers):
        return None
    if not all(isinstance(name, bytes) and 0 < len(name) <= 128 for name in names):
        return None
    quota, share, limit, workers, turn, age_ms, base = numbers
    sound = keep <= quota <= max(keep, ceiling) and all(0 <= each <= ceiling for each in (share, limit, base))
    if not sound or not 0 <= turn < workers:
        return None
    states = {state.value.encode(): state for state in BreakerState}
    if said[5] not in (b"", *states):
        return None
    state = states.get(said[5])
    age_s = max(0, age_ms) / 1000.0
    return SlotExchange(quota, share, limit, workers, turn, state, age_s, base, tuple(names[:MAX_NAMES]))


class SharedSlots:
    """The slots of one worker. It starts with none.

    While Redis is away, new requests use no more slots than the base. After ``patience_s`` all other workers must be
    down to their bases too, and this worker owns its whole base.

    :param clock: monotonic time.
    :param base: the base share. Default: one that Redis assigns and that ends with the process.
    """

    def __init__(
        self,
        common: RedisScripts,
        rules: SharedSlotRules,
        clock: IReactorTime,
        meter: IMeter,
        base: OwnBase | None = None,
    ) -> None:
        self._common = common
        self._rules = rules
        self._clock = clock
        self._meter = meter
        self._owned = 0
        self._base = OwnBase(rules.ceiling) if base is None else base
        self._last = SlotExchange(0, 0, rules.ceiling, 1, 0, None, 0.0, 0, ())
        self._away = True
        self._lost_at = self._heard_at = clock.seconds()
        self._used_at = -RECENT_S
        self._told_need = 0
        self._told_state = BreakerState.CLOSED
        self._user: SlotUser | None = None
        self._timer: IDelayedCall | None = None
        self._began = -SPACING_S
        self._background = Background(_log, "an exchange of slots at HOSP failed (a bug)", meter)
        self._exchanging = False
        self._again = False
        self._stopped = True
        meter.gauge("places_owned", lambda: float(self._owned))
        meter.gauge("places_base", lambda: float(self._base.value))

    @property
    def owned(self) -> int:
        return self._owned

    @property
    def usable(self) -> int:
        return min(self._owned, self._base.value if self._away else self._last.share)

    @property
    def expected(self) -> int:
        return max(1, self._base.value if self._away else self._last.share)

    @property
    def hopeless(self) -> bool:
        return self._without and not self._base.value

    @property
    def wait_s(self) -> float:
        if not self._without:
            return 0.0
        if not self._base.value:
            return LOST_S
        return max(0.0, self._lost_at + self._rules.patience_s - self._clock.seconds())

    @property
    def _without(self) -> bool:
        """Whether this worker can use no slot, and cannot expect one soon: Redis has been away for ``LOST_S``."""
        return self._away and not self.usable and self._clock.seconds() - self._heard_at >= LOST_S

    @property
    def workers(self) -> int:
        """Number of workers in the last reply; while Redis is away, the current number is unknown."""
        return self._last.workers

    @property
    def turn(self) -> int:
        """This worker's turn to ask whether HOSP is back; 0 while Redis is away, so that each worker asks itself."""
        return 0 if self._away else self._last.turn

    def reload(self, rules: SharedSlotRules) -> None:
        """Apply changed options, all but the number of slots: that one all workers agree on."""
        self._rules = rules

    def attach(self, user: SlotUser) -> None:
        self._user = user

    def start(self) -> None:
        """Read the base that the last process left, then start to exchange."""
        self._stopped = False
        self._lost_at = self._heard_at = self._clock.seconds()
        self._base.start().addCallback(lambda _: self._soon())

    async def stop(self) -> None:
        """Give the slots back, after the last request. Slots in use stay reserved for as long as HOSP may be busy with
        them. Never fails.
        """
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._background.idle()
        if not self._away:
            # While Redis is away the others may never learn of it, and a successor may need the base.
            await self._base.give_up(self._common.member)
        if self._user is not None:
            self._owned = self._user.using().in_flight
            await self._level(self._user, leaving=True)
            self._owned = 0
        self._base.stop()

    def woken(self) -> None:
        """Exchange soon: another worker has returned slots, needs some, or has news of the breaker."""
        self._soon()

    def changed(self) -> None:
        if self._user is None:
            return
        using = self._user.using()
        if self._away:
            self._go_by_base(using)
        short = using.waiting > 0 and self._told_need <= self._owned < self._rules.ceiling
        # A slot above this worker's share has become free.
        spare = not self._away and using.in_flight < self._owned and self._owned > self._last.share
        news = using.breaker is not None and using.breaker[0] is not self._told_state
        if short or spare or news:
            self._soon()

    def _soon(self) -> None:
        if self._exchanging:
            self._again = True
        else:
            self._at(self._began + SPACING_S)

    def _at(self, moment: float) -> None:
        """Schedule an exchange at this moment, unless an earlier one is scheduled."""
        if self._stopped:
            return
        after_s = max(0.0, moment - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(after_s, self._exchange)
        elif after_s < self._timer.getTime() - self._clock.seconds():
            self._timer.reset(after_s)

    def _exchange(self) -> None:
        self._timer = None
        if self._user is None:
            return
        self._again = False
        self._exchanging = True
        self._background.run(self._level(self._user), self._over)

    def _over(self, _: object) -> None:
        self._exchanging = False
        # While Redis is away, the heartbeat is soon enough.
        again = self._again and not self._away
        self._at(self._began + (SPACING_S if again else self._rules.redis.heartbeat_s))

    async def _level(self, user: SlotUser, *, leaving: bool = False) -> None:
        """Do one exchange, and tell the user (the gate) its result."""
        self._began = self._clock.seconds()
        if self._away and self._base.inherit(self._common.member):
            self._lost_at = self._began
        using = user.using()
        # Offer free slots above the share. After a failure offer none: Redis may not be there to take them.
        keep = self._owned if self._away or leaving else max(using.in_flight, self.usable)
        self._owned = keep
        # After its first failed call a worker reports itself as alone, so Redis reserves its base even if the reply is
        # lost.
        alone = self._away and self._base.said > 0
        result: PlacesResult = "nonsense"
        try:
            args = self._args(using, keep, leaving=leaving, alone=alone)
            said = await self._common.run(script("places"), self._keys(), args)
            last = levelled(said, 0 if leaving else keep, self._rules.ceiling)
        except Away:
            result, last = "away", None
        if last is not None:
            result = "done"
            self._heard(last, leaving)
            self._again = self._again or alone
        elif not self._away:
            self._away, self._lost_at = True, self._clock.seconds()
        self._meter.count("places_exchanges_total", result=result)
        if not leaving:
            if self._away:
                self._go_by_base(user.using())
            user.told()
            # The share may have shrunk: the next exchange gives free slots back.
            self.changed()
            if last is not None and last.state is not None:
                # Date the report from before the exchange: what this worker has seen of HOSP since is newer.
                user.heard(last.state, self._began - last.age_s)

    def _heard(self, last: SlotExchange, leaving: bool) -> None:
        self._away = False
        self._heard_at = self._clock.seconds()
        self._last, self._owned = last, last.quota
        if not leaving:
            self._base.told(self._common.member, last.base)

    def _go_by_base(self, using: SlotUse) -> None:
        """Redis is away: give up free slots above the base for good, and own the base after ``patience_s``."""
        base = self._base.value
        self._owned = max(using.in_flight, min(self._owned, base))
        if self._clock.seconds() - self._lost_at >= self._rules.patience_s:
            self._owned = max(self._owned, base)

    def _keys(self) -> list[bytes]:
        return [self._common.key(kind) for kind in ("places", "members", "breaker")]

    def _args(self, using: SlotUse, keep: int, *, leaving: bool, alone: bool) -> list[bytes | int | str]:
        rules = self._rules
        self._told_need = self._need(using)
        state, at = using.breaker or (None, self._began)
        self._told_state = state or self._told_state
        redis = rules.redis
        seconds = (redis.lease_s, rules.linger_s, redis.settle_s, redis.vanished_s, rules.turn_s)
        return [
            self._common.member,
            keep,
            self._told_need,
            min(using.opinion, rules.ceiling),
            rules.ceiling,
            *(int(each * 1000) for each in seconds),
            self._common.key("wake"),
            "" if state is None else state.value,
            int(max(0.0, self._began - at) * 1000),
            int(leaving),
            self._base.said,
            int(alone),
            int(rules.patience_s * 1000),
            self._base.heir_of,
            *self._last.names,
        ]

    def _need(self, using: SlotUse) -> int:
        now = self._clock.seconds()
        need = using.in_flight + using.waiting
        if using.gone:
            # The worker whose turn it is needs a slot to ask whether HOSP is back.
            return min(max(need, int(self.turn == 0)), self._rules.ceiling)
        if need:
            self._used_at = now
        elif now - self._used_at < RECENT_S:
            need = 1
        return min(need, self._rules.ceiling)

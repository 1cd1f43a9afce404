"""A cache with a HOSP below it that responds when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from hospproxy.contract import document as contract_document
from hospproxy.contract.contract import Contract
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.messages import ABSENT, Client, Headers, Identity, Origin, Priority, Request, Response
from hospproxy.interfaces import IMeter
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.cache import Cache
from hospproxy.memory.memory import Memory
from hospproxy.memory.persistence import Persistence
from hospproxy.memory.redis.level import LevelLimits, RedisSecondLevel
from hospproxy.memory.second_level import SecondLevelAccess
from hospproxy.memory.stall_fallback import StallSignal
from hospproxy.memory.store import LruStore
from hospproxy.options.sections import CacheSettings
from hospproxy.sharing.kinds import ALONE, Sharing
from tests.sharing.small_redis import SmallCommon
from tests.stages import identified

CONTRACT: Contract = contract_document.load()
ANN = Identity(1, "ann", b"hmac of ann")
BEN = Identity(2, "ben", b"hmac of ben")
JSON = (b"Content-Type", b"application/json; charset=utf-8")
RAILS = (
    JSON,
    (b"ETag", b'W/"abc"'),
    (b"Cache-Control", b"max-age=0, private, must-revalidate"),
    (b"Vary", b"Accept"),
    (b"X-Request-Id", b"of-the-first"),
)


def answer(
    body: bytes = b"[]", *more: tuple[bytes, bytes], status: int = 200, headers: Any = RAILS
) -> Response:
    """A response of HOSP."""
    return Response(status, Headers((*headers, *more)), body, Origin.UPSTREAM)


def call_of(operation: str, *path: str, document: Any = ABSENT, accept: str = "json", **query: str) -> Call:
    """Make a call from an operation id."""
    return Call(CONTRACT.operation(operation), path, tuple(query.items()), document, accept)


@implementer(IMeter)
class Meter:
    """Counts by name and event."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}
        self.gauges: dict[str, Any] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        key = ":".join((name, *labels.values()))
        self.counts[key] = self.counts.get(key, 0) + amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        raise AssertionError("the cache measures no durations")

    def gauge(self, name: str, read: Any, **labels: str) -> None:
        self.gauges[name] = read


@define(eq=False)
class Asked:
    """One request that reached HOSP."""

    exchange: Exchange
    reply: Deferred[Response]
    cancelled: bool = False


@define(eq=False)
class Reading:
    """One request through the cache, and its result."""

    exchange: Exchange
    result: Deferred[Response]
    outcome: list[Any] = field(factory=list)

    @property
    def response(self) -> Response:
        assert self.outcome, "there is no answer yet"
        if not isinstance(self.outcome[0], Response):
            self.outcome[0].raiseException()
        response: Response = self.outcome[0]
        return response

    @property
    def error(self) -> BaseException:
        error: BaseException = self.outcome[0].value
        return error

    @property
    def status(self) -> bytes:
        return self.response.headers.get(b"cache-status") or b""


class CacheRig:
    """The cache, everything that it needs, and a HOSP whose responses the test gives."""

    def __init__(
        self,
        max_bytes: int = 1 << 20,
        *,
        renews: bool = False,
        keeper: Persistence | None = None,
        clock: Clock | None = None,
        common: SmallCommon | None = None,
        sharing: Sharing = ALONE,
        away: Callable[[], bool] = lambda: False,
        stalls: StallSignal | None = None,
        **settings: Any,
    ) -> None:
        """:param renews: whether a stale entry that was served is refreshed in the background.
        :param keeper: stores what outlives this process.
        :param away: whether HOSP is known to be down.
        :param stalls: whether HOSP is silent.
        :param common: the Redis that it shares with other houses on the same clock.
        """
        self.clock = Clock() if clock is None else clock
        self.clock.advance(1000)
        self.heard = 1 << 40
        self.meter = Meter()
        self.accounts = Accounts(self.clock, 100, 300.0, 43200.0, keeper)
        self.store = LruStore(max_bytes)
        self.memory = Memory(
            CONTRACT, self.accounts, self.store, self.clock,
            keeper=keeper, sharing=sharing, away=away, stalls=stalls,
        )  # fmt: skip
        self.cache = Cache(
            CacheSettings(max_bytes=max_bytes, **settings),
            CONTRACT,
            self.memory,
            self.clock,
            self.meter,
            self._ask if renews else None,
            None if common is None else SecondLevelAccess(self._level(common), sharing),
        )
        self.hosp: list[Asked] = []
        self.own: list[Exchange] = []

    def _level(self, common: SmallCommon) -> RedisSecondLevel:
        limits = LevelLimits(1 << 20, 1 << 20)
        return RedisSecondLevel(common, self.clock, self.meter, limits, heard=lambda: self.heard)

    async def _ask(self, call: Call, *, on_behalf_of: Exchange, own: str, priority: Priority) -> Response:
        exchange = evolve(
            on_behalf_of,
            request=Request(call.operation.method, client=on_behalf_of.request.client),
            own=own,
            priority=priority,
            trace=evolve(on_behalf_of.trace, cache_status=""),
        )
        self.own.append(exchange)
        return await self.cache.process(exchange, self._hosp)

    async def _hosp(self, exchange: Exchange) -> Response:
        def cancelled(_: object) -> None:
            asked.cancelled = True

        asked = Asked(exchange, Deferred(cancelled))
        self.hosp.append(asked)
        exchange.trace.attempts += 1
        return await asked.reply

    def send(
        self,
        call: Call | str,
        *headers: tuple[bytes, bytes],
        who: Identity | None = ANN,
        host: str = "hosp.example",
        deadline_s: float = 28.0,
        past_cache: bool = False,
        offline: bool = False,
    ) -> Reading:
        """Send a request through the cache."""
        call = call_of(call) if isinstance(call, str) else call
        now = self.clock.seconds()
        exchange = identified(
            call,
            Request(call.operation.method, headers=Headers(headers), client=Client(host=host)),
            at=now,
            deadline=now + deadline_s,
            past_cache=past_cache,
            offline=offline,
            identity=who,
            credentials=None if who is None else who.credentials,
        )
        result = Deferred.fromCoroutine(self.cache.process(exchange, self._hosp))
        reading = Reading(exchange, result)
        result.addBoth(reading.outcome.append)
        return reading

    def reply(self, response: Response | BaseException, at: int = -1) -> None:
        """HOSP responds to a request.

        :param at: which request; the latest one by default.
        """
        reply = self.hosp[at].reply
        if isinstance(response, BaseException):
            reply.errback(response)
        else:
            reply.callback(response)

    def warm(self, call: Call | str, response: Response | None = None, **how: Any) -> Reading:
        """Send a request, and let HOSP respond at once."""
        before = len(self.hosp)
        reading = self.send(call, **how)
        assert len(self.hosp) == before + 1, "it did not reach HOSP"
        self.reply(answer() if response is None else response)
        return reading

"""Puts the gate and its prober together."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from ...contract import Contract
from ...host import REAL, Host
from ...interfaces import IMeter
from ...messages import Response
from ...options.gate_section import MARGIN_S, BreakerSettings, GateSettings
from ...options.redis_section import RedisSettings
from ...sharing.bases import FILE, BaseFile, OwnBase
from ...sharing.kinds import Common
from ...sharing.places import PlacesRules, SharedPlaces
from ...workers.files import of_slot
from ..ledger.owner import Owner
from .breaker import Breaker
from .gate import Gate
from .places import AllMine, Places
from .probing import Prober
from .rules import Rules
from .unfinished import InHand

if TYPE_CHECKING:
    from ...config import Settings


def base_of(
    settings: Settings, reactor: Any, slot: int, owner: Callable[[], Owner], host: Host = REAL
) -> Callable[[], OwnBase]:
    """Makes what is this worker's own while Redis is away, with its file.

    :param owner: this process, by its file lock; asked once it has joined the others.
    """

    def made() -> OwnBase:
        file = BaseFile(of_slot(settings.state_dir / FILE, slot), host.worker(reactor, "places"))
        return OwnBase(settings.gate.concurrency, file, lambda name: owner().is_gone(name))

    return made


def places_for(
    gate: GateSettings,
    breaker: BreakerSettings,
    redis: RedisSettings,
    common: Common | None,
    clock: IReactorTime,
    meter: IMeter,
    *,
    longest_s: float = 28.0,
    base: Callable[[], OwnBase] | None = None,
) -> Places:
    """The places at HOSP of this process.

    :param common: None: it is alone, and all are its own.
    :param longest_s: that a client's request may take.
    :param base: makes what is its own while Redis is away. Default: what it is told, and nothing outlives the process.
    """
    if common is None or not gate.enabled:
        return AllMine(gate.concurrency)
    rules = PlacesRules(
        gate.concurrency,
        heartbeat_s=redis.heartbeat_s,
        lease_s=redis.lease_s,
        linger_s=gate.finish_s,
        settle_s=redis.settle_s,
        vanished_s=redis.vanished_s,
        # Each has time for some probes, and a few heartbeats to get a place for them.
        turn_s=max(2 * breaker.probe_every_s, 4 * redis.heartbeat_s),
        # Until the others have seen that this one is away, or that Redis is, and then until what they sent is over.
        patience_s=redis.lease_s
        + redis.heartbeat_s
        + redis.timeout_s
        + max(longest_s, breaker.probe_timeout_s)
        + MARGIN_S,
    )
    return SharedPlaces(common, rules, clock, meter, None if base is None else base())


def build_gate(
    gate: GateSettings,
    breaker: BreakerSettings,
    contract: Contract,
    ask: Callable[..., Awaitable[Response]],
    clock: IReactorTime,
    wall: Callable[[], float],
    meter: IMeter,
    places: Places | None = None,
    in_hand: InHand | None = None,
) -> tuple[Gate, Prober]:
    """The gate, and who finds out when HOSP is back.

    :param ask: Chain.ask, for probes.
    :param clock: monotonic time.
    :param wall: seconds since the epoch, for records.
    :param places: at HOSP, of this process. Default: all.
    :param in_hand: remembers, beyond this process, what HOSP has in hand.
    """
    prober = Prober(
        clock,
        ask,
        contract.operation(contract.probe) if contract.probe else None,
        wall,
        meter,
        every_s=breaker.probe_every_s,
        timeout_s=breaker.probe_timeout_s,
    )
    rules = Rules(
        gate.concurrency,
        gate.max_queue,
        gate.slow_s,
        gate.finish_s,
        Breaker(breaker.failures, slow_s=gate.slow_s) if breaker.enabled else None,
        away_retry_after_s=math.ceil(breaker.probe_every_s) + 1,
    )
    return Gate(clock, rules, meter, prober.begin, places, in_hand), prober

"""Assembles the gate and its prober from the settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime

from ...contract import Contract
from ...host import REAL, Host
from ...interfaces import Ask, IMeter
from ...options.gate_section import MARGIN_S, BreakerSettings, GateSettings
from ...options.redis_section import RedisSettings
from ...sharing.kinds import Common
from ...workers.files import of_slot
from ..ledger.owner import Owner
from .breaker import Breaker
from .gate import Gate
from .in_flight_file import InHand
from .probe import Prober
from .redis.base_share import FILE, BaseFile, OwnBase
from .redis.shared_slots import PlacesRules, SharedPlaces
from .rules import Rules
from .slots import AllMine, Places

if TYPE_CHECKING:
    from ...config import Settings


def base_of(
    settings: Settings, reactor: Any, slot: int, owner: Callable[[], Owner], host: Host = REAL
) -> Callable[[], OwnBase]:
    """Factory for the base share of this worker: the slots it keeps while Redis is unreachable, stored in its file.

    :param owner: identifies this process by its file lock. Called once the process has joined the others.
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
    """The slots at HOSP that belong to this process.

    :param common: the connection to the other processes; None: this process is alone and owns all slots.
    :param longest_s: the most seconds that a client's request may take.
    :param base: makes the base share for when Redis is unreachable. Default: what Redis last assigned, lost when the
        process ends.
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
        # Each process gets time for some probes, plus a few heartbeats to get a slot for them.
        turn_s=max(2 * breaker.probe_every_s, 4 * redis.heartbeat_s),
        # Until the other processes have noticed that this one, or Redis, is gone, and then until the attempts they sent
        # have ended.
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
    ask: Ask,
    clock: IReactorTime,
    wall: Callable[[], float],
    meter: IMeter,
    places: Places | None = None,
    in_hand: InHand | None = None,
) -> tuple[Gate, Prober]:
    """Build the gate, and the prober that finds out when HOSP is back.

    :param ask: ``OwnRequests.ask``, for probes.
    :param clock: monotonic time.
    :param wall: seconds since the epoch, for records.
    :param places: the slots at HOSP of this process. Default: all.
    :param in_hand: stores what is in flight at HOSP beyond the end of this process.
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

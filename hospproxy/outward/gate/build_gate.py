"""Builds the gate, its slots and its prober from the settings."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ...config import Settings
from ...foundations import Foundations
from ...memory.stall_fallback import NoStallSignal, StallSignal
from ...options.gate_section import MARGIN_S
from ...process.folders import of_slot
from .breaker import BreakerState
from .gate import Gate
from .in_flight_file import FILE, InFlightFile
from .probe import Prober
from .slots import AllSlots, Slots


@frozen(slots=True, kw_only=True)
class GateParts:
    """The gate, and what it works with. All of it exists even if the gate is switched off.

    :param unfinished: stores what is in flight at HOSP beyond the end of this process; None for a process among
        others: they learn it from each other through Redis.
    :param reload_slots: applies changed options to the slots.
    :param prober: finds out when HOSP is back.
    """

    enabled: bool
    places: Slots
    reload_slots: Callable[[Settings], None]
    unfinished: InFlightFile | None
    gate: Gate
    prober: Prober

    @property
    def stalls(self) -> StallSignal:
        """Whether HOSP is silent for longer than usual; never, if the gate is switched off."""
        return self.gate.stall if self.enabled else NoStallSignal()

    def reload(self, settings: Settings) -> None:
        """Apply changed options to the gate, its slots and its prober."""
        self.reload_slots(settings)
        self.prober.reload(settings.breaker)
        self.gate.reload(settings.gate, settings.breaker)

    def away(self) -> bool:
        """Whether HOSP is known to be down."""
        return self.enabled and self.gate.state is BreakerState.OPEN

    def workers(self) -> int:
        """How many processes share the slots, at least one."""
        return self.places.workers


def gate_parts(base: Foundations, is_gone: Callable[[str], bool]) -> GateParts:
    """Build the gate with a closed breaker and an empty queue, its slots and its prober.

    :param is_gone: whether the worker of this machine that holds this file lock is dead.
    """
    settings = base.settings
    gate, breaker = settings.gate, settings.breaker
    places, reload_slots = _places(base, is_gone)
    unfinished = None
    if base.shared is None and gate.enabled:
        path, worker = settings.state_dir / FILE, base.worker("gate")
        unfinished = InFlightFile(path, worker, base.reactor, base.host.since_boot)
    prober = Prober(
        base.reactor,
        base.own_requests.ask,
        base.contract.operation(base.contract.probe) if base.contract.probe else None,
        base.host.wall,
        base.metrics,
        breaker,
    )
    return GateParts(
        enabled=gate.enabled,
        places=places,
        reload_slots=reload_slots,
        unfinished=unfinished,
        gate=Gate(base.reactor, gate, breaker, base.metrics, prober.begin, places, unfinished),
        prober=prober,
    )


def _places(base: Foundations, is_gone: Callable[[str], bool]) -> tuple[Slots, Callable[[Settings], None]]:
    """The slots at HOSP that belong to this process (all, if it is alone), and what applies changed options to them."""
    settings, shared, ceiling = base.settings, base.shared, base.settings.gate.concurrency
    if shared is None or not settings.gate.enabled:
        all_slots = AllSlots(ceiling)
        return all_slots, lambda changed: all_slots.reload(changed.gate.concurrency)
    # Imported here: a process without Redis does not need it.
    from .redis.base_share import FILE as BASE_FILE
    from .redis.base_share import BaseFile, OwnBase
    from .redis.shared_slots import SharedSlotRules, SharedSlots

    file = BaseFile(of_slot(settings.state_dir / BASE_FILE, base.slot), base.worker("places"))

    def rules_of(settings: Settings) -> SharedSlotRules:
        gate, breaker, redis = settings.gate, settings.breaker, settings.redis
        return SharedSlotRules(
            ceiling=ceiling,
            redis=redis,
            linger_s=gate.finish_s,
            # Each process gets time for some probes, plus a few heartbeats to get a slot for them.
            turn_s=max(2 * breaker.probe_every_s, 4 * redis.heartbeat_s),
            # Until the other processes have noticed that this one, or Redis, is gone, and then until the attempts they
            # sent have ended.
            patience_s=redis.lease_s
            + redis.heartbeat_s
            + redis.timeout_s
            + max(settings.deadline_s, breaker.probe_timeout_s)
            + MARGIN_S,
        )

    own = OwnBase(ceiling, file, is_gone)
    places = SharedSlots(shared, rules_of(settings), base.reactor, base.metrics, own)
    shared.places.listen(places.woken)
    return places, lambda changed: places.reload(rules_of(changed))

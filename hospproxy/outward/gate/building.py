"""Puts the gate and its prober together."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime

from ...contract import Contract
from ...interfaces import IMeter
from ...messages import Response
from ...options.gate_section import BreakerSettings, GateSettings
from .breaker import Breaker
from .gate import Gate, Rules
from .probing import Prober


def build_gate(
    gate: GateSettings,
    breaker: BreakerSettings,
    contract: Contract,
    ask: Callable[..., Awaitable[Response]],
    clock: IReactorTime,
    wall: Callable[[], float],
    meter: IMeter,
) -> tuple[Gate, Prober]:
    """The gate, and who finds out when HOSP is back.

    :param ask: Chain.ask, for probes.
    :param clock: monotonic time.
    :param wall: seconds since the epoch, for records.
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
        Breaker(breaker.failures, slow_s=gate.slow_s) if breaker.enabled else None,
        away_retry_after_s=math.ceil(breaker.probe_every_s) + 1,
    )
    return Gate(clock, rules, meter, prober.begin), prober

"""The sections [gate] and [breaker]: how much HOSP gets at one time, and what happens while it is down."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import names, number, switch, whole

MARGIN_S = 5.0
"""Seconds beyond ``slow_s``, for a connection that was slow to open and a clock that differs from HOSP's."""


@frozen(slots=True, kw_only=True)
class GateSettings:
    """The slots at HOSP, and the queue in front of them."""

    LIVE: ClassVar = names("concurrency max_queue slow_s")
    RESTART: ClassVar = names("enabled")

    enabled: bool = field(
        default=True, metadata=switch("Limit how many requests HOSP works on, and queue the rest.")
    )
    concurrency: int = field(
        default=5,
        metadata=whole(
            "requests",
            1,
            1000,
            "Most requests in flight at HOSP (slots); with `[redis]` over all workers and machines together.",
        ),
    )
    max_queue: int = field(
        default=512,
        metadata=whole("requests", 0, 100_000, "Most requests waiting for a slot; beyond it 503."),
    )
    slow_s: float = field(
        default=20.0,
        metadata=number(
            "seconds",
            0.1,
            600,
            "Time within which HOSP responds even on a bad day. Only longer silence counts against HOSP.",
        ),
    )

    @property
    def finish_s(self) -> float:
        """Seconds after which HOSP must have finished a request, whether or not it has responded."""
        return self.slow_s + MARGIN_S


@frozen(slots=True, kw_only=True)
class BreakerSettings:
    """The circuit breaker: while HOSP is down only probes are sent."""

    LIVE: ClassVar = names("failures probe_every_s probe_timeout_s")
    RESTART: ClassVar = names("enabled")

    enabled: bool = field(default=True, metadata=switch("Use the breaker. Needs `gate.enabled`."))
    failures: int = field(
        default=5,
        metadata=whole(
            "attempts",
            1,
            1000,
            "Consecutive attempts without a connection or a response, spread over at least 1 s, that open"
            " the breaker.",
        ),
    )
    probe_every_s: float = field(
        default=2.0,
        metadata=number("seconds", 0.1, 600, "Interval between probes while the breaker is open."),
    )
    probe_timeout_s: float = field(
        default=8.0,
        metadata=number("seconds", 0.1, 600, "Timeout for one probe. The next probe does not wait for it."),
    )

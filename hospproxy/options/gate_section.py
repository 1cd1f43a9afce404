"""The settings of what stands before HOSP: how much it gets at one time, and what is done while it is gone."""

from __future__ import annotations

from attrs import field, frozen

from .fields import number, switch, whole

MARGIN_S = 5.0
"""Seconds beyond ``slow_s``: a connection that took its time to open, and a clock that is not HOSP's."""


@frozen(slots=True, kw_only=True)
class GateSettings:
    """The queue before HOSP."""

    enabled: bool = field(default=True, metadata=switch("Whether requests to HOSP wait for a place."))
    concurrency: int = field(
        default=5, metadata=whole("requests", 1, 1000, "The most that HOSP gets at one time.")
    )
    max_queue: int = field(
        default=512, metadata=whole("requests", 0, 100_000, "Requests that wait for a place; beyond it 503.")
    )
    slow_s: float = field(
        default=20.0,
        metadata=number(
            "seconds",
            0.1,
            600,
            "HOSP answers within it even on a bad day; silence is a sign only from then on.",
        ),
    )

    @property
    def finish_s(self) -> float:
        """Seconds after which HOSP must have finished with what it was sent, answered or not."""
        return self.slow_s + MARGIN_S


@frozen(slots=True, kw_only=True)
class BreakerSettings:
    """Nothing is sent to a HOSP that is gone."""

    enabled: bool = field(
        default=True, metadata=switch("Whether HOSP may be taken to be gone. It is part of the gate.")
    )
    failures: int = field(
        default=5,
        metadata=whole(
            "attempts", 1, 1000, "In a row, over 1 s or more, that found nobody there: then HOSP is gone."
        ),
    )
    probe_every_s: float = field(
        default=2.0, metadata=number("seconds", 0.1, 600, "From one probe to the next while HOSP is gone.")
    )
    probe_timeout_s: float = field(
        default=8.0,
        metadata=number("seconds", 0.1, 600, "How long a probe may take; the next does not wait for it."),
    )

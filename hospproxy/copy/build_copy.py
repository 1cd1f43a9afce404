"""Makes the copy from the settings."""

from __future__ import annotations

from ..foundations import Foundations
from .intake import CopyIntake
from .records import Shapes
from .sealing import KeyRing
from .store import CopyStore


def copy_for(base: Foundations) -> CopyIntake | None:
    """Return what fills the copy, not started; None if it is switched off."""
    settings, host = base.settings, base.host
    if not settings.copy.enabled:
        return None
    shapes = Shapes.of(base.contract)
    store = CopyStore(
        settings.copy_path,
        KeyRing(base.key, host.entropy),
        shapes,
        random=host.entropy,
        since_boot=host.since_boot,
    )
    intake = CopyIntake(
        store,
        base.contract,
        shapes,
        base.worker("copy"),
        base.reactor,
        base.metrics,
        since_boot=host.since_boot,
        wall=host.wall,
        max_bytes=settings.copy.max_bytes,
    )
    base.metrics.gauge("copy_bytes", lambda: float(intake.bytes))
    base.metrics.gauge("copy_records", lambda: float(intake.extent.records))
    base.metrics.gauge("copy_oldest_seconds", intake.oldest_s)
    base.metrics.gauge("copy_up", lambda: 0.0 if intake.trouble else 1.0)
    return intake

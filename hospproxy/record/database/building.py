"""The database that the settings ask for: what fills it, and what reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...interfaces import IAuditWriter, ITrailReader

if TYPE_CHECKING:
    from ...config import Settings


def writer_for(settings: Settings, reactor: Any) -> IAuditWriter | None:  # noqa: ARG001
    """What carries records into it."""
    return None


def reader_for(settings: Settings, reactor: Any) -> ITrailReader | None:  # noqa: ARG001
    """What answers from it."""
    return None

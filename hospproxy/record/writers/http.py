"""Carries the trail on to http."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...interfaces import IAuditWriter

if TYPE_CHECKING:
    from ...config import Settings


def writer_for(settings: Settings, reactor: Any) -> IAuditWriter | None:  # noqa: ARG001
    """The writer that the settings ask for, if they do."""
    return None

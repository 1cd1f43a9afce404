"""Makes the reader and the sink of the index in columns from the settings. Imports no DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...process.host import REAL, Host
from .questions import Setup
from .reader import ColumnReader
from .sink import IndexSink

if TYPE_CHECKING:
    from ...config import Settings

FOLDER = "audit-index"
_DAY_S = 86_400.0
_NICE = 10


def folder_of(settings: Settings) -> Path:
    """The folder of the index, below the state folder."""
    return settings.state_dir / FOLDER


def setup_of(settings: Settings, nice: int = 0) -> Setup:
    """Which index the settings name."""
    section = settings.audit_database
    return Setup(
        folder=str(folder_of(settings).absolute()),
        directory=str(settings.audit_path.absolute()),
        keep_s=section.retention_days * _DAY_S,
        timeout_s=section.timeout_s,
        nice=nice,
    )


def reader_for(settings: Settings, reactor: Any, host: Host = REAL) -> ColumnReader:
    """The reader that answers the audit page. Its processes start when they are asked."""
    pages, exports = (host.index(reactor, setup_of(settings)) for _ in range(2))
    return ColumnReader(pages, exports)


def sink_for(settings: Settings, reactor: Any, host: Host = REAL) -> IndexSink:
    """The sink that fills the index, with low priority."""
    return IndexSink(folder_of(settings), host.index(reactor, setup_of(settings, _NICE)))

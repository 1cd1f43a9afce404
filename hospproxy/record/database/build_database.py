"""Makes the sink and the reader of the audit index from the settings: in PostgreSQL if a URL is set, else in columns.

Imports SQLAlchemy only for PostgreSQL: it takes a fifth of a start and 20 MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...interfaces import IAuditFileWriter, IAuditWriter, ITrailReader
from ...process.host import REAL, Host
from ..columns import build_columns

if TYPE_CHECKING:
    from ...config import Settings
    from .connect import DatabaseTarget


def target_of(settings: Settings) -> DatabaseTarget:
    """The database that the settings name."""
    from ...options.database_url import parsed
    from .connect import DatabaseTarget

    section = settings.audit_database
    return DatabaseTarget(
        url=parsed(section.url),
        password_file=section.password_file,
        password=section.password.value if section.password is not None else None,
        connect_timeout_s=section.connect_timeout_s,
        timeout_s=section.timeout_s,
    )


def writer_for(settings: Settings, reactor: Any, host: Host = REAL) -> IAuditWriter | IAuditFileWriter | None:
    """The sink that fills the index; None if it is switched off."""
    section = settings.audit_database
    if not (settings.audit.enabled and section.enabled):
        return None
    if not section.url:
        return build_columns.sink_for(settings, reactor, host)
    from .access import TransactionThread
    from .retention import DAY_S, Pruner
    from .sink import DatabaseSink

    pruner = None
    if section.retention_days:
        pruner = Pruner(section.retention_days * DAY_S, host.wall, settings.audit.rotate_s)
    return DatabaseSink(
        TransactionThread(reactor, target_of(settings), "audit database", worker=host.worker), pruner
    )


def reader_for(settings: Settings, reactor: Any, host: Host = REAL) -> ITrailReader | None:
    """The reader that answers from the index; None if it is switched off."""
    if not (settings.audit.enabled and settings.audit_database.enabled):
        return None
    if not settings.audit_database.url:
        return build_columns.reader_for(settings, reactor, host)
    from .access import TransactionThread
    from .reader import DatabaseReader

    target = target_of(settings)
    pages, exports = (
        TransactionThread(reactor, target, f"audit {what}", read_only=True, worker=host.worker)
        for what in ("pages", "exports")
    )
    return DatabaseReader(pages, exports)

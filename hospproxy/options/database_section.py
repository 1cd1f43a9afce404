"""The section [audit_database]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import switch


@frozen(slots=True, kw_only=True)
class DatabaseSettings:
    """The trail in a database, where the audit page looks."""

    enabled: bool = field(default=True, metadata=switch("Whether records are carried into a database."))

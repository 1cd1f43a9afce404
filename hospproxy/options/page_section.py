"""The section [audit_page]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import switch


@frozen(slots=True, kw_only=True)
class AuditPageSettings:
    """The audit page, on the admin listener."""

    enabled: bool = field(default=True, metadata=switch("Whether it is served."))

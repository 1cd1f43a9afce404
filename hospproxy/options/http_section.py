"""The section [audit_http]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import switch


@frozen(slots=True, kw_only=True)
class HttpWriterSettings:
    """The trail to an HTTP server, in batches."""

    enabled: bool = field(default=False, metadata=switch("Whether records are posted there."))

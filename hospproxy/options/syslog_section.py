"""The section [audit_syslog]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import switch


@frozen(slots=True, kw_only=True)
class SyslogSettings:
    """The trail to a syslog receiver (RFC 5424)."""

    enabled: bool = field(default=False, metadata=switch("Whether records are sent there."))

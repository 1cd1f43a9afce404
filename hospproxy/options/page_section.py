"""The section [audit_page]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from .fields import number, path, switch, whole


@frozen(slots=True, kw_only=True)
class AuditPageSettings:
    """The audit page, on the admin listener."""

    enabled: bool = field(default=True, metadata=switch("Whether it is served."))
    users_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Who may look (mode 0600; `hospproxy-audit user` changes it). Default: `state_dir`/audit-users, made at"
            " the first start with one user, `auditor`; the password is in `state_dir`/audit-page-password."
        ),
    )
    remember_s: float = field(
        default=300.0,
        metadata=number("seconds", 0, 3600, "How long a password that was right is not worked out again."),
    )
    rows: int = field(default=50, metadata=whole("records", 5, 500, "Records on one page."))
    report_rows: int = field(
        default=10_000,
        metadata=whole("records", 10, 100_000, "The most records in one disclosure report."),
    )

"""The section [audit_page]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from .fields import names, number, path, switch, whole


@frozen(slots=True, kw_only=True)
class AuditPageSettings:
    """The audit page, on the admin listener."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names("enabled users_file remember_s rows report_rows")

    enabled: bool = field(default=True, metadata=switch("Serve the audit page."))
    users_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "File with the users of the page (mode 0600; change it with `hospproxy-audit user`). Default:"
            " `state_dir`/audit-users, created at the first start with one user, `auditor`, whose"
            " password is in `state_dir`/audit-page-password."
        ),
    )
    remember_s: float = field(
        default=300.0,
        metadata=number(
            "seconds", 0, 3600, "How long a verified password is accepted without computing its hash again."
        ),
    )
    rows: int = field(default=50, metadata=whole("records", 5, 500, "Records shown on one page."))
    report_rows: int = field(
        default=10_000,
        metadata=whole("records", 10, 100_000, "Most records in one disclosure report."),
    )

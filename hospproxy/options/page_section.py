"""The section [audit_page]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import field, frozen
from attrs.converters import optional

from .fields import names, number, path, pattern, switch, text, whole


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("there is no such time zone") from None
    return name


@frozen(slots=True, kw_only=True)
class AuditPageSettings:
    """The audit page, on the admin listener."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names(
        "enabled users_file remember_s rows report_rows owner_zone owner_hospital owner_purpose"
    )

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
    owner_zone: str = field(
        default="UTC",
        metadata=text(
            "Zone of the times in an owner's extract, such as `Europe/Zurich`.",
            "the name of a time zone",
            _zone,
        ),
    )
    owner_hospital: str | None = field(
        default=None,
        metadata=pattern(
            r"[^\x00-\x1f\x7f]{1,200}",
            "1 to 200 printable characters",
            "Name of the hospital in the head of an owner's extract.",
        ),
    )
    owner_purpose: str | None = field(
        default=None,
        metadata=pattern(
            r"[^\x00-\x1f\x7f]{1,1000}",
            "1 to 1000 printable characters",
            "What the hospital uses patients' data for, as an owner's extract says it.",
        ),
    )

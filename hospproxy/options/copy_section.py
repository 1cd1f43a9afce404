"""The section [copy]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import names, switch, whole

MiB = 1024 * 1024
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class CopySettings:
    """A copy of HOSP's records with their history, filled from what passes the proxy."""

    LIVE: ClassVar = names("max_bytes")
    RESTART: ClassVar = names("enabled")

    enabled: bool = field(
        default=False,
        metadata=switch("Keep every record that HOSP shows, sealed, in `state_dir`."),
    )
    max_bytes: int = field(
        default=GiB,
        metadata=whole(
            "bytes",
            MiB,
            1024 * GiB,
            "Most disk space of the copy. A full copy keeps what it has and stores no new states.",
        ),
    )

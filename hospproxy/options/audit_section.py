"""The section [audit]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import choice, number, path, switch, whole

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class AuditSettings:
    """The record of every request."""

    enabled: bool = field(default=True, metadata=switch("Whether requests are recorded."))
    directory: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Where the records go. Default: `state_dir`/audit."),
    )
    durability: str = field(
        default="commit",
        metadata=choice(
            "`commit`: an answer leaves when its record is on disk. `buffered`: it need not wait, and a crash may"
            " lose records of `buffer_s`; a write is on disk before it is sent all the same.",
            "commit",
            "buffered",
        ),
    )
    commit: str = field(
        default="auto",
        metadata=choice(
            "Who writes records. `auto`: the kernel by itself (io_uring, Linux 5.6), a thread where that is not"
            " allowed. `thread`: a thread, which takes more of the processor.",
            "auto",
            "thread",
        ),
    )
    buffer_s: float = field(
        default=1.0,
        metadata=number("seconds", 0.01, 60, "`buffered`: how far an answer may be ahead of its record."),
    )
    buffer_records: int = field(
        default=1000,
        metadata=whole("records", 1, 10_000, "`buffered`: records that may be behind their answers."),
    )
    rotate_bytes: int = field(
        default=64 * MiB,
        metadata=whole("bytes", 64 * KiB, 4 * GiB, "A file of this size is followed by another."),
    )
    rotate_s: float = field(
        default=86400.0, metadata=number("seconds", 60, 31_622_400, "So is one of this age.")
    )
    retention_days: float = field(
        default=0.0,
        metadata=number(
            "days", 0, 36_600, "How long a file is kept after its end; 0: for ever. A signed tombstone stays."
        ),
    )
    signing_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Ed25519 key (PEM, mode 0600) that signs digests. Default: `state_dir`/audit-signing.key, made at the"
            " first start; its public key is written beside it (`.pub`)."
        ),
    )
    signing_key_env: str | None = field(
        default=None,
        metadata=secret_fields.variable("Variable of the environment that holds it, instead of the file."),
    )
    signing_key: secret_fields.Text | None = field(
        default=None, repr=False, metadata=secret_fields.text("The secret itself, instead of the file.")
    )
    reserve_bytes: int = field(
        default=MiB,
        metadata=whole("bytes", 64 * KiB, GiB, "Put by on the disk for records while it is full."),
    )
    when_full: str = field(
        default="serve",
        metadata=choice(
            "What reads get while the disk is full: an answer, or 503. Writes get 503.", "serve", "refuse"
        ),
    )

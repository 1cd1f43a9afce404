"""The section [audit]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import choice, names, number, path, switch, whole

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class AuditSettings:
    """The audit trail: one record for every request."""

    LIVE: ClassVar = names("retention_days when_full")
    RESTART: ClassVar = names(
        "enabled directory durability commit buffer_s buffer_records rotate_bytes rotate_s "
        "signing_key_file signing_key_env signing_key reserve_bytes"
    )

    enabled: bool = field(default=True, metadata=switch("Write audit records."))
    directory: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Folder of the journal files. Default: `state_dir`/audit."),
    )
    durability: str = field(
        default="commit",
        metadata=choice(
            "`commit`: a response leaves once its record is on disk. `buffered`: it may leave up to"
            " `buffer_s` earlier, and a crash may lose those records. In both modes a write's `intent`"
            " record is on disk before the write is sent.",
            "commit",
            "buffered",
        ),
    )
    commit: str = field(
        default="auto",
        metadata=choice(
            "How records are written and synced. `auto`: by the kernel (io_uring, Linux 5.6 or newer), or"
            " by a thread where io_uring is not allowed. `thread`: by a thread, which takes more CPU"
            " time.",
            "auto",
            "thread",
        ),
    )
    buffer_s: float = field(
        default=1.0,
        metadata=number(
            "seconds",
            0.01,
            60,
            "With `buffered`: how long a response may leave before its record is on disk.",
        ),
    )
    buffer_records: int = field(
        default=1000,
        metadata=whole(
            "records", 1, 10_000, "With `buffered`: most records not yet on disk whose responses have left."
        ),
    )
    rotate_bytes: int = field(
        default=64 * MiB,
        metadata=whole(
            "bytes", 64 * KiB, 4 * GiB, "A new file begins when the current one reaches this size."
        ),
    )
    rotate_s: float = field(
        default=86400.0,
        metadata=number(
            "seconds", 60, 31_622_400, "A new file begins when the current one reaches this age."
        ),
    )
    retention_days: float = field(
        default=0.0,
        metadata=number(
            "days", 0, 36_600, "How long a closed file is kept; a signed tombstone stays. 0: for ever."
        ),
    )
    signing_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Ed25519 private key (PEM, mode 0600) that signs the digests. Default:"
            " `state_dir`/audit-signing.key, created at the first start. The public key is written beside"
            " it (`.pub`)."
        ),
    )
    signing_key_env: str | None = field(default=None, metadata=secret_fields.variable("key"))
    signing_key: secret_fields.SecretText | None = field(
        default=None, repr=False, metadata=secret_fields.text_of("key")
    )
    reserve_bytes: int = field(
        default=MiB,
        metadata=whole(
            "bytes", 64 * KiB, GiB, "Disk space reserved in advance for records while the disk is full."
        ),
    )
    when_full: str = field(
        default="serve",
        metadata=choice(
            "Reads while the disk is full: `serve` answers them, `refuse` gives 503. Writes always get 503.",
            "serve",
            "refuse",
        ),
    )

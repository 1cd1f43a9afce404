"""The section [redis]; sections.py has the others."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .addresses import Address, parse_address
from .fields import address, names, number, path, switch, text, whole

KiB = 1024
MiB = 1024 * KiB
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _token(value: str) -> str:
    if _TOKEN.fullmatch(value) is None:
        raise ValueError("1 to 64 letters, digits, dots, dashes and underscores")
    return value


def _user(value: str) -> str:
    if not 1 <= len(value) <= 256 or not value.isprintable() or " " in value:
        raise ValueError("1 to 256 printable characters without a space")
    return value


@frozen(slots=True, kw_only=True)
class RedisSettings:
    """Redis, through which several workers or machines share state."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names(
        "enabled url user password_file password_env password database prefix ca_file certificate_file "
        "private_key_file timeout_s heartbeat_s lease_s settle_s vanished_s max_value_bytes"
    )

    enabled: bool = field(
        default=False, metadata=switch("Use Redis. More than one worker or machine needs it.")
    )
    url: str = field(
        default="redis://127.0.0.1:6379",
        metadata=address("Address of Redis; `rediss` means TLS.", "redis", "rediss"),
    )
    user: str | None = field(
        default=None, metadata=text("ACL user. Default: Redis's own `default`.", "a name", _user)
    )
    password_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("File with the password. Read for each new connection."),
    )
    password_env: str | None = field(default=None, metadata=secret_fields.variable("password"))
    password: secret_fields.SecretText | None = field(
        default=None, repr=False, metadata=secret_fields.text_of("password")
    )
    database: int = field(default=0, metadata=whole("number", 0, 1023, "Number of the database to select."))
    prefix: str = field(
        default="hospproxy",
        metadata=text("Prefix of all keys in Redis; the same on each machine.", "a word", _token),
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust for `rediss://`, instead of the system's."),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Client certificate of this machine (PEM), if Redis requires one."),
    )
    private_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Private key of the client certificate (PEM, mode 0600)."),
    )
    timeout_s: float = field(
        default=0.5,
        metadata=number(
            "seconds", 0.02, 10, "Timeout for one command; beyond it Redis counts as unreachable."
        ),
    )
    heartbeat_s: float = field(
        default=0.5,
        metadata=number(
            "seconds", 0.05, 10, "Interval of the heartbeat with which each worker renews its lease."
        ),
    )
    lease_s: float = field(
        default=2.0,
        metadata=number(
            "seconds",
            0.2,
            60,
            "Length of the lease: how long a worker may serve from its cache without news of the other"
            " workers.",
        ),
    )
    settle_s: float = field(
        default=5.0,
        metadata=number(
            "seconds",
            0,
            600,
            "After Redis lost its data (a new epoch): how long no worker serves from its cache, so that"
            " all can rejoin.",
        ),
    )
    vanished_s: float = field(
        default=300.0,
        metadata=number(
            "seconds",
            1,
            86400,
            "How long a worker that sends no heartbeat, and is not known to be dead, keeps the others"
            " from serving from their caches.",
        ),
    )
    max_value_bytes: int = field(
        default=1 * MiB,
        metadata=whole("bytes", KiB, 64 * MiB, "Longest sealed response that is stored in Redis."),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)

    @property
    def held_s(self) -> float:
        """A lease as Redis and waiting writers count it: a little longer, since two clocks drift apart."""
        return self.lease_s * 1.01 + 0.02

    @property
    def held_ms(self) -> int:
        """``held_s`` in whole milliseconds, rounded up, as the scripts take it."""
        return math.ceil(self.held_s * 1000)

    @property
    def settle_ms(self) -> int:
        """``settle_s`` in milliseconds, at least a lease: leases from before the epoch must have run out."""
        return max(math.ceil(self.settle_s * 1000), self.held_ms)

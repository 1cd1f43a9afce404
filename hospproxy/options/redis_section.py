"""The section [redis]; sections.py has the others."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .addresses import Address, parse_address
from .fields import address, number, path, switch, text, whole

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
    """What several workers or machines have in common."""

    enabled: bool = field(
        default=False, metadata=switch("Whether there is one. More than one worker, or machine, needs it.")
    )
    url: str = field(
        default="redis://127.0.0.1:6379",
        metadata=address("Where it is; `rediss` is TLS.", "redis", "rediss"),
    )
    user: str | None = field(
        default=None, metadata=text("The ACL user. Default: Redis's own `default`.", "a name", _user)
    )
    password_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Holds the password. It is read at each connection."),
    )
    password_env: str | None = field(
        default=None,
        metadata=secret_fields.variable("Variable of the environment that holds it, instead of the file."),
    )
    password: secret_fields.Text | None = field(
        default=None, repr=False, metadata=secret_fields.text("The secret itself, instead of the file.")
    )
    database: int = field(default=0, metadata=whole("number", 0, 1023, "The database to select."))
    prefix: str = field(
        default="hospproxy",
        metadata=text("What all its keys begin with; the same on each machine.", "a word", _token),
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificates (PEM) to trust for `rediss://` instead of the system's."),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("This machine's own certificate (PEM), where Redis asks for one."),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Its key (PEM, mode 0600).")
    )
    timeout_s: float = field(
        default=0.5,
        metadata=number("seconds", 0.02, 10, "How long a command may take; beyond it Redis counts as away."),
    )
    heartbeat_s: float = field(
        default=0.5, metadata=number("seconds", 0.05, 10, "How often each worker renews its lease.")
    )
    lease_s: float = field(
        default=2.0,
        metadata=number(
            "seconds", 0.2, 60, "How long a worker may serve from its memory without having heard of others."
        ),
    )
    settle_s: float = field(
        default=5.0,
        metadata=number(
            "seconds",
            0,
            600,
            "After Redis has begun anew: how long nobody serves from memory, so that all are back.",
        ),
    )
    vanished_s: float = field(
        default=300.0,
        metadata=number(
            "seconds",
            1,
            86400,
            "How long a worker that is not heard of, and not known to be dead, keeps others from serving from memory.",
        ),
    )
    max_value_bytes: int = field(
        default=1 * MiB, metadata=whole("bytes", KiB, 64 * MiB, "The longest answer that is kept in it.")
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)

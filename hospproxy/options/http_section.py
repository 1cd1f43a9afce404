"""The section [audit_http]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import number, path, switch, web_url


@frozen(slots=True, kw_only=True)
class HttpWriterSettings:
    """The trail to an HTTP server, in batches."""

    enabled: bool = field(default=False, metadata=switch("Whether records are posted there."))
    url: str | None = field(default=None, metadata=web_url("Where to. Required if it is enabled."))
    secret_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("What signs each POST (at least 16 bytes, mode 0600); the receiver has the same."),
    )
    secret_env: str | None = field(
        default=None,
        metadata=secret_fields.variable("Variable of the environment that holds it, instead of the file."),
    )
    secret: secret_fields.Text | None = field(
        default=None, repr=False, metadata=secret_fields.text("The secret itself, instead of the file.")
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificates (PEM) to trust for an `https://` URL instead of the system's."),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=number("seconds", 0.1, 55, "From the begin of a POST to the end of its answer."),
    )

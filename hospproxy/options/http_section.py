"""The section [audit_http]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import names, number, path, switch, web_url


@frozen(slots=True, kw_only=True)
class HttpSinkSettings:
    """Audit sink: an HTTP server that gets batches of records."""

    LIVE: ClassVar = names("enabled url secret_file secret_env secret ca_file timeout_s")
    RESTART: ClassVar = names("")

    enabled: bool = field(default=False, metadata=switch("Post records."))
    url: str | None = field(default=None, metadata=web_url("URL to post to. Required if enabled."))
    secret_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "File with the secret that signs each POST (16 to 4096 bytes, mode 0600). The receiver needs"
            " the same secret."
        ),
    )
    secret_env: str | None = field(default=None, metadata=secret_fields.variable("secret"))
    secret: secret_fields.SecretText | None = field(
        default=None, repr=False, metadata=secret_fields.text_of("secret")
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust for an `https://` URL, instead of the system's."),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=number("seconds", 0.1, 55, "Timeout from the start of a POST to the end of the response."),
    )

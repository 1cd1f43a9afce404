"""The section [audit_syslog]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from .fields import address, names, number, path, switch, whole, word


@frozen(slots=True, kw_only=True)
class SyslogSettings:
    """Audit sink: a syslog receiver (RFC 5424)."""

    LIVE: ClassVar = names(
        "enabled url ca_file certificate_file private_key_file facility app_name hostname "
        "enterprise_number bom timeout_s max_message_bytes overlap_s overlap_bytes"
    )
    RESTART: ClassVar = names("")

    enabled: bool = field(default=False, metadata=switch("Send records."))
    url: str | None = field(
        default=None,
        metadata=address(
            "Address of the receiver; default port 601 (`tcp`) or 6514 (`tls`). Required.", "tcp", "tls"
        ),
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust, instead of the system's; `tls://` only."),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Client certificate (PEM), if the receiver requires one; `tls://` only."),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the client certificate (PEM).")
    )
    facility: int = field(
        default=13,
        metadata=whole(
            "code", 0, 23, "Facility (RFC 5424 §6.2.1). 13: log audit; 10: authpriv; 16 to 23: local0 to 7."
        ),
    )
    app_name: str = field(default="hospproxy", metadata=word(48, "APP-NAME of every message."))
    hostname: str | None = field(
        default=None, metadata=word(255, "HOSTNAME of every message. Default: this machine's name.")
    )
    enterprise_number: int = field(
        default=32473,
        metadata=whole(
            "number",
            1,
            2**31 - 1,
            "Your organisation's private enterprise number, for the name of the structured data,"
            " `hospproxy@…`. 32473 is reserved for documentation (RFC 5612).",
        ),
    )
    bom: bool = field(
        default=True,
        metadata=switch(
            "Put a byte order mark before the JSON, as RFC 5424 §6.4 requires. Some receivers cannot read"
            " JSON after one."
        ),
    )
    timeout_s: float = field(
        default=10.0,
        metadata=number(
            "seconds",
            0.1,
            600,
            "Timeout for connecting, then for each step: the receiver must read something within it, and"
            " confirm the end within it.",
        ),
    )
    max_message_bytes: int = field(
        default=8192,
        metadata=whole(
            "bytes",
            1024,
            1 << 20,
            "Longer messages are cut and marked as cut. Set it no higher than the receiver's own limit.",
        ),
    )
    overlap_s: float = field(
        default=30.0,
        metadata=number(
            "seconds",
            0,
            3600,
            "Records that a receiver confirmed within this time before it went away are sent again.",
        ),
    )
    overlap_bytes: int = field(
        default=4 << 20,
        metadata=whole("bytes", 0, 1 << 28, "Most memory for the records kept for `overlap_s`."),
    )

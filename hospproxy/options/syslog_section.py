"""The section [audit_syslog]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from .fields import address, number, path, switch, whole, word


@frozen(slots=True, kw_only=True)
class SyslogSettings:
    """The trail to a syslog receiver (RFC 5424)."""

    enabled: bool = field(default=False, metadata=switch("Whether records are sent there."))
    url: str | None = field(
        default=None,
        metadata=address("Where the receiver is; without a port 601 or 6514. Required.", "tcp", "tls"),
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificates (PEM) to trust instead of the system's; `tls://` only."),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Our own certificate (PEM), for a receiver that asks for one; `tls://` only."),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Its private key (PEM).")
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
            "Of the structured data's name, `hospproxy@…`: your organisation's private enterprise number. 32473 is"
            " the one for documentation (RFC 5612).",
        ),
    )
    bom: bool = field(
        default=True,
        metadata=switch(
            "Whether a byte order mark stands before the JSON, as RFC 5424 §6.4 wants it; some receivers cannot read"
            " JSON behind one."
        ),
    )
    timeout_s: float = field(
        default=10.0,
        metadata=number(
            "seconds",
            0.1,
            600,
            "For the connection, and then for each step: something must be taken in this time, and the end confirmed.",
        ),
    )
    max_message_bytes: int = field(
        default=8192,
        metadata=whole(
            "bytes", 1024, 1 << 20, "Longer messages are cut, and say so. No more than the receiver takes."
        ),
    )
    overlap_s: float = field(
        default=30.0,
        metadata=number(
            "seconds", 0, 3600, "What a receiver has confirmed so shortly before it went away is sent again."
        ),
    )
    overlap_bytes: int = field(
        default=4 << 20, metadata=whole("bytes", 0, 1 << 28, "The most that is kept in memory for that.")
    )

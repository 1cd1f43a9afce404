"""The section [arrival]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import names, number, whole

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class ArrivalSettings:
    """Limits on client connections, requests and responses."""

    LIVE: ClassVar = names(
        "max_head_bytes max_fields max_target_bytes header_timeout_s body_timeout_s min_body_rate "
        "write_timeout_s min_taken_bytes keep_alive_s linger_s body_memory_bytes unknown_body_bytes "
        "max_connections max_connections_per_address max_pipelined handshake_timeout_s max_handshakes "
        "max_handshakes_per_address handshake_rate_per_address"
    )
    RESTART: ClassVar = names("certificate_check_s")

    max_head_bytes: int = field(
        default=16 * KiB,
        metadata=whole(
            "bytes", KiB, MiB, "Longest request head (request line and header fields); beyond it 431."
        ),
    )
    max_fields: int = field(
        default=100, metadata=whole("fields", 8, 1000, "Most header fields in a request; beyond it 431.")
    )
    max_target_bytes: int = field(
        default=8 * KiB, metadata=whole("bytes", 256, 64 * KiB, "Longest path and query; beyond it 414.")
    )
    header_timeout_s: float = field(
        default=10.0,
        metadata=number(
            "seconds", 0.1, 3600, "Timeout from the first byte to the end of the request head; then 408."
        ),
    )
    body_timeout_s: float = field(
        default=60.0,
        metadata=number(
            "seconds", 0.1, 3600, "Timeout from the end of the head to the end of the body; then 408."
        ),
    )
    min_body_rate: int = field(
        default=256,
        metadata=whole(
            "bytes a second",
            0,
            MiB,
            "Slowest average rate of a request body, measured after 10 s; below it 408. 0: no limit.",
        ),
    )
    write_timeout_s: float = field(
        default=60.0,
        metadata=number(
            "seconds", 0.1, 3600, "How long a client may take to read each `min_taken_bytes` of its response."
        ),
    )
    min_taken_bytes: int = field(
        default=64 * KiB,
        metadata=whole(
            "bytes",
            8 * KiB,
            16 * MiB,
            "Part of a response that a client must read within each `write_timeout_s`.",
        ),
    )
    keep_alive_s: float = field(
        default=75.0,
        metadata=number(
            "seconds",
            0,
            3600,
            "How long an idle client connection stays open. Keep it above a load balancer's usual 60 s.",
        ),
    )
    linger_s: float = field(
        default=2.0,
        metadata=number(
            "seconds",
            0,
            60,
            "How long the proxy keeps reading after a final response, so that the client sees it before"
            " the close.",
        ),
    )
    body_memory_bytes: int = field(
        default=256 * MiB,
        metadata=whole(
            "bytes",
            MiB,
            64 * GiB,
            "Memory for incoming requests and unread responses of all clients; beyond it 503, and the"
            " slowest clients are closed.",
        ),
    )
    unknown_body_bytes: int = field(
        default=64 * KiB,
        metadata=whole(
            "bytes",
            KiB,
            16 * MiB,
            "A longer body is read only after HOSP has accepted the sender's credentials.",
        ),
    )
    max_connections: int = field(
        default=10000,
        metadata=whole(
            "connections", 1, 1_000_000, "Most open client connections; further ones are closed at once."
        ),
    )
    max_connections_per_address: int = field(
        default=2000,
        metadata=whole(
            "connections",
            1,
            1_000_000,
            "Most open connections from one address (IPv6: one /64). `trusted_proxies` are exempt.",
        ),
    )
    max_pipelined: int = field(
        default=100,
        metadata=whole(
            "requests",
            1,
            10_000,
            "Requests in a row that a client may send without waiting for responses; then the connection"
            " closes.",
        ),
    )
    handshake_timeout_s: float = field(
        default=10.0,
        metadata=number("seconds", 0.1, 3600, "Timeout for a TLS handshake; then the connection is closed."),
    )
    max_handshakes: int = field(
        default=2000,
        metadata=whole(
            "handshakes", 1, 1_000_000, "Most TLS handshakes in progress; further connections are closed."
        ),
    )
    max_handshakes_per_address: int = field(
        default=500,
        metadata=whole(
            "handshakes",
            1,
            1_000_000,
            "Most TLS handshakes in progress from one address (IPv6: one /64). `trusted_proxies` are exempt.",
        ),
    )
    handshake_rate_per_address: int = field(
        default=500,
        metadata=whole(
            "handshakes a second",
            1,
            1_000_000,
            "Most TLS handshakes started by one address; further connections are closed."
            " `trusted_proxies` are exempt.",
        ),
    )
    certificate_check_s: float = field(
        default=5.0,
        metadata=number("seconds", 0.1, 3600, "How often certificate files are checked for changes."),
    )

"""The section [arrival]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import number, whole

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class ArrivalSettings:
    """Limits on what clients send."""

    max_head_bytes: int = field(
        default=16 * KiB, metadata=whole("bytes", KiB, MiB, "Request line and header fields; beyond it 431.")
    )
    max_fields: int = field(default=100, metadata=whole("fields", 8, 1000, "Header fields; beyond it 431."))
    max_target_bytes: int = field(
        default=8 * KiB, metadata=whole("bytes", 256, 64 * KiB, "Path and query; beyond it 414.")
    )
    header_timeout_s: float = field(
        default=10.0,
        metadata=number("seconds", 0.1, 3600, "From the first byte to the end of the head; then 408."),
    )
    body_timeout_s: float = field(
        default=60.0, metadata=number("seconds", 0.1, 3600, "From the head to the end of the body; then 408.")
    )
    min_body_rate: int = field(
        default=256,
        metadata=whole(
            "bytes a second", 0, MiB, "How fast a body must come on average, after 10 s; then 408. 0: any."
        ),
    )
    write_timeout_s: float = field(
        default=60.0,
        metadata=number(
            "seconds", 0.1, 3600, "How long a client may take over each `min_taken_bytes` of its answer."
        ),
    )
    min_taken_bytes: int = field(
        default=64 * KiB,
        metadata=whole("bytes", 8 * KiB, 16 * MiB, "What must be taken within `write_timeout_s`, each time."),
    )
    keep_alive_s: float = field(
        default=75.0,
        metadata=number(
            "seconds", 0, 3600, "How long an idle connection is kept; longer than a balancer's 60 s."
        ),
    )
    linger_s: float = field(
        default=2.0,
        metadata=number("seconds", 0, 60, "How long a refused request is read on before the close."),
    )
    body_memory_bytes: int = field(
        default=256 * MiB,
        metadata=whole(
            "bytes", MiB, 64 * GiB, "Memory for all requests that come and answers that wait; then 503."
        ),
    )
    unknown_body_bytes: int = field(
        default=64 * KiB,
        metadata=whole(
            "bytes",
            KiB,
            16 * MiB,
            "A longer body is read only once it is known who sends it, by HOSP's own word.",
        ),
    )
    max_connections: int = field(
        default=10000, metadata=whole("connections", 1, 1_000_000, "Open client connections at one time.")
    )
    max_connections_per_address: int = field(
        default=2000,
        metadata=whole("connections", 1, 1_000_000, "The same of one address; `trusted_proxies` are exempt."),
    )
    max_pipelined: int = field(
        default=100,
        metadata=whole(
            "requests", 1, 10_000, "Requests in a row that do not wait for answers; then it closes."
        ),
    )
    handshake_timeout_s: float = field(
        default=10.0,
        metadata=number(
            "seconds", 0.1, 3600, "How long a TLS handshake may take; then the connection is closed."
        ),
    )
    max_handshakes: int = field(
        default=2000,
        metadata=whole(
            "handshakes", 1, 1_000_000, "TLS handshakes at one time; beyond it connections are closed."
        ),
    )
    max_handshakes_per_address: int = field(
        default=500,
        metadata=whole(
            "handshakes",
            1,
            1_000_000,
            "The same of one address (IPv6: one /64). `trusted_proxies` are exempt.",
        ),
    )
    handshake_rate_per_address: int = field(
        default=500,
        metadata=whole(
            "handshakes a second",
            1,
            1_000_000,
            "Begun by one address; beyond it closed. `trusted_proxies` are exempt.",
        ),
    )
    certificate_check_s: float = field(
        default=5.0,
        metadata=number(
            "seconds", 0.1, 3600, "How often the files of certificates are looked at for new ones."
        ),
    )

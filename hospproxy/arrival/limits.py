"""How much one client may send, and for how long it may take over it."""

from __future__ import annotations

from attrs import frozen


@frozen(slots=True, kw_only=True)
class ArrivalLimits:
    """Bounds on what arrives. Clocks are absolute: a byte now and then does not wind them up again.

    :param max_head_bytes: request line and header fields together; beyond it 431.
    :param max_fields: header fields; beyond it 431.
    :param max_target_bytes: path and query; beyond it 414.
    :param header_timeout_s: from the first byte of a request to the end of its head; then 408.
    :param body_timeout_s: from the end of the head to the end of the body; then 408.
    :param write_timeout_s: for a client to take an answer that does not fit the buffers; then it is cut off.
    :param keep_alive_s: between two requests; longer than a balancer's usual 60 s, or its users get 502s.
    :param linger_s: for a client to notice that no more is read, before its connection is closed.
    :param body_memory_bytes: for all bodies in the process together; beyond it 503.
    :param max_connections: open at one time; further ones are closed at once.
    :param handshake_timeout_s: from the opening of a connection to the end of its TLS handshake; then it is closed.
    :param max_handshakes: under way at one time, over all addresses; further connections are closed at once.
    :param max_handshakes_per_address: the same of one address (of IPv6, one network of 64 bits).
    :param handshake_rate_per_address: begun in a second by one address.
    :param certificate_check_s: how often files of certificates are looked at, in seconds.
    :param max_pipelined_bytes: read ahead on one connection while its request is being answered.
    """

    max_head_bytes: int = 16 * 1024
    max_fields: int = 100
    max_target_bytes: int = 8 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    keep_alive_s: float = 75.0
    linger_s: float = 2.0
    body_memory_bytes: int = 256 * 1024 * 1024
    max_connections: int = 10_000
    handshake_timeout_s: float = 10.0
    max_handshakes: int = 2000
    max_handshakes_per_address: int = 500
    handshake_rate_per_address: int = 500
    certificate_check_s: float = 5.0
    max_pipelined_bytes: int = 16 * 1024

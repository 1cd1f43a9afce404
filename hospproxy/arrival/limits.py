"""How much one client may send, and for how long it may take over it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

RATE_AFTER_S: Final = 10.0
"""Seconds before the rate of a body is judged: a phone that changes cells is silent for a while."""


@frozen(slots=True, kw_only=True)
class ArrivalLimits:
    """Bounds on what arrives. Clocks are absolute: a byte now and then does not wind them up again.

    :param max_head_bytes: request line and header fields together; beyond it 431.
    :param max_fields: header fields; beyond it 431.
    :param max_target_bytes: path and query; beyond it 414.
    :param header_timeout_s: from the first byte of a request to the end of its head; then 408.
    :param body_timeout_s: from the end of the head to the end of the body; then 408.
    :param min_body_rate: bytes a second that a body must come with on average, after RATE_AFTER_S; then 408.
    :param write_timeout_s: for a client to take ``min_taken_bytes`` of an answer that does not fit the buffers, or
        what is left of it; then it is cut off.
    :param min_taken_bytes: so many at a time are handed to the system.
    :param keep_alive_s: between two requests; longer than a balancer's usual 60 s, or its users get 502s.
    :param linger_s: for a client to notice that no more is read, before its connection is closed.
    :param body_memory_bytes: for what clients have sent and answers that they have not taken, in the process together;
        beyond it 503, and the slowest are sent away.
    :param max_connections: open at one time; further ones are closed at once.
    :param max_connections_per_address: the same of one address (of IPv6, one network of 64 bits); proxies in front are
        exempt.
    :param max_pipelined: requests that a client sends one after the other without waiting for answers; the connection
        is closed with the answer to the last of them.
    :param handshake_timeout_s: from the opening of a connection to the end of its TLS handshake; then it is closed.
    :param max_handshakes: under way at one time, over all addresses; further connections are closed at once.
    :param max_handshakes_per_address: the same of one address (of IPv6, one network of 64 bits).
    :param handshake_rate_per_address: begun in a second by one address.
    :param certificate_check_s: how often files of certificates are looked at, in seconds.
    :param unknown_body_bytes: a longer body, and one whose client waits for a 100 (Continue), is read only when the
        handler asks for it. 0: every body is read before its request is handed on.
    :param max_pipelined_bytes: read ahead on one connection while its request is being answered.
    """

    max_head_bytes: int = 16 * 1024
    max_fields: int = 100
    max_target_bytes: int = 8 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    min_body_rate: int = 256
    write_timeout_s: float = 60.0
    min_taken_bytes: int = 64 * 1024
    keep_alive_s: float = 75.0
    linger_s: float = 2.0
    body_memory_bytes: int = 256 * 1024 * 1024
    max_connections: int = 10_000
    max_connections_per_address: int = 2000
    max_pipelined: int = 100
    handshake_timeout_s: float = 10.0
    max_handshakes: int = 2000
    max_handshakes_per_address: int = 500
    handshake_rate_per_address: int = 500
    certificate_check_s: float = 5.0
    unknown_body_bytes: int = 0
    max_pipelined_bytes: int = 16 * 1024

    def body_time(self, size: int) -> tuple[float, str]:
        """Seconds from the end of the head at which a body is late, and the limit that says so.

        :param size: bytes of content that have come.
        """
        by_rate = RATE_AFTER_S + size / self.min_body_rate if self.min_body_rate else float("inf")
        if by_rate < self.body_timeout_s:
            return by_rate, "min_body_rate"
        return self.body_timeout_s, "body_timeout_s"

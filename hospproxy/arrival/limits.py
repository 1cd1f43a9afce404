"""How much one client may send, and how long it may take."""

from __future__ import annotations

from typing import Final

from attrs import frozen

RATE_AFTER_S: Final = 10.0
"""Seconds before a body's rate is judged: a phone that changes cells is silent for a while."""


@frozen(slots=True, kw_only=True)
class ArrivalLimits:
    """Limits on connections, requests and the reading of responses.

    Deadlines are absolute: a byte now and then does not extend them.

    :param max_head_bytes: request line and header fields together; above it 431.
    :param max_fields: header fields; above it 431.
    :param max_target_bytes: path and query; above it 414.
    :param header_timeout_s: from the first byte of a request to the end of its head; then 408.
    :param body_timeout_s: from the end of the head to the end of the body; then 408.
    :param min_body_rate: bytes a second that a body must reach on average, after RATE_AFTER_S; below it 408.
    :param write_timeout_s: for a client to read ``min_taken_bytes`` of a response that does not fit the buffers, or
        the rest of it; then the connection is aborted.
    :param min_taken_bytes: size of the pieces in which a response is handed to the transport.
    :param keep_alive_s: idle time between two requests. Longer than a load balancer's usual 60 s, or its users get
        502s.
    :param linger_s: for a client to notice that we read no more, before its connection is closed.
    :param body_memory_bytes: request data and unread response data of all clients of the process together; above it
        503, and the slowest clients are disconnected.
    :param max_connections: open at one time; further ones are closed at once.
    :param max_connections_per_address: the same per address (for IPv6, per /64 network); trusted proxies are exempt.
    :param max_pipelined: requests that a client may send in a row without waiting for responses; the connection
        closes with the response to the last of them.
    :param handshake_timeout_s: from the opening of a connection to the end of its TLS handshake; then it is closed.
    :param max_handshakes: in progress at one time, over all addresses; further connections are closed at once.
    :param max_handshakes_per_address: the same per address (for IPv6, per /64 network).
    :param handshake_rate_per_address: handshakes that one address may begin in a second.
    :param certificate_check_s: seconds between two checks of the certificate files.
    :param unknown_body_bytes: a larger body, and one whose client waits for a 100 (Continue), is read only when a
        processor asks for it. 0: every body is read before its request is handed on.
    :param max_pipelined_bytes: read ahead on one connection while its request is in flight.
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
        """Return when a body is late, in seconds from the end of the head, and the limit that sets this time.

        :param size: bytes of content received so far.
        """
        by_rate = RATE_AFTER_S + size / self.min_body_rate if self.min_body_rate else float("inf")
        if by_rate < self.body_timeout_s:
            return by_rate, "min_body_rate"
        return self.body_timeout_s, "body_timeout_s"

"""Checks the bytes of a response before Twisted's HTTP client reads them: bounded, strict, without I/O."""

from __future__ import annotations

from ..errors import BadAnswer
from .head import ResponseHead, bare_line_feed, not_http, parse_head

_END = b"\r\n\r\n"


class AnswerFilter:
    """Takes the bytes of one response and returns what the HTTP client may read.

    A body that ends with the connection is passed on as chunked, with the last chunk only if the close was clean.
    Otherwise the client could not tell a complete body from a truncated one (RFC 9112 §8).

    :param max_header_bytes: maximum bytes of the head, including interim responses before it.
    :param max_body_bytes: a body that announces more is refused at once.
    """

    def __init__(self, max_header_bytes: int, max_body_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._interim = 0
        self._body_bytes = 0
        self._tail = b""
        self.head: ResponseHead | None = None

    def feed(self, data: bytes) -> bytes:
        """Feed received bytes; returns what the HTTP client gets.

        :raise ProxyError: this response may not be used.
        """
        if self.head is not None:
            return self._body(self.head, data)
        self._buffer += data
        head = self._read_head()
        while head is not None and head.status < 200:
            if head.status == 101:  # the proxy never asks for an upgrade
                raise not_http()
            head = self._read_head()
        if head is None:
            return b""
        if head.length is not None and head.length > self._max_body_bytes:
            raise too_large(head.status)
        self.head = head
        return head.wire() + self._body(head, bytes(self._buffer))

    def ended(self) -> bytes:
        """The connection was closed cleanly; returns what the HTTP client still has to read."""
        return b"0\r\n\r\n" if self.head is not None and self.head.until_close else b""

    @property
    def overrun(self) -> bool:
        """After the response: whether more bytes came than belong to it. The connection cannot be trusted then."""
        if self.head is None:
            return True
        if self.head.length is not None:
            return self._body_bytes > self.head.length
        return self._tail != _END

    def _read_head(self) -> ResponseHead | None:
        """The next complete head in the buffer, if there is one."""
        if not self._buffer.startswith(b"HTTP/1."[: len(self._buffer)]):
            raise not_http()
        end = self._buffer.find(_END, self._searched)
        # Without this check, a head that ends with LF LF would wait until the deadline.
        bare_line_feed(self._buffer, self._searched, len(self._buffer) if end < 0 else end)
        if self._interim + (len(self._buffer) if end < 0 else end) > self._max_header_bytes:
            raise BadAnswer("The head of the upstream server's response is too large.")
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            return None
        head = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + len(_END)]
        self._interim += end + len(_END)
        self._searched = 0
        return head

    def _body(self, head: ResponseHead, data: bytes) -> bytes:
        if not data:
            return b""
        before = self._body_bytes
        self._body_bytes += len(data)
        if head.length is not None:
            return data[: max(0, head.length - before)]
        if head.chunked:
            self._tail = (self._tail + data)[-len(_END) :]
            return data
        return b"%x\r\n%s\r\n" % (len(data), data)


def too_large(status: int) -> BadAnswer:
    """The error for a body that is longer than the limit."""
    return BadAnswer("The upstream server's response is too large.", head_status=status)

"""Reads the bytes of one response: bounded, strict, without I/O."""

from __future__ import annotations

from ..http.errors import BadAnswer
from .chunks import Chunks
from .head import ResponseHead, bare_line_feed, not_http, parse_head, too_large

_END = b"\r\n\r\n"


class AnswerReader:
    """Takes the bytes of one response until it is complete.

    :param max_header_bytes: maximum bytes of the head, including interim responses before it.
    :param max_body_bytes: longest body; one that announces more is refused at once.
    :ivar head: the head, once it is complete.
    :ivar body: the content, once the response is complete.
    :ivar overrun: whether more bytes came than belong to the response. The connection cannot be trusted then.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_interim",
        "_max_body_bytes",
        "_max_header_bytes",
        "_searched",
        "body",
        "head",
        "overrun",
    )

    def __init__(self, max_header_bytes: int, max_body_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._buffer: bytes | bytearray = b""
        """Of a head that is not complete; of a body, what has arrived so far."""
        self._searched = 0
        self._interim = 0
        self._chunks: Chunks | None = None
        self.head: ResponseHead | None = None
        self.body = b""
        self.overrun = False

    def feed(self, data: bytes) -> bool:
        """Take received bytes; return whether the response is complete.

        :raise ProxyError: this response may not be used.
        """
        head = self.head
        if head is not None:
            return self._read_body(head, data)
        if self._buffer:
            # One growing buffer: a server may send one byte at a time.
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        else:
            self._buffer = data
        head = self._read_head()
        while head is not None and head.status < 200:
            if head.status == 101:  # the proxy never asks for an upgrade
                raise not_http()
            head = self._read_head()
        if head is None:
            return False
        if head.length is not None and head.length > self._max_body_bytes:
            raise too_large(head.status)
        self.head = head
        if head.chunked:
            self._chunks = Chunks(head.status, self._max_body_bytes)
        data, self._buffer = bytes(self._buffer), b""
        return self._read_body(head, data)

    def ended(self) -> bool:
        """The connection was closed cleanly; return whether that completes the response (RFC 9112 §8)."""
        if self.head is None or not self.head.until_close:
            return False
        self.body, self._buffer = bytes(self._buffer), b""
        return True

    def _read_head(self) -> ResponseHead | None:
        """The next complete head in the buffer, if there is one."""
        buffer = self._buffer
        if not buffer.startswith(b"HTTP/1."[: len(buffer)]):
            raise not_http()
        found = buffer.find(_END, self._searched)
        end = len(buffer) if found < 0 else found
        # Without this check, a head that ends with LF LF would wait until the deadline.
        bare_line_feed(buffer, self._searched, end)
        if self._interim + end > self._max_header_bytes:
            raise BadAnswer("The head of the upstream server's response is too large.")
        if found < 0:
            self._searched = max(0, end - len(_END) + 1)
            return None
        head = parse_head(bytes(buffer[:end]))
        self._buffer = buffer[end + len(_END) :]
        self._interim += end + len(_END)
        self._searched = 0
        return head

    def _read_body(self, head: ResponseHead, data: bytes) -> bool:
        if self._chunks is not None:
            if not self._chunks.feed(data):
                return False
            self.body, self.overrun = bytes(self._chunks.content), self._chunks.overrun
            return True
        if not self._buffer:
            self._buffer = data if len(data) == head.length else bytearray(data)
        else:
            self._buffer += data
        size = len(self._buffer)
        if head.length is None:
            if size > self._max_body_bytes:
                self._buffer = b""
                raise too_large(head.status)
            return False
        if size < head.length:
            return False
        self.overrun = size > head.length
        body = self._buffer[: head.length] if self.overrun else self._buffer
        self.body, self._buffer = bytes(body), b""
        return True

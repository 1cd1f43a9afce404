"""Decode the chunked body of a response (RFC 9112 §7.1): bounded, strict, without I/O."""

from __future__ import annotations

import re

from ..http.errors import FailedAfterSending
from .head import incomplete, too_large

MAX_LINE_BYTES = 1024
"""Longest line with a chunk's size and extensions."""

MAX_TRAILER_BYTES = 64 * 1024
"""Longest trailer section. Trailers are dropped: the proxy promises none to its clients."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16}+)[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?")


class Chunks:
    """Takes the bytes of one chunked body and collects its content.

    :param status: of the response, for errors: HOSP has finished.
    :param max_bytes: longest content.
    :ivar content: what has arrived so far.
    :ivar overrun: after the end: whether more bytes came than belong to the body.
    """

    __slots__ = ("_buffer", "_left", "_max_bytes", "_status", "_trailer_bytes", "content", "overrun")

    def __init__(self, status: int, max_bytes: int) -> None:
        self._status = status
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._left: int | None = None
        """Bytes that are missing of a chunk, its line end included; 0: in the trailers; None: before a size."""
        self._trailer_bytes = 0
        self.content = bytearray()
        self.overrun = False

    def feed(self, data: bytes) -> bool:
        """Take more bytes; return whether the body is complete.

        :raise FailedAfterSending: it is not framed as RFC 9112 says, so it may be a part for the whole.
        :raise BadAnswer: the content is too long.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while True:
                if self._left:
                    at = self._take(at)
                    if self._left:
                        return False
                    self._left = None
                line_end = buffer.find(b"\n", at, at + self._longest())
                if line_end < 0:
                    if len(buffer) - at >= self._longest():
                        raise self._malformed()
                    return False
                if line_end == at or buffer[line_end - 1] != 0x0D:
                    raise self._malformed()
                line = bytes(buffer[at : line_end - 1])
                at = line_end + 1
                if self._left is None:
                    self._begin(line)
                elif line:
                    self._trailer_bytes += len(line) + 2
                else:
                    self.overrun = len(buffer) > at
                    return True
        finally:
            del buffer[:at]

    def _longest(self) -> int:
        """Bytes of the longest line that may come now, its end included."""
        return (MAX_LINE_BYTES if self._left is None else MAX_TRAILER_BYTES - self._trailer_bytes) + 2

    def _begin(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise self._malformed()
        size = int(match[1], 16)
        if len(self.content) + size > self._max_bytes:
            self.content.clear()
            raise too_large(self._status)
        self._left = size + 2 if size else 0

    def _take(self, at: int) -> int:
        """Take what has arrived of a chunk; return where it ends in the buffer."""
        assert self._left is not None
        buffer = self._buffer
        found = len(buffer) - at
        content = min(found, max(0, self._left - 2))
        self.content += memoryview(buffer)[at : at + content]
        at, self._left, found = at + content, self._left - content, found - content
        if found and self._left <= 2:
            ending = bytes(buffer[at : at + self._left])
            if not b"\r\n"[2 - self._left :].startswith(ending):
                raise self._malformed()
            at, self._left = at + len(ending), self._left - len(ending)
        return at

    def _malformed(self) -> FailedAfterSending:
        return incomplete(self._status)

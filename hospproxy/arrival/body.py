"""Decode a request body and count it while it arrives (RFC 9112 §6, §7).

Each decoder removes the bytes of its body from the front of the buffer. The rest is the next request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

from ..http.errors import Refused
from .fields import Framing

MAX_CHUNK_LINE_BYTES: Final = 256
"""Longest line with a chunk's size and extensions."""

MAX_CHUNK_OVERHEAD_BYTES: Final = 64 * 1024
"""Allowance for chunk sizes, extensions and line ends, on top of one byte per byte of content.

It stops a flood of tiny chunks.
"""

MAX_TRAILER_BYTES: Final = 8 * 1024

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
# Possessive quantifiers throughout, and lines of bounded length: no input can make these backtrack.
_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,8}+)(?:[ \t]*+;[ \t]*+" + _TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+"
)  # fmt: skip
_TRAILER_LINE: Final = re.compile(_TOKEN + rb":[\t \x21-\x7e\x80-\xff]*+")


class BodyDecoder(Protocol):
    """Decodes one body while it arrives."""

    @property
    def size(self) -> int:
        """Bytes of content held so far."""

    def feed(self, buffer: bytearray) -> bool:
        """Remove bytes of the body from the front of the buffer; return True once the body is complete.

        :raise Refused: 400 malformed, 413 too large.
        """

    def content(self) -> bytearray:
        """Return the content once it is complete. Do not use the decoder afterwards."""


def too_large(limit: int) -> Refused:
    """The 413 for a body larger than ``limit`` bytes."""
    return Refused(f"The body is larger than the limit of {limit} bytes.", status=413)


class LengthDecoder:
    """Decodes a body with Content-Length (RFC 9112 §6.2).

    :param length: bytes of content.
    """

    __slots__ = ("_held", "_length")

    def __init__(self, length: int) -> None:
        self._length = length
        self._held = bytearray()

    @property
    def size(self) -> int:
        return len(self._held)

    def feed(self, buffer: bytearray) -> bool:
        missing = self._length - len(self._held)
        self._held += buffer[:missing]
        del buffer[:missing]
        return len(self._held) == self._length

    def content(self) -> bytearray:
        return self._held


class ChunkedDecoder:
    """Decodes a chunked body (RFC 9112 §7.1). Extensions and trailers are checked, then dropped.

    :param limit: maximum bytes of content.
    """

    __slots__ = ("_held", "_left", "_limit", "_overhead", "_step", "_trailer_bytes")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._left = 0
        self._overhead = 0
        self._trailer_bytes = 0
        self._step: Callable[[bytearray], bool] | None = self._read_size

    @property
    def size(self) -> int:
        return len(self._held)

    def feed(self, buffer: bytearray) -> bool:
        while self._step is not None and self._step(buffer):
            pass
        return self._step is None

    def content(self) -> bytearray:
        return self._held

    def _read_size(self, buffer: bytearray) -> bool:
        line = _take_line(buffer, MAX_CHUNK_LINE_BYTES)
        if line is None:
            return False
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise Refused("A chunk does not begin with its size.")
        self._count_overhead(len(line) + 4)
        self._left = int(match[1], 16)
        if self._left + len(self._held) > self._limit:
            raise too_large(self._limit)
        self._step = self._read_data if self._left else self._read_trailer
        return True

    def _read_data(self, buffer: bytearray) -> bool:
        if not buffer:
            return False
        piece = buffer[: self._left]
        self._held += piece
        del buffer[: len(piece)]
        self._left -= len(piece)
        if self._left == 0:
            self._step = self._read_data_end
        return True

    def _read_data_end(self, buffer: bytearray) -> bool:
        if not b"\r\n".startswith(buffer[:2]):
            raise Refused("A chunk does not end where its size says.")
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._step = self._read_size
        return True

    def _read_trailer(self, buffer: bytearray) -> bool:
        line = _take_line(buffer, MAX_TRAILER_BYTES)
        if line is None:
            return False
        if line == b"":
            self._step = None
            return False
        if _TRAILER_LINE.fullmatch(line) is None:
            raise Refused("The trailer section is malformed.")
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise Refused("The trailer section is too large.", status=431)
        return True

    def _count_overhead(self, count: int) -> None:
        """Refuse a client that makes us work without sending content.

        Checked at each chunk, so the result does not depend on how the bytes are split into reads.
        """
        self._overhead += count
        if self._overhead > MAX_CHUNK_OVERHEAD_BYTES + len(self._held):
            raise Refused("The chunks of the body are too small.")


def _take_line(buffer: bytearray, longest: int) -> bytes | None:
    """Remove one line from the front of the buffer; return None if its end has not arrived.

    :raise Refused: 400, the line is longer than ``longest`` bytes or ends without a carriage return.
    """
    end = buffer.find(b"\n", 0, longest + 2)
    if end < 0:
        if len(buffer) >= longest + 2:
            raise Refused("A line in the body is too long.")
        return None
    if end == 0 or buffer[end - 1] != 0x0D:
        raise Refused("A line in the body ends without a carriage return.")
    line = bytes(buffer[: end - 1])
    del buffer[: end + 1]
    return line


def decoder_for(framing: Framing, limit: int) -> BodyDecoder | None:
    """Return the decoder for a request's body; None if it has no body.

    :param limit: maximum bytes of content.
    :raise Refused: 413, Content-Length is already larger than ``limit``.
    """
    if framing.chunked:
        return ChunkedDecoder(limit)
    if framing.length is None:
        return None
    if framing.length > limit:
        raise too_large(limit)
    return LengthDecoder(framing.length)

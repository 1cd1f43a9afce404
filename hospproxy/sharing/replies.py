"""Parses the replies of Redis (RESP, version 2); strict and bounded.

txredisapi's own parser waits for ever on some invalid input, raises on other, buffers as much as the peer announces,
and needs a turn of the reactor for each value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MiB = 1024 * 1024
MOST_BYTES = 64 * MiB
"""Most bytes of one reply."""
MOST_LINE = 16 * 1024
"""Most bytes of a status, an error or a number."""
MOST_VALUES = 1024 * 1024
"""Most values of one reply, nested ones included: an empty list takes four bytes on the wire and 64 in memory."""
MOST_DEPTH = 16
"""Most lists within lists."""
_KINDS = b"+-:$*"
_NUMBER = re.compile(rb"-?[0-9]{1,19}")
_CODE = re.compile(rb"[A-Z][A-Z0-9]{1,19}(?=\s|$)")


class InvalidReply(Exception):
    """The input is no valid reply, so the start of the next one is unknown. The text holds nothing of the input."""


class ErrorReply(Exception):
    """A reply that is an error: Redis refused the command.

    :param code: the first word of the error ("OOM"); never more, since the rest may repeat the command.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ReplyParser:
    """Incremental parser: bytes in, replies out (bytes, int, None, a list of these, or an ErrorReply)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._taken = 0  # bytes of the current reply so far
        self._values = 0  # values that the lists of the current reply announce
        self._lists: list[tuple[list[Any], int]] = []
        self._bulk: int | None = None

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield each reply that is now complete. Exhaust the iterator before the next call.

        :raise InvalidReply: a reply is invalid or too long. Feed nothing after that.
        """
        self._buffer += data
        try:
            while (found := self._next()) is not _NOT_YET:
                yield found
        finally:
            del self._buffer[: self._at]
            self._at = 0

    def _next(self) -> Any:
        """Parse one complete reply, or return _NOT_YET."""
        while (value := self._value()) is not _NOT_YET:
            if value is _OPENED:
                continue
            if self._lists and isinstance(value, ErrorReply):
                raise InvalidReply("an error within a list")
            whole = self._put(value)
            if whole is not _OPENED:
                self._taken = self._values = 0
                return whole
        return _NOT_YET

    def _put(self, value: Any) -> Any:
        """Append a value to the innermost open list. Return the reply if that completes it, else _OPENED."""
        while self._lists:
            values, missing = self._lists[-1]
            values.append(value)
            if missing > 1:
                self._lists[-1] = (values, missing - 1)
                return _OPENED
            self._lists.pop()
            value = values
        return value

    def _value(self) -> Any:
        """Parse one value; _OPENED at the start of a list or a bulk string, _NOT_YET if bytes are missing."""
        if self._bulk is not None:
            return self._bulk_value(self._bulk)
        line = self._line()
        if line is None:
            return _NOT_YET
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            code = _CODE.match(rest)
            return ErrorReply(code.group().decode("ascii") if code else "ERR")
        number = self._number(rest)
        if kind == b":":
            return number
        if number == -1:
            return None
        if number < 0:
            raise InvalidReply("a negative length")
        return self._begin_bulk(number) if kind == b"$" else self._begin_list(number)

    def _begin_bulk(self, length: int) -> Any:
        if self._taken + length > MOST_BYTES:
            raise InvalidReply("a reply that is too long")
        self._bulk = length
        return _OPENED

    def _begin_list(self, length: int) -> Any:
        self._values += length
        if self._values > MOST_VALUES:
            raise InvalidReply("a reply that is too long")
        if len(self._lists) >= MOST_DEPTH:
            raise InvalidReply("lists within too many lists")
        if length == 0:
            return []
        self._lists.append(([], length))
        return _OPENED

    def _bulk_value(self, length: int) -> Any:
        end = self._at + length
        if len(self._buffer) < end + 2:
            return _NOT_YET
        if self._buffer[end : end + 2] != b"\r\n":
            raise InvalidReply("a value that does not end where it should")
        value = bytes(self._buffer[self._at : end])
        self._move(end + 2)
        self._bulk = None
        return value

    def _line(self) -> bytes | None:
        buffer, at = self._buffer, self._at
        if at >= len(buffer):
            return None
        if buffer[at] not in _KINDS:
            raise InvalidReply("no reply begins so")
        end = buffer.find(b"\r\n", at, at + MOST_LINE)
        if end < 0:
            if len(buffer) - at >= MOST_LINE:
                raise InvalidReply("a line that is too long")
            return None
        line = bytes(buffer[at:end])
        self._move(end + 2)
        return line

    def _move(self, to: int) -> None:
        self._taken += to - self._at
        self._at = to
        if self._taken > MOST_BYTES:
            raise InvalidReply("a reply that is too long")

    @staticmethod
    def _number(text: bytes) -> int:
        if _NUMBER.fullmatch(text) is None:
            raise InvalidReply("a number that is none")
        return int(text)


_NOT_YET: Any = object()
_OPENED: Any = object()

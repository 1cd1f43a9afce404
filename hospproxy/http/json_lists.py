"""Split a long JSON list into shorter lists, so that it is parsed a little at a time. Pure.

A list may be cut at any comma between two of its elements: if each piece is a valid JSON list that is not empty, the
whole is the list of all their elements, because JSON has one reading. So parsing a piece shows whether its cut was
right, and finding a cut may be fast and imprecise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Final

import msgspec

PIECE_BYTES: Final = 16 * 1024
"""Approximate size of a piece."""

MOST_ELEMENT_VALUES: Final = 20_000
"""Maximum values in one element that is longer than a piece."""

MOST_ELEMENT_BYTES: Final = 1 << 20
"""Longest element in bytes."""

_MOST_DEPTH = 500
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[\[{](?:[^"\[\]{}]++|' + _TEXT + rb")*+[\]}]"
# As many elements as possible, each with its comma. Lists and objects match only if they contain no other one.
_ELEMENTS = re.compile(rb"(?:(?:" + _FLAT + rb"|" + _TEXT + rb'|[^"\[\]{},]++)++,)*+', re.DOTALL)
_STEERING = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OPEN_LIST = re.compile(rb"[ \t\r\n]*+\[")
_SPACE = b" \t\r\n"


class NotAList(ValueError):
    """The body is not a JSON list, or has an element that is too large."""


Read = Callable[[bytes], bool]
"""Parses a piece; returns False if it is not a JSON list or is empty."""


def is_list(body: bytes) -> bool:
    """Whether a body begins like a list."""
    return _OPEN_LIST.match(body, 0, PIECE_BYTES) is not None


def in_pieces(body: bytes, read: Read) -> Generator[None, None, list[int]]:
    """Parse a list piece by piece; yields after each piece.

    :param read: parses each piece. A piece that was cut in the wrong place is rejected by it, and cut again.
    :return: start and end positions of the pieces, for ``pieces_at``; between two pieces is one comma.
    :raise NotAList: the body is not a list, or not a usable one.
    """
    opened = _OPEN_LIST.match(body, 0, PIECE_BYTES)
    if opened is None:
        raise NotAList
    at = opened.end()
    cuts: list[int] = []
    while True:
        if len(body) - at <= 2 * PIECE_BYTES:
            end = body.rfind(b"]")
            empty = not cuts and not body[at:end].strip(_SPACE)
            if end < at or body[end + 1 :].strip(_SPACE) or not (empty or read(b"[%b]" % body[at:end])):
                raise NotAList
            return [*cuts, at, end]
        end = body.find(b"},", at + PIECE_BYTES, at + 2 * PIECE_BYTES) + 1
        if not end or not read(b"[%b]" % body[at:end]):
            end = yield from _end_of_elements(body, at)
            if not read(b"[%b]" % body[at:end]):
                raise NotAList
        if body[end : end + 1] == b"]":
            if len(body) - end > PIECE_BYTES or body[end + 1 :].strip(_SPACE):
                raise NotAList
            return [*cuts, at, end]
        cuts += (at, end)
        at = end + 1
        yield


def pieces_at(body: bytes, cuts: list[int]) -> Generator[bytes, None, None]:
    """Yield the pieces of a list that ``in_pieces`` has accepted."""
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        yield b"[%b]" % body[start:end]


def _end_of_elements(body: bytes, at: int) -> Generator[None, None, int]:
    """Return where some elements end, or one long element: at a comma or the end of the list."""
    found = _ELEMENTS.match(body, at, at + PIECE_BYTES)
    if found is not None and found.end() > at:
        return found.end() - 1
    return (yield from _element(body, at))


def _element(body: bytes, at: int) -> Generator[None, None, int]:
    """Return where one long element ends: at its comma or the end of the list."""
    depth = values = 0
    done, most = at, at + MOST_ELEMENT_BYTES
    while at < min(len(body), most):
        found = _STEERING.search(body, at, at + PIECE_BYTES)
        at = min(at + PIECE_BYTES, len(body)) if found is None else found.end()
        sign = b"" if found is None else found[0]
        if sign == b'"':
            at = yield from _end_of_text(body, at)
        elif not depth and sign in (b",", b"]"):
            return at - 1
        elif sign:
            values += 1
            depth += (sign in b"[{") - (sign in b"]}")
        if not 0 <= depth <= _MOST_DEPTH or values > MOST_ELEMENT_VALUES:
            raise NotAList
        if at - done >= PIECE_BYTES:
            done = at
            yield
    raise NotAList


def _end_of_text(body: bytes, at: int) -> Generator[None, None, int]:
    """Return the position after the closing quote of a text.

    :param at: position after its opening quote.
    """
    while True:
        found = _INSIDE.match(body, at, at + PIECE_BYTES)
        end = at if found is None else found.end()
        if body[end : end + 1] == b'"':
            return end + 1
        if end == at:
            raise NotAList
        at = end
        yield


def decoded(piece: bytes) -> list[object] | None:
    """Return the elements of a piece; None if it is not a JSON list."""
    try:
        return msgspec.json.decode(piece, type=list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

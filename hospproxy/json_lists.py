"""A long JSON list in pieces that are lists themselves, so that it is read a little at a time. Pure.

A list may be cut at any comma between two of its elements: when each piece is a JSON list with something in it, the
whole is the list of their elements, since JSON has one reading. So where a cut was right shows when the piece is read,
and finding it may be quick and careless.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Final

import msgspec

PIECE_BYTES: Final = 16 * 1024
"""About so much is read in one slice."""

MOST_ELEMENT_VALUES: Final = 20_000
"""Values of one element that is longer than a piece."""

MOST_ELEMENT_BYTES: Final = 1 << 20
"""The longest element."""

_MOST_DEPTH = 500
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[\[{](?:[^"\[\]{}]++|' + _TEXT + rb")*+[\]}]"
# As many elements as there are, each with its comma; a list or an object with another one in it is none of them.
_ELEMENTS = re.compile(rb"(?:(?:" + _FLAT + rb"|" + _TEXT + rb'|[^"\[\]{},]++)++,)*+', re.DOTALL)
_STEERING = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OPEN_LIST = re.compile(rb"[ \t\r\n]*+\[")
_SPACE = b" \t\r\n"


class NotAList(ValueError):
    """It is no JSON list, or one with an element that is too large to be read."""


Read = Callable[[bytes], bool]
"""Reads a piece; False for one that is no JSON list or has nothing in it."""


def is_list(body: bytes) -> bool:
    """Whether a body begins as a list does."""
    return _OPEN_LIST.match(body, 0, PIECE_BYTES) is not None


def in_pieces(body: bytes, read: Read) -> Generator[None, None, list[int]]:
    """Read a list piece by piece; yields after each.

    :param read: reads each piece. What it is given first may turn out to be cut wrongly, and is then refused by it.
    :return: where the pieces begin and end, for ``pieces_at``; they are apart by the comma between them.
    :raise NotAList: it is none.
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
    """The pieces of a list that ``in_pieces`` has read."""
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        yield b"[%b]" % body[start:end]


def _end_of_elements(body: bytes, at: int) -> Generator[None, None, int]:
    """Where some elements end, or one that is long: at a comma, or at the end of the list."""
    found = _ELEMENTS.match(body, at, at + PIECE_BYTES)
    if found is not None and found.end() > at:
        return found.end() - 1
    return (yield from _element(body, at))


def _element(body: bytes, at: int) -> Generator[None, None, int]:
    """Where one long element ends: at its comma, or at the end of the list."""
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
    """Behind the quote that ends a text.

    :param at: behind the one that begins it.
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
    """What stands in a piece; None for one that is no JSON list."""
    try:
        return msgspec.json.decode(piece, type=list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

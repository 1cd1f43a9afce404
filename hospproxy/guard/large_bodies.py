"""A large body becomes a document in slices, without taking much more memory than it has bytes. Pure.

Three things make JSON costly to read: many small values (a list of a million numbers takes eight times its text, a list
of lists forty times), long texts (one character outside the BMP makes a str four times as long), and the time that one
call takes. So the values are counted before anything is built, the long texts are lifted out and kept as bytes, and
what is left, which is short, is read like any other body.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Final

import msgspec

from ..errors import Refused
from ..long_text import LongText
from ..messages import Json
from .documents import parse

MOST_VALUES: Final = 20_000
"""Values of one body; reading them takes some 10 ms."""

SLICE_BYTES: Final = 32 * 1024
"""Work between two turns."""

LIFTED_BYTES: Final = 256
"""A text beyond this is lifted out."""

MOST_REST_BYTES: Final = 1 << 20
"""What is left of a body when its long texts are lifted out."""

_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# An escape is whole in its piece: a surrogate pair too.
_PIECE = re.compile(
    rb'(?:[^"\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    rb"|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|\\[^u])*+",
    re.DOTALL,
)

Slices = Generator[None, None, None]
Span = tuple[int, int]


def most_values(size: int) -> int:
    """The most values of a body, so that they take no more than four times its bytes.

    :param size: bytes.
    """
    return min(MOST_VALUES, 2000 + size // 32)


def document(body: bytes | bytearray, token: str, most: int | None = None) -> Generator[None, None, Json]:
    """The one JSON value that a large body holds, its long texts as LongText. Yields after each slice.

    :param token: a text that nobody can have put into the body.
    :param most: values that it may have; by its size if that is not given.
    :raise Refused: 400 as documents.parse says; 422 too many values.
    """
    spans = yield from long_texts(body, most_values(len(body)) if most is None else most)
    texts: dict[str, LongText] = {}
    rest: list[bytes | bytearray] = []
    end = size = spent = 0
    for number, span in enumerate(spans):
        name = f"{token}{number}"
        texts[name] = yield from _lifted(body, span)
        rest += (body[end : span[0]], b'"%b"' % name.encode())
        size += span[0] - end
        end = span[1]
        spent += end - span[0]
        if spent >= SLICE_BYTES:
            spent = 0
            yield
    if size + len(body) - end > MOST_REST_BYTES:
        raise Refused("The body has too much besides its long texts.", status=422)
    rest.append(body[end:])
    yield
    parsed = parse(b"".join(rest))
    yield
    try:
        return _with_texts(parsed, texts) if texts else parsed
    except RecursionError:
        raise Refused("The body is nested too deeply.") from None


def long_texts(body: bytes | bytearray, most: int) -> Generator[None, None, list[Span]]:
    """Count the values of a body and find its long texts: from the quote before it to after the one behind.

    :raise Refused: 422 too many values; 400 a text without an end.
    """
    spans: list[Span] = []
    values = texts = at = spent = 0
    while at < len(body):
        stop = min(at + SLICE_BYTES, len(body))
        quote = body.find(b'"', at, stop)
        stop = stop if quote < 0 else quote
        values += body.count(b",", at, stop) + body.count(b"[", at, stop) + body.count(b"{", at, stop)
        spent += stop - at
        at = stop
        if quote >= 0:
            texts += 1
            at = yield from _end_of_text(body, quote)
            # Long ones have paused on their way.
            spent += min(at - quote, SLICE_BYTES) + 64
            if at - quote > LIFTED_BYTES:
                spans.append((quote, at))
        # A key is a text too.
        if values > most or texts > 2 * most:
            raise Refused("The body has too many values.", status=422)
        if spent >= SLICE_BYTES:
            spent = 0
            yield
    return spans


def _end_of_text(body: bytes | bytearray, quote: int) -> Generator[None, None, int]:
    at = quote + 1
    while True:
        stop = min(at + SLICE_BYTES, len(body))
        end = body.find(b'"', at, stop)
        if body.find(b"\\", at, stop if end < 0 else end) >= 0:
            found = _INSIDE.match(body, at, stop)
            stop = at if found is None else found.end()
            end = stop if stop < len(body) and body[stop] == 0x22 else -1
        if end >= 0:
            return end + 1
        if stop == at:
            raise Refused("The body is not valid JSON.")
        at = stop
        yield


def _lifted(body: bytes | bytearray, span: Span) -> Generator[None, None, LongText]:
    """A long text as what msgspec makes of it."""
    start, end = span
    escaped = body.find(b"\\", start, end) >= 0
    written = bytearray(b'"')
    length, at = 0, start + 1
    while at < end - 1:
        stop = min(at + SLICE_BYTES, end - 1)
        if escaped:
            found = _PIECE.match(body, at, stop)
            stop = at if found is None else found.end()
        while at < stop < end - 1 and body[stop] & 0xC0 == 0x80:  # in the middle of a character
            stop -= 1
        if stop == at:
            raise Refused("The body is not valid JSON.")
        piece = _read(bytes(body[at:stop]))
        length += len(piece)
        if escaped:
            written += msgspec.json.encode(piece)[1:-1]
        at = stop
        if at < end - 1:
            yield
    written += b'"'
    # No copy of what needs none: a Raw keeps the body itself.
    return LongText(msgspec.Raw(written if escaped else memoryview(body)[start:end]), length)


def _read(piece: bytes) -> str:
    try:
        return msgspec.json.decode(b'"%b"' % piece, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("The body is not valid JSON.") from None


def _with_texts(value: Json, texts: Mapping[str, LongText]) -> Json:
    """Put the long texts back in their places.

    :raise Refused: 400: one of them is a key, or it lies too deep.
    """
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_with_texts(one, texts) for one in value]
    if not isinstance(value, dict):
        return value
    if not texts.keys().isdisjoint(value):
        raise Refused("The body has a key that is too long.")
    return {name: _with_texts(one, texts) for name, one in value.items()}

"""Parse a large body into a document, in slices, without using much more memory than the body itself. Pure.

JSON is costly to parse for three reasons. Many small values: a list of a million numbers takes eight times its text,
a list of lists forty times. Long texts: one character outside the BMP makes a str four times as long. And one call
takes long. So the values are counted before anything is built, long texts are taken out and kept as bytes, and the
short rest is parsed like any other body.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Final

import msgspec

from ..http.errors import Refused
from ..http.long_text import LongText
from ..http.messages import Json
from .documents import parse

MOST_VALUES: Final = 20_000
"""Maximum values in one body; parsing them takes some 10 ms."""

SLICE_BYTES: Final = 32 * 1024
"""Bytes of work in one slice."""

LIFTED_BYTES: Final = 256
"""A longer text, in bytes, is taken out."""

MOST_REST_BYTES: Final = 1 << 20
"""Maximum bytes of a body without its long texts."""

_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# A piece never splits an escape, not even a surrogate pair.
_PIECE = re.compile(
    rb'(?:[^"\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    rb"|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|\\[^u])*+",
    re.DOTALL,
)

Slices = Generator[None, None, None]
Span = tuple[int, int]


def most_values(size: int) -> int:
    """Return the maximum number of values in a body, so that they use no more than four times its bytes.

    :param size: bytes.
    """
    return min(MOST_VALUES, 2000 + size // 32)


def document(body: bytes | bytearray, token: str, most: int | None = None) -> Generator[None, None, Json]:
    """Parse the one JSON value in a large body; its long texts become LongText. Yields after each slice.

    :param token: a text that nobody can have put into the body.
    :param most: maximum number of values; by default it depends on the size.
    :raise Refused: 400 as documents.parse; 422 too many values.
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
        raise Refused("The body is too large apart from its long texts.", status=422)
    rest.append(body[end:])
    yield
    parsed = parse(b"".join(rest))
    yield
    try:
        return _with_texts(parsed, texts) if texts else parsed
    except RecursionError:
        raise Refused("The body is nested too deeply.") from None


def long_texts(body: bytes | bytearray, most: int) -> Generator[None, None, list[Span]]:
    """Count the values of a body and find its long texts.

    A span runs from the opening quote to just after the closing one.

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
            # Long texts have yielded on their way.
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
    """Return a long text in the form that msgspec would write."""
    start, end = span
    escaped = body.find(b"\\", start, end) >= 0
    written = bytearray(b'"')
    length, at = 0, start + 1
    while at < end - 1:
        stop = min(at + SLICE_BYTES, end - 1)
        if escaped:
            found = _PIECE.match(body, at, stop)
            stop = at if found is None else found.end()
        while at < stop < end - 1 and body[stop] & 0xC0 == 0x80:  # inside a UTF-8 character
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
    # Avoid a copy if there are no escapes: a Raw keeps the body itself.
    return LongText(msgspec.Raw(written if escaped else memoryview(body)[start:end]), length)


def _read(piece: bytes) -> str:
    try:
        return msgspec.json.decode(b'"%b"' % piece, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("The body is not valid JSON.") from None


def _with_texts(value: Json, texts: Mapping[str, LongText]) -> Json:
    """Put the long texts back in place of their tokens.

    :raise Refused: 400: a long text is a key.
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

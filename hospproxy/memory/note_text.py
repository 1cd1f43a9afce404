"""Divides a screening's result into notes: as many as are needed to hold all of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import frozen

from ..contract.contract import NoteShape
from ..http.messages import Json

NOTE_BYTES = 60_000
"""Maximum bytes of a note's body in UTF-8: less than the contract's own schema and a TEXT column of MySQL allow."""
_NUMBERS_BYTES = 64
"""Bytes reserved for "Part 2 of 3" at the top and "-2of3" at the end."""


@frozen(slots=True)
class NoteText:
    """One note of a screening's result.

    :param reference: unique text in the body that identifies the note. No other note's reference contains it.
    """

    reference: str
    title: str
    body: str


def note_texts(shape: NoteShape, answer: Mapping[str, Any], reference: str) -> list[NoteText]:
    """The notes of one screening, in order.

    :param answer: the screening's response.
    :param reference: unique; names the screening, and its note if one is enough.
    """
    text, closing = _text_of(shape, answer), f"\nReference: {reference}"
    if len(text.encode()) + len(closing.encode()) <= NOTE_BYTES:
        return [NoteText(reference, shape.title_text, text + closing)]
    pieces = list(_pieces(text, NOTE_BYTES - len(closing.encode()) - _NUMBERS_BYTES))
    return [_part(shape, reference, number, len(pieces), piece) for number, piece in enumerate(pieces, 1)]


def _part(shape: NoteShape, reference: str, number: int, count: int, piece: str) -> NoteText:
    # "2of3" follows the same text: no part's reference is a prefix or suffix of another's, or of the screening's.
    name, which = f"{reference}-{number}of{count}", f"part {number} of {count}"
    return NoteText(name, f"{shape.title_text} ({which})", f"P{which[1:]}\n{piece}\nReference: {name}")


def _text_of(shape: NoteShape, answer: Mapping[str, Any]) -> str:
    """The result in readable form: overall, then each image with its result."""
    lines = [f"Overall: {_words(answer.get(shape.overall))}"]
    results = answer.get(shape.results)
    if isinstance(results, list):
        lines += [f"Image {number}: {_words(result)}" for number, result in enumerate(results, 1)]
        if not results:
            lines.append("No images.")
    return "\n".join(lines)


def _words(value: Json) -> str:
    if value is None:
        return "no result"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _pieces(text: str, most: int) -> Iterator[str]:
    """Cut a text between lines if possible, otherwise between characters. Line ends at a cut are dropped.

    :param most: maximum bytes of a piece.
    """
    data, begin = text.encode(), 0
    while len(data) - begin > most:
        end = data.rfind(b"\n", begin, begin + most + 1)
        following = end + 1
        if end <= begin:
            end = begin + most
            while data[end] & 0xC0 == 0x80:  # inside a character
                end -= 1
            following = end
        yield data[begin:end].decode()
        begin = following
    yield data[begin:].decode()

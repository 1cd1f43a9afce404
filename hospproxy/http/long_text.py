"""A long text of a large body, kept as the bytes of its JSON: a str may take four times as much memory."""

from __future__ import annotations

import msgspec
from attrs import field, frozen


@frozen(slots=True)
class LongText:
    """Takes the place of a str in a document.

    :param raw: its JSON as ``msgspec.json.encode`` writes it, with the quotes.
    :param length: characters.
    """

    raw: msgspec.Raw = field(repr=False)
    length: int

    def __len__(self) -> int:
        return self.length

    def text(self) -> str:
        """Decode the whole text; it is decoded anew by each call."""
        return msgspec.json.decode(self.raw, type=str)

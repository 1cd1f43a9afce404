"""A long text of a large body, kept as the bytes of its JSON: as a str it may take four times as much."""

from __future__ import annotations

import msgspec
from attrs import field, frozen


@frozen(slots=True)
class LongText:
    """Stands in a document where a str would.

    :param raw: its JSON in the spelling of ``msgspec.json.encode``, with the quotes.
    :param length: characters.
    """

    raw: msgspec.Raw = field(repr=False)
    length: int

    def __len__(self) -> int:
        return self.length

    def text(self) -> str:
        """The text itself."""
        return msgspec.json.decode(self.raw, type=str)

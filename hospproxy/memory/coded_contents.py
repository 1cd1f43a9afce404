"""Keeps compressed content beside the stored response that it was made from, within a bound of its own."""

from __future__ import annotations

import weakref
from collections import OrderedDict

from attrs import frozen

from ..http.messages import Response

OVERHEAD = 300
"""Bytes of memory that an entry takes besides its content."""


@frozen(slots=True, eq=False)
class _Kept:
    source: weakref.ref[Response]
    content: bytes

    @property
    def size(self) -> int:
        return OVERHEAD + len(self.content)


class CodedContents:
    """Content in a coding, for as long as the stored response lives whose content it is.

    The least recently used goes first. Nothing here keeps a stored response alive.

    :param max_bytes: of all of it together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[tuple[int, bytes], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def reload(self, max_bytes: int) -> None:
        """Apply a changed bound: drop what does not fit."""
        self._max_bytes = max_bytes
        self._fit(0)

    def get(self, source: Response, coding: bytes) -> bytes | None:
        """Return the content of a stored response in a coding; b"" if that does not pay, None if it is not kept."""
        key = id(source), coding
        kept = self._kept.get(key)
        if kept is None or kept.source() is not source:
            return None
        self._kept.move_to_end(key)
        return kept.content

    def put(self, source: Response, coding: bytes, content: bytes) -> bool:
        """Keep content in a coding; return whether it fits into the bound.

        :param content: b"": this coding does not pay.
        """
        key = id(source), coding
        self._drop(key)
        # The reference calls back before the id of a dead response can be used again.
        made = _Kept(weakref.ref(source, lambda _gone: self._drop(key)), content)
        if made.size > self._max_bytes:
            return False
        self._fit(made.size)
        self._kept[key] = made
        self.bytes += made.size
        return True

    def _fit(self, size: int) -> None:
        while self.bytes + size > self._max_bytes and self._kept:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[int, bytes]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= kept.size

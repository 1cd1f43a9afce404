"""Reads lines that are alike once: most records differ from an earlier one in time, duration, id and chain only. Pure.

A clinic reads the same lists all day. The courier and the index decode each line; decoding takes longer than to find
that it was decoded before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MOST: Final = 2000
"""Kinds of lines that are remembered; 2 MiB or less."""
_LONGEST: Final = 2000
"""Longest line, in bytes, that is remembered."""

_LINE: Final = re.compile(
    rb'\{"v":1,"kind":"request","time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3})Z",'
    rb'"duration_ms":(?:0|[1-9]\d{0,11})\.\d{1,9},"request_id":"([!#-\[\]-~]{1,200})",'
    rb'(.*),"seq":[1-9]\d{0,17},"prev":"[0-9a-f]{64}"\}',
    re.DOTALL,
)

TIME: Final = "2001-02-03T04:05:06.789Z"
REQUEST_ID: Final = "alike:9b3c6f0a5d7e41"
"""What stands in a line that is read for all that are like it."""
_SAMPLE: Final = (
    b'{"v":1,"kind":"request","time":"%b","duration_ms":0.5,"request_id":"%b",'
    % (TIME.encode(), REQUEST_ID.encode()),
    b',"seq":1,"prev":"%b"}' % (b"0" * 64),
)


class AlikeLines(Generic[T]):
    """Remembers what was read of lines, for lines that are like them.

    A line is remembered when it comes for the second time, so lines that never come again cost little.

    :param read: reads a sample of such lines, which has TIME and REQUEST_ID in place of their own. It returns None if
        the two are not what it reads as time and id, or if lines like it must be read one by one.
    :param most: how many kinds of lines are remembered.
    """

    def __init__(self, read: Callable[[bytes], T | None], most: int = MOST) -> None:
        self._read = read
        self._most = most
        self._known: dict[bytes, T | None] = {}
        self._once: set[int] = set()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, line: bytes) -> tuple[int | None, bytes, T] | None:
        """Return time and request id of a line, and what is remembered; None: read the whole line.

        The time is in milliseconds since the epoch; None if it is no time, such as one with an hour 25.

        :param line: without its end.
        """
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        second, fraction, request_id, same = found.groups()
        known = self._known.get(same)
        if known is None:
            known = self._learnt(same)
            if known is None:
                return None
        begun_ms = _second_ms(second)
        return (None if begun_ms is None else begun_ms + int(fraction)), request_id, known

    def _learnt(self, same: bytes) -> T | None:
        if same in self._known or len(same) > _LONGEST:
            return None
        mark = hash(same)
        if mark not in self._once:
            if len(self._once) >= 2 * self._most:
                self._once.clear()
            self._once.add(mark)
            return None
        self._once.discard(mark)
        if len(self._known) >= self._most:
            self._known.clear()
        before, after = _SAMPLE
        known = self._known[same] = self._read(before + same + after)
        return known


@lru_cache(maxsize=64)
def _second_ms(text: bytes) -> int | None:
    """Milliseconds since the epoch of a time in UTC without a fraction: the same for all lines of a second."""
    try:
        return int(datetime.fromisoformat(f"{text.decode()}Z").timestamp()) * 1000
    except ValueError:
        return None

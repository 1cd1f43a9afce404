"""How an equal request is answered from memory again, without running the chain (docs/adr/0034).

A cache hit depends on the bytes of its head, and on a few facts that may change: the cache entry, the account, the
lease, the rate limit … Each processor knows which facts its own decision depends on. After a hit, ``Chain`` asks every
processor for a `Repeat`; ``arrival/shortcuts.py`` keeps them under a hash of the head, and asks them again when the
same head arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import frozen


class Holds(Protocol):
    """Whether a processor would decide as before. It changes nothing."""

    def __call__(self, now: float, /) -> bool:
        """:param now: monotonic seconds."""


@frozen(slots=True, eq=False)
class Repeat:
    """One processor's part in a request that is answered again.

    :param holds: None if its decision depends on the head alone.
    :param count: does what the processor does for each request, such as counting it; False if it would refuse the
        request. Called once everything holds.
    """

    holds: Holds | None = None
    count: Holds | None = None


ALWAYS = Repeat()
"""The processor does nothing with such requests, or decides by the head alone."""


@frozen(slots=True, eq=False, kw_only=True)
class HitAgain(Repeat):
    """The cache's condition: the entry still holds, with its age and content.

    :param content: returns, for a monotonic time, the age of the entry and the time for which it is still fresh, both
        in whole seconds, and the content as it was stored; called only while the entry holds.
    """

    content: Callable[[float], tuple[int, int, bytes]]


@frozen(slots=True, eq=False, kw_only=True)
class LimitAgain(Repeat):
    """The part of a rate limit whose standing each response tells.

    :param standing: returns the value of RateLimit for a monotonic time; called once everything is counted.
    """

    standing: Callable[[float], bytes]


Told = Callable[[Exception | None], None]
"""Is told once: None when the audit record is on disk, or a RecordFailed. It must not raise."""

Keep = Callable[[float, str, Told], None]
"""Writes the audit record: seconds since the epoch, and the request id."""


@frozen(slots=True, eq=False, kw_only=True)
class RecordAgain(Repeat):
    """The part of the audit trail."""

    keep: Keep


@frozen(slots=True, eq=False)
class Shortcut:
    """All that answers an equal request.

    :param holds: every condition, as far as there is one.
    :param counts: run in order, once everything holds.
    :param keep: None: no audit record is written.
    :param counted: counts the request: its status, None if no response was sent, and its seconds.
    :param standing: as in LimitAgain; None: responses have no RateLimit.
    """

    holds: tuple[Holds, ...]
    counts: tuple[Holds, ...]
    hit: HitAgain
    keep: Keep | None
    counted: Callable[[int | None, float], None]
    standing: Callable[[float], bytes] | None = None


def shortcut_of(
    parts: Iterable[Repeat | None], counted: Callable[[int | None, float], None]
) -> Shortcut | None:
    """Join the parts of all processors, from the outermost to the cache; None if one of them gives no part.

    :param counted: as in Shortcut.
    """
    holds, counts, hit, keep, standing = [], [], None, None, None
    for part in parts:
        if part is None:
            return None
        if part.holds is not None:
            holds.append(part.holds)
        if part.count is not None:
            counts.append(part.count)
        if isinstance(part, HitAgain):
            hit = part
        elif isinstance(part, RecordAgain):
            keep = part.keep
        elif isinstance(part, LimitAgain):
            standing = part.standing
    return None if hit is None else Shortcut(tuple(holds), tuple(counts), hit, keep, counted, standing)

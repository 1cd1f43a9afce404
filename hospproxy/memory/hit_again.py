"""The cache's part in ``http/repeat.py``: the same entry answers an equal read, as long as it may be served."""

from __future__ import annotations

import weakref

from ..http.repeat import HitAgain
from ..interfaces import IMeter
from .directives import CacheDirectives
from .key import EntryLocation
from .memory import Memory
from .store import CacheEntry


def hit_again(
    memory: Memory, place: EntryLocation, entry: CacheEntry, wish: CacheDirectives, meter: IMeter
) -> HitAgain:
    """Return how to give an entry again.

    :param place: where it is stored.
    :param wish: what the request asks of a cache.
    """
    key, identity = place.key, place.identity
    accounts, sharing, store = memory.accounts, memory.sharing, memory.store
    generation = 0 if identity is None else accounts.generation(identity)
    asked_at = (
        -1
    )  # in the sequence of changes to accounts: while nothing has changed, the answer stays the same
    began, fresh_until = entry.began, entry.fresh_until
    usual = wish == CacheDirectives()
    # The store alone decides how long an entry takes memory.
    kept = weakref.ref(entry)

    def holds(now: float) -> bool:
        nonlocal asked_at
        if identity is not None and accounts.ticket() != asked_at:
            if not accounts.unchanged(identity, generation):
                return False
            asked_at = accounts.ticket()
        found = store.get(key) if sharing.may_serve else None
        if found is None or found is not kept():
            return False
        return fresh_until > now if usual else wish.accepts(now - began, fresh_until - now)

    counted = meter.counter("cache_events_total", event="hit")

    def count(_now: float) -> bool:
        counted()
        return True

    def content(now: float) -> tuple[int, int, bytes]:
        held = kept()
        return int(now - began), int(fresh_until - now), b"" if held is None else held.response.body

    return HitAgain(holds=holds, count=count, content=content)

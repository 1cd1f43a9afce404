"""What HOSP received and did, in order. Tests count from it whether the proxy keeps its promises."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from .records import timestamp

MAX_ENTRIES = 200_000

KINDS = ("request", "stored", "updated", "deleted", "screened", "answered", "gone", "fault")


@frozen
class Entry:
    """One entry of the journal.

    seq: rises by one, and continues over a reset. request: the seq of the entry of the request that caused this one.
    at: monotonic seconds. wall: the time in HOSP's own format. kind: one of `KINDS`; ``answered`` means handed to
    the connection, ``gone`` that the client had left before. staff_id, staff_name: whose credentials (the name as
    claimed if they are wrong; both None for a change through the control port).
    resource, id, fields: the record as it is now (deleted: as it was). in_flight: requests in flight at that moment.
    """

    seq: int
    at: float
    wall: str
    kind: str
    request: int | None = None
    method: str | None = None
    path: str | None = None
    query: str | None = None
    request_id: str | None = None
    staff_id: object = None
    staff_name: object = None
    resource: str | None = None
    id: int | None = None
    fields: Mapping[str, object] | None = None
    status: int | None = None
    fault: str | None = None
    in_flight: int = 0


class Journal:
    """The newest entries, bounded; older ones are dropped and counted.

    Arguments:
        monotonic: seconds that never go back.
        wall: seconds since 1970.
    """

    def __init__(
        self, monotonic: Callable[[], float], wall: Callable[[], float], max_entries: int = MAX_ENTRIES
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._entries: deque[Entry] = deque(maxlen=max_entries)
        self._seq = 0
        self._cleared_at = 0

    def add(self, kind: str, **details: object) -> Entry:
        """Append an entry; `details` are fields of `Entry`."""
        self._seq += 1
        entry = Entry(self._seq, self._monotonic(), timestamp(self._wall()), kind, **details)  # type: ignore[arg-type]
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Remove all entries; the numbering continues."""
        self._entries.clear()
        self._cleared_at = self._seq

    @property
    def dropped(self) -> int:
        """Number of entries dropped for the bound since the last clear."""
        return self._seq - self._cleared_at - len(self._entries)

    def entries(
        self, since: int = 0, kinds: Iterable[str] = (), resource: str | None = None, limit: int | None = None
    ) -> list[Entry]:
        """Entries after `since`, of these kinds (none: all) and this resource, oldest first, at most `limit`."""
        wanted = frozenset(kinds)
        found: list[Entry] = []
        for entry in self._entries:
            if limit is not None and len(found) >= limit:
                break
            if entry.seq <= since or (wanted and entry.kind not in wanted):
                continue
            if resource is None or entry.resource == resource:
                found.append(entry)
        return found


class Stats:
    """Counters since the start or the last reset."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Reset the counters, except the number of requests in flight."""
        self.requests = 0
        self.by_route: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()
        self.by_staff: Counter[str] = Counter()
        self.max_in_flight = self.in_flight

    def arrived(self, route: str, staff: str) -> None:
        """Count a request that has arrived."""
        self.requests += 1
        self.by_route[route] += 1
        self.by_staff[staff] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def left(self) -> None:
        """Count a request that got its response, or whose client has left."""
        self.in_flight -= 1

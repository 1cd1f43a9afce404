"""Bounded memory for the rules: the least recent entries are dropped first. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

from .alert import Alert

Subject = int | str
FRESH_S = 30.0
"""Seconds for which counts of other machines are believed; they come every five."""


class DistinctCounter:
    """Counts distinct keys per subject within a sliding window.

    :param most: highest count for one subject; further keys replace the oldest.
    :param window_s: seconds. A key counts for less than this from its latest sighting.
    :param max_entries: of all subjects together; beyond it the least recently seen subject is dropped.
    :param max_subjects: the same limit, in subjects.
    :param salt: tells keys of this process from equal ones of others; b"": an equal key elsewhere is the same.
    """

    def __init__(
        self,
        most: int,
        window_s: float,
        *,
        max_entries: int = 50_000,
        max_subjects: int = 10_000,
        salt: bytes = b"",
    ) -> None:
        self._salt = salt
        self._elsewhere: Mapping[str, frozenset[int]] = {}
        self._told_at = 0.0
        self._most = most
        self._window_s = window_s
        self._max_entries = max(max_entries, most)
        self._max_subjects = max_subjects
        self._subjects: OrderedDict[Subject, OrderedDict[Subject, float]] = OrderedDict()
        self._entries = 0

    @property
    def size(self) -> tuple[int, int]:
        """Number of entries and of subjects."""
        return self._entries, len(self._subjects)

    def add(self, subject: Subject, key: Subject, now: float) -> int:
        """Add a key; return how many keys the subject has in the window, at most ``most``.

        :param now: seconds, on any clock. After a clock was set back, entries stay for at most two windows.
        """
        seen = self._subjects.get(subject)
        if seen is None:
            seen = self._subjects[subject] = OrderedDict()
        else:
            self._subjects.move_to_end(subject)
        before = len(seen)
        seen[key] = now
        seen.move_to_end(key)
        oldest = seen[next(iter(seen))]
        if len(seen) > self._most or not now - self._window_s < oldest <= now + self._window_s:
            self._forget_old(seen, now)
        count = len(seen)
        if count != before:
            self._entries += count - before
            while self._entries > self._max_entries or len(self._subjects) > self._max_subjects:
                self._entries -= len(self._subjects.popitem(last=False)[1])
        return count if not self._elsewhere else self._with_others(subject, seen, now)

    def tell(self, elsewhere: Mapping[str, frozenset[int]], now: float) -> None:
        """Take what other machines have; it counts for ``FRESH_S``.

        :param elsewhere: hashes of their keys, by subject as text.
        """
        self._elsewhere, self._told_at = elsewhere, now

    def count(self, subject: Subject, now: float) -> int:
        """Return how many keys a subject has in the window now, here and elsewhere, at most ``most``."""
        seen = self._subjects.get(subject)
        if not seen:
            return 0
        return self._with_others(subject, self._within(seen, now), now)

    def own(self, subject: Subject, now: float) -> int:
        """Return how many of them are here."""
        return len(self._within(self._subjects.get(subject, OrderedDict()), now))

    def hottest(self, number: int, now: float) -> list[tuple[Subject, list[int]]]:
        """Return the subjects with most keys, at most so many, and the hashes of their keys."""
        within = ((subject, self._within(seen, now)) for subject, seen in self._subjects.items())
        found = sorted(((subject, seen) for subject, seen in within if seen), key=lambda each: -len(each[1]))
        return [(subject, [self._hash(key) for key in seen]) for subject, seen in found[:number]]

    def _within(self, seen: Mapping[Subject, float], now: float) -> dict[Subject, float]:
        return {key: at for key, at in seen.items() if now - self._window_s < at <= now + self._window_s}

    def _with_others(self, subject: Subject, seen: Mapping[Subject, float], now: float) -> int:
        others = self._elsewhere.get(str(subject), frozenset())
        if not others or abs(now - self._told_at) > FRESH_S:
            return len(seen)
        return min(self._most, len(others.union(map(self._hash, seen))))

    def _hash(self, key: Subject) -> int:
        return int.from_bytes(
            blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=4, key=self._salt).digest()
        )

    def _forget_old(self, seen: OrderedDict[Subject, float], now: float) -> None:
        while len(seen) > self._most:
            seen.popitem(last=False)
        while True:
            at = seen[next(iter(seen))]
            if now - self._window_s < at <= now + self._window_s:
                return
            seen.popitem(last=False)


class RepeatFilter:
    """Lets an alert through once and counts its repetitions.

    :param repeat_after_s: seconds for which the same rule is not reported again for the same subject.
    :param most: subjects that are remembered.
    """

    def __init__(self, repeat_after_s: float, most: int = 10_000) -> None:
        self.repeat_after_s = repeat_after_s
        self._most = most
        self._told: OrderedDict[tuple[str, Subject], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def withheld(self, alert: Alert, now: float) -> int | None:
        """How many repetitions were withheld since the last report; None if this one is withheld too.

        :param now: seconds.
        """
        key = (alert.rule, alert.subject)
        at, count = self._told.get(key, (None, 0))
        if at is not None and 0 <= now - at < max(self.repeat_after_s, alert.silent_s):
            self._told[key] = (at, count + 1)
            return None
        self._told[key] = (now, 0)
        self._told.move_to_end(key)
        if len(self._told) > self._most:
            self._told.popitem(last=False)
        return count

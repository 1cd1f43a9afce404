"""Wrong passwords are slowed, per address and per name: nobody is locked out, and guessing gets nowhere.

Pure but for the time that is handed in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

from attrs import define

FIRST_S = 0.5
LONGEST_S = 30.0
FORGET_S = 900.0
"""Seconds without a failure after which a key starts afresh."""
MOST_KEYS = 10_000
MOST_TRIES = 64
MOST_TRIES_EACH = 4
"""Tries that wait at one time: in all, and of one address."""


@define(slots=True)
class _Tally:
    failures: int = 0
    open: int = 0
    last: float = 0.0


class Slowing:
    """How long the next try of an address, or for a name, has to wait.

    :param seconds: monotonic time.
    """

    def __init__(self, seconds: Callable[[], float], most_keys: int = MOST_KEYS) -> None:
        self._seconds = seconds
        self._most = most_keys
        self._tallies: OrderedDict[Hashable, _Tally] = OrderedDict()
        self._open = 0

    def __len__(self) -> int:
        return len(self._tallies)

    def begin(self, address: str, name: Hashable) -> float | None:
        """A try begins; ``end`` must follow.

        Tries that are under way count like failures: many at once are not quicker than one after the other.

        :param address: of the client.
        :param name: what stands for the claimed name.
        :return: seconds to wait before the password is looked at; None: too many wait already, and this one is none.
        """
        here = self._tally(("address", address))
        if self._open >= MOST_TRIES or here.open >= MOST_TRIES_EACH:
            return None
        there = self._tally(("name", name))
        wait = max(_delay(here), _delay(there))
        self._open += 1
        here.open += 1
        there.open += 1
        return wait

    def end(self, address: str, name: Hashable, *, right: bool | None) -> None:
        """A try is over.

        :param right: whether the password was; None: it was never looked at.
        """
        self._open -= 1
        for key in self._keys(address, name):
            tally = self._tallies.get(key)
            if tally is None:
                continue
            tally.open = max(0, tally.open - 1)
            if right is False:
                tally.failures += 1
                tally.last = self._seconds()
            elif right:
                tally.failures = 0
            if not tally.failures and not tally.open:
                del self._tallies[key]

    def _keys(self, address: str, name: Hashable) -> Iterable[Hashable]:
        return ("address", address), ("name", name)

    def _tally(self, key: Hashable) -> _Tally:
        tally = self._tallies.setdefault(key, _Tally())
        self._tallies.move_to_end(key)
        if tally.failures and self._seconds() - tally.last >= FORGET_S:
            tally.failures = 0
        while len(self._tallies) > self._most:
            self._tallies.popitem(last=False)
        return tally


def _delay(tally: _Tally) -> float:
    count = min(tally.failures + tally.open, 32)
    return min(LONGEST_S, FIRST_S * 2.0 ** (count - 1)) if count else 0.0

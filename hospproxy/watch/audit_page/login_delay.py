"""Delays logins after wrong passwords, by address and by name: this defeats guessing, and locks no user out.

Pure, except for the clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

from attrs import define

FIRST_S = 0.5
LONGEST_S = 30.0
FORGET_S = 900.0
"""Seconds without a failure after which the failures of an address or name are forgotten."""
MOST_KEYS = 10_000
MOST_TRIES = 64
MOST_TRIES_EACH = 4
"""Most logins in progress at one time: in all (``MOST_TRIES``), and from one address (``MOST_TRIES_EACH``)."""


@define(slots=True)
class _Tally:
    failures: int = 0
    open: int = 0
    last: float = 0.0


class LoginDelay:
    """Computes how long the next login from an address, or for a name, must wait.

    :param seconds: returns monotonic time.
    :param most_keys: most addresses and names that are tracked.
    """

    def __init__(self, seconds: Callable[[], float], most_keys: int = MOST_KEYS) -> None:
        self._seconds = seconds
        self._most = most_keys
        self._tallies: OrderedDict[Hashable, _Tally] = OrderedDict()
        self._open = 0

    def __len__(self) -> int:
        return len(self._tallies)

    def begin(self, address: str, name: Hashable) -> float | None:
        """Start a login; ``end`` must follow unless it returns None.

        Logins in progress count like failures, so parallel guesses are no faster than sequential ones.

        :param address: of the client.
        :param name: what stands for the claimed name.
        :return: seconds to wait before the password is checked; None: too many logins wait already.
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
        """End a login that ``begin`` let in; a wrong password counts, a right one clears the failures.

        :param right: whether the password was right; None: it was not checked.
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

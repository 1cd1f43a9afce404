"""What scripts/places.lua does, in Python: the oracle for the script, and a Redis for tests on a Clock."""

from __future__ import annotations

from attrs import define

from hospproxy.sharing.kinds import Away


def shares(needs: dict[str, int], got: dict[str, int], places: int) -> dict[str, int]:
    """Who should have how many.

    :param got: when each has got its last place.
    """
    share = dict.fromkeys(sorted(needs), 0)
    order = sorted(needs, key=lambda name: (got[name], name))
    while places and order:
        further = []
        for name in order:
            if places and share[name] < needs[name]:
                share[name] += 1
                places -= 1
                further.append(name)
        order = further
    while places:
        share[min(share, key=lambda name: (share[name], name))] += 1
        places -= 1
    return share


@define
class Entry:
    quota: int = 0
    need: int = 0
    opinion: int = 0
    seen: int = 0
    dead: int = 0
    got: int = 0
    epoch: str = "?"


class Table:
    """The key ``places``."""

    def __init__(self) -> None:
        self.now = 0
        self.epoch = "e" * 16
        self.members: set[str] = set()
        self.all: dict[str, Entry] = {}
        self.life: str | None = None
        self.since = 0
        self.held = 0
        self.breaker: tuple[str, int] = ("", 0)
        self.wakes = 0

    def evict(self) -> None:
        self.all, self.life = {}, None

    def exchange(self, args: list[str]) -> list[object]:
        me, keep, need, opinion, ceiling, live_ms, linger_ms, settle_ms, vanished_ms, turn_ms = (
            args[0],
            *map(int, args[1:10]),
        )
        state, age_ms, leaving, names = args[11], int(args[12]), args[13] == "1", args[14:]
        if self.life != self.epoch:
            self.life, self.since, self.held = self.epoch, self.now, 0
        mine = self._joined(me, keep, names)
        before, short_before = max(mine.quota, keep), mine.need > mine.quota
        mine.quota, mine.need, mine.opinion, mine.seen, mine.dead, mine.epoch = (
            before, need, opinion, self.now, 0, self.epoch,
        )  # fmt: skip
        freed = self._bury(me, live_ms, linger_ms, vanished_ms)
        missing = any(one.epoch != self.epoch for one in self.all.values())
        if self.held >= 0 and not missing and self.now - self.since >= settle_ms:
            self.held = -1
        known = {name: one for name, one in self.all.items() if one.epoch == self.epoch}
        live = {name: one for name, one in known.items() if self.now - one.seen < live_ms}
        limit = min([ceiling, *(one.opinion for one in live.values())])
        top = limit if self.held < 0 else min(limit, self.held)
        absent = sum(one.quota for name, one in known.items() if name not in live)
        owned = sum(one.quota for one in known.values())
        share = shares(
            {name: one.need for name, one in live.items()},
            {name: one.got for name, one in live.items()},
            max(0, top - absent),
        )
        if mine.quota > share[me]:
            mine.quota = max(keep, share[me])
        else:
            mine.quota = min(share[me], mine.quota + max(0, top - owned))
            if mine.quota > before:
                mine.got = self.now
        wake = mine.quota < min(need, share[me]) and not short_before
        for name, one in live.items():
            wake |= name != me and one.quota < share[name] and (freed or mine.quota < before)
        wake |= self._told(state, age_ms)
        if leaving and keep == 0:
            wake |= mine.quota > 0
            del self.all[me]
        self.wakes += wake
        turn = (sorted(live).index(me) - self.now // turn_ms) % len(live)
        others = {name for name, one in self.all.items() if name != me and one.quota}
        return [
            mine.quota,
            share[me],
            limit,
            len(live),
            turn,
            self.breaker[0],
            self.now - self.breaker[1],
            others,
        ]

    def _joined(self, me: str, keep: int, names: list[str]) -> Entry:
        mine = self.all.get(me)
        if mine is None or mine.epoch != self.epoch:
            mine = self.all[me] = Entry(keep)
            if self.held >= 0:
                self.held += keep
                for name in names:
                    self.all.setdefault(name, Entry(seen=self.now))
        return mine

    def _bury(self, me: str, live_ms: int, linger_ms: int, vanished_ms: int) -> bool:
        gone = []
        for name, one in self.all.items():
            waited = self.now - self.since >= vanished_ms
            over = one.epoch == "?" and waited
            if one.epoch != "?" and name != me and self.now - one.seen >= live_ms:
                if name in self.members:
                    one.dead = 0
                elif not one.dead:
                    one.dead = self.now
                lingered = one.dead > 0 and self.now - one.dead >= linger_ms
                over = lingered or (one.epoch != self.epoch and waited)
            if over:
                gone.append(name)
        for name in gone:
            del self.all[name]
        return bool(gone)

    def _told(self, state: str, age_ms: int) -> bool:
        known, at = self.breaker
        if not state or state == known or (not known and state == "closed") or self.now - age_ms <= at:
            return False
        self.breaker = state, self.now - age_ms
        return True


def replied(answer: list[object]) -> list[object]:
    """As Common.run gives it."""
    *numbers, others = answer
    assert isinstance(others, set)
    return [
        *(each.encode() if isinstance(each, str) else each for each in numbers),
        *(name.encode() for name in sorted(others)),
    ]


def told(args: object) -> list[str]:
    """Arguments as the script sees them."""
    assert isinstance(args, (list, tuple))
    return [each.decode() if isinstance(each, bytes) else str(each) for each in args]


AWAY = Away("away")

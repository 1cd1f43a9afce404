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
    while places and share:
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
    base: int = 0
    alone: int = 0
    epoch: str = "?"

    @property
    def most(self) -> int:
        """What it may come to use while it does not reach Redis."""
        return max(self.quota, self.base)


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
        state, age_ms, leaving = args[11], int(args[12]), args[13] == "1"
        said, alone, patience_ms, heir_of, names = *map(int, args[14:17]), args[17], args[18:]
        if self.life != self.epoch:
            self.life, self.since, self.held = self.epoch, self.now, 0
        mine = self._joined(me, keep, names)
        before, short_before = max(mine.quota, keep), mine.need > mine.quota
        mine.quota, mine.need, mine.opinion, mine.seen, mine.dead, mine.epoch = (
            keep, need, opinion, self.now, 0, self.epoch,
        )  # fmt: skip
        mine.base, mine.alone = said, alone
        known_heir = self._succeeded(heir_of, said)
        freed = self._bury(me, live_ms, linger_ms, vanished_ms)
        missing = any(one.epoch != self.epoch for one in self.all.values())
        if self.held >= 0 and not missing and self.now - self.since >= settle_ms:
            self.held = -1
        base = said if leaving else self._based(me, said, ceiling, bool(heir_of) and not known_heir)
        known = {name: one for name, one in self.all.items() if one.epoch == self.epoch or one.alone == 2}
        live = {name: one for name, one in known.items() if self.now - one.seen < live_ms and one.alone != 2}
        sharers = {name: one for name, one in live.items() if not one.alone}
        limit = min([ceiling, *(one.opinion for one in live.values())])
        if self.held >= 0 and self.now - self.since >= patience_ms:
            self.held = max(self.held, sum(one.base for one in known.values()))
        top = limit if self.held < 0 else min(limit, self.held)
        absent = sum(one.most for name, one in known.items() if name not in sharers)
        others = sum(one.quota if name in sharers else one.most for name, one in known.items() if name != me)
        share = shares(
            {name: one.need for name, one in sharers.items()},
            {name: one.got for name, one in sharers.items()},
            max(0, top - absent),
        )
        if self.held >= 0 or others + (mine.most if alone else mine.quota) > ceiling:
            share = {name: min(each, sharers[name].base) for name, each in share.items()}
        if alone:
            share[me] = mine.base
        mine.quota = max(keep, min(share[me], keep + max(0, top - others - keep)))
        if mine.quota > before:
            mine.got = self.now
        wake = mine.quota < min(need, share[me]) and not short_before
        for name, one in sharers.items():
            wake |= name != me and one.quota < share[name] and (freed or mine.quota < before)
        wake |= self._told(state, age_ms)
        if leaving and keep == 0 and said == 0:
            wake |= mine.quota > 0
            del self.all[me]
        self.wakes += wake
        return [
            mine.quota,
            share[me],
            limit,
            len(live),
            (sorted(live).index(me) - self.now // turn_ms) % len(live),
            self.breaker[0],
            self.now - self.breaker[1],
            base,
            {name for name, one in self.all.items() if name != me and (one.most or one.epoch != self.epoch)},
        ]

    def _succeeded(self, heir_of: str, said: int) -> bool:
        before = self.all.get(heir_of)
        if before is None:
            return False
        if before.alone != 2:
            before.quota = max(before.quota, before.base, said)
            before.base, before.alone, before.dead = 0, 2, before.dead or self.now
            if before.epoch != self.epoch and self.held >= 0:
                self.held += before.quota
        return True

    def _based(self, me: str, said: int, ceiling: int, stale: bool) -> int:
        """The base that is told; what is kept of it is what its owner may believe."""
        if self.held >= 0:
            return said
        members = sorted(name for name, one in self.all.items() if not one.dead)
        fair = ceiling // len(members) + (members.index(me) < ceiling % len(members))
        free = max(0, ceiling - sum(one.base for name, one in self.all.items() if name != me))
        base = min(said, fair) if said > fair else max(said, min(fair, free))
        base = min(base, free) if stale else base
        self.all[me].base = max(said, base)
        return base

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
        gone, freed = [], False
        for name, one in self.all.items():
            if name != me and one.alone != 2 and one.epoch != "?" and self.now - one.seen >= live_ms:
                if name in self.members:
                    one.dead = 0
                elif not one.dead:
                    one.dead = self.now
            lingered = one.dead > 0 and self.now - one.dead >= linger_ms
            if lingered and one.quota:
                one.quota, freed = 0, True
            waited = one.epoch != self.epoch and self.now - self.since >= vanished_ms
            if waited or (lingered and (not one.base or self.now - one.seen >= vanished_ms)):
                gone.append(name)
        for name in gone:
            del self.all[name]
        return freed or bool(gone)

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

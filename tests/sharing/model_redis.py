"""A small model of Redis: what the scripts do, on the test's clock, with every possible fault."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

_runs = itertools.count(1)
HEAD, MEMBERS, LEASES, LOG, DEAD = range(5)


class ModelRedis:
    """The data, and the scripts as Python. integration/test_sharing.py tests the real ones.

    :param seconds: the world's time.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.full = False
        self.published: list[bytes] = []
        self.lose()
        self.begin()

    def begin(self) -> None:
        """Restart Redis with its present data."""
        self.run_id = b"%040x" % next(_runs)

    def lose(self) -> None:
        """Lose all data."""
        self.head: dict[str, Any] = {}
        self.members: dict[bytes, int] = {}
        self.leases: dict[bytes, int] = {}
        self.log: list[tuple[int, bytes, bytes]] = []
        self.dead: dict[bytes, int] = {}

    def kept(self) -> tuple[Any, ...]:
        """A copy of the present data."""
        return (dict(self.head), dict(self.members), dict(self.leases), list(self.log), dict(self.dead))

    def restore(self, data: tuple[Any, ...]) -> None:
        """Restore older data."""
        self.head, self.members, self.leases, self.log, self.dead = data

    @property
    def now(self) -> int:
        return math.floor(self._seconds() * 1000)

    def evaluate(self, name: str, args: list[Any]) -> list[Any]:
        """Run a script.

        :raise MemoryError: it is full.
        """
        if name == "open":
            return self._open(args)
        if self.head.get("epoch") != args[0]:
            return [b"epoch"]
        if self.now > int(args[1]):
            return [b"late"]
        if self.full:
            raise MemoryError
        if not len(self.members) == len(self.leases) == self.head["count"]:
            del self.head["epoch"]
            return [b"epoch"]
        return {"beat": self._beat, "bury": self._bury}[name](args)

    def _open(self, args: list[Any]) -> list[Any]:
        run, new, names, came_from, *known = args
        begun = 0
        if self.full and (self.head.get("run") != run or "names" not in self.head):
            raise MemoryError
        if "epoch" not in self.head or self.head["run"] != run:
            begun = 1
            self.head |= {"epoch": new.encode(), "run": run, "began": self.now}
            self.head["first"] = self.head.get("seq", 0)
            self.members, self.leases, self.log = {}, {}, []
            self.head["count"] = 0
        self.head.setdefault("names", names)
        if self.head["epoch"] != came_from:
            for one in known:
                if one not in self.dead and one not in self.members:
                    self.members[one], self.leases[one] = 0, self.now
                    self.head["count"] += 1
        return [b"ok", self.head["epoch"], self.head["names"], self.now, begun]

    def _append(self, who: bytes, text: bytes) -> int:
        seq: int = self.head.get("seq", 0) + 1
        self.head["seq"] = seq
        self.log = [*self.log, (seq, who, text)][-30:]
        return seq

    def _beat(self, args: list[Any]) -> list[Any]:
        epoch, _, member, place, how, lease, patience, _, everything, _, _, urgent, *rest = args
        said = 0
        while rest:
            said = self._append(member, rest[0])
            rest = rest[2 + rest[1] :]
        before = self.members.get(member)
        seq = self.head.get("seq", 0)
        pos = seq if place == "now" else self.head["first"] if place == "all" else int(place)
        if how == "leave":
            self.members.pop(member, None)
            self.leases.pop(member, None)
            self.dead[member] = self.now
        else:
            self.members[member], self.leases[member] = pos, self.now + lease
            self.dead.pop(member, None)
        buried = [one for one, end in self.leases.items() if end <= self.now - patience]
        for one in buried:
            self._remove(one)
        if buried:
            seq = self._append(b"", everything)
        self.head["count"] = len(self.members)
        if said and urgent:
            self.published.append(b"s %b %d" % (epoch, said))
        if how != "leave" and before is not None and pos > before:
            self.published.append(b"a %b %b %d" % (epoch, member, pos))
        news = [[b"%d-0" % n, [b"d", text, b"m", who]] for n, who, text in self.log if n > pos][:5]
        members = [[one, b"%d" % self.members[one], b"%d" % end] for one, end in self.leases.items()]
        return [b"ok", self.now, self.head["began"], seq, said, pos, news, members]

    def _remove(self, member: bytes) -> None:
        del self.members[member], self.leases[member]
        self.dead[member] = self.now

    def _bury(self, args: list[Any]) -> list[Any]:
        gone = [one for one in args[5:] if self.leases.get(one, math.inf) <= self.now]
        for one in gone:
            self._remove(one)
        if gone:
            self._append(b"", args[2])
            self.head["count"] = len(self.members)
        return [b"ok", len(gone)]

"""A model of the claim scripts in Python, on one simulated Redis and a Clock.

integration/test_claims.py compares the model with the scripts on a real Redis.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from hospproxy.keys.encryption import Seal
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script
from hospproxy.sharing.news import News


@define
class Store:
    """The content of Redis.

    :param now: milliseconds.
    """

    now: Callable[[], int]
    epoch: str = "e" * 16
    mark: str = ""
    number: int = 0
    leases: dict[str, float] = field(factory=dict)
    members: set[str] = field(factory=set)
    claims: dict[str, Any] = field(factory=dict)
    touched: dict[str, float] = field(factory=dict)
    answers: dict[bytes, tuple[bytes, float]] = field(factory=dict)

    def lose(self) -> None:
        """Redis loses all claims."""
        self.mark = ""


class Model:
    """One call of a script."""

    def __init__(self, store: Store, me: str, ref: str, answer: bytes | None) -> None:
        self.store, self.me, self.ref, self.answer = store, me, ref, answer
        self.now, self.c = store.now(), store.claims
        if not store.mark:
            store.number += 1
            store.mark = f"{store.epoch} {store.number}"
            self.c.clear()
            store.touched.clear()
            self.c["_began"] = self.now

    def read(self, name: str) -> dict[str, Any] | None:
        w = self.c.get("w:" + name)
        return w if w is not None and w["x"] > self.now else None

    def list(self, equal: str) -> list[str]:
        return self.c.get("e:" + equal, [])

    def keep_list(self, equal: str, names: list[str]) -> None:
        self.c.pop("e:" + equal, None)
        if names:
            self.c["e:" + equal] = names

    def unlist(self, name: str, w: dict[str, Any]) -> None:
        self.keep_list(w["e"], [one for one in self.list(w["e"]) if one != name])

    def free(self, place: str, name: str | None) -> None:
        if self.c.get(place) == name:
            self.c.pop(place, None)

    def link(self, name: str, w: dict[str, Any]) -> None:
        self.c.setdefault("t:" + w["t"], name)
        if w.get("k"):
            self.c.setdefault("k:" + w["k"], name)
        elif name not in self.list(w["e"]):
            self.keep_list(w["e"], [*self.list(w["e"])[-63:], name])

    def unlink(self, name: str, w: dict[str, Any]) -> None:
        self.free("t:" + w["t"], name)
        if w.get("k"):
            self.free("k:" + w["k"], name)
        else:
            self.unlist(name, w)

    def prune(self) -> None:
        ended = [
            (w["x"], field[2:], w)
            for field, w in self.c.items()
            if field.startswith("w:") and w["x"] <= self.now
        ]
        for _, name, w in sorted(ended, key=lambda one: one[:2])[:20]:
            self.unlink(name, w)
            self.c.pop("w:" + name)
        for name in [name for name, v in self.c.items() if name[:2] == "v:" and v["x"] <= self.now]:
            self.c.pop(name)
        for one, at in list(self.store.touched.items()):
            if at <= self.now - 7200000:
                del self.store.touched[one]

    def live(self, w: dict[str, Any]) -> bool:
        return self.store.leases.get(w["m"], 0) > self.now

    def waits(self, w: dict[str, Any]) -> bool:
        return "j" in w and w["ju"] > self.now and self.store.leases.get(w["j"], 0) > self.now

    overtakings = 0
    """How often the model reported a write as overtaken, for tests that must reach that case."""

    def overtaken(self, name: str, w: dict[str, Any]) -> bool:
        found = self._overtaken(name, w)
        Model.overtakings += found
        return found

    def _overtaken(self, name: str, w: dict[str, Any]) -> bool:
        if w["s"] == "open" or "y" not in w or "z" not in w:
            return False
        holder = None if "q" in w else self.c.get("t:" + w["t"])
        there = self.read(holder) if holder and holder != name else None
        if there is not None and there["s"] == "open" and there["e"] != w["e"]:
            return True
        last = self.c.get("v:" + w["y"])
        if last is None:
            return False
        if "q" in w:
            return bool(last["at"] > w["z"] and last["d"])
        return bool((last["at"] if last["e"] != w["e"] else last["o"] or 0) > w["z"])

    def takeable(self, w: dict[str, Any], gone: str) -> bool:
        return bool(w["m"] == gone or (self.now > w["u"] and not self.live(w)))

    def raise_(self, resource: str, number: str) -> str:
        if not resource:
            return ""
        high = self.c.get("h:" + resource)
        if number and (high is None or int(number) > int(high)):
            self.c["h:" + resource] = number
            return number
        return high or ""

    def complete(self) -> bool:
        if "_complete" in self.c:
            return True
        missing = self.me not in self.store.members or any(
            "s:" + one not in self.c for one in self.store.members
        )
        if missing and self.now < self.c["_began"] + 10000:
            return False
        self.c["_complete"] = 1
        if missing:
            self.c["_blind"] = self.now + 86400000
        return True

    def under_key(self, key: str, equal: str, gone: str, orphan: str = "") -> tuple[str | None, str, Any]:
        name = self.c.get("k:" + key)
        w = self.read(name) if name and name != self.ref else None
        if w is None:
            return None, "", None
        if w["e"] != equal:
            return "other", name, w
        if w["s"] != "open":
            return "known", name, w
        if self.takeable(w, gone):
            return "free", name, w
        if not self.live(w) or name == orphan:
            return "wait", name, w
        return ("known" if w.get("l") else "busy"), name, w

    def equals(self, equal: str, gone: str, retry_of: str) -> tuple[str, Any, list[Any] | None]:
        """For a write without a key: which write it takes over, or which reply it gets."""
        over, first, on_its_way = "", "", ""
        for name in self.list(equal):
            w = self.read(name) if name != self.ref else None
            if w is None or w.get("h") or (w["s"] != "open" and self.now >= w.get("wn", self.now + 1)):
                continue
            if self.overtaken(name, w):
                continue
            is_open, mine = w["s"] == "open", name == retry_of
            free = mine or not self.waits(w)
            lost = w.get("l") or w["m"] == gone or not self.live(w) or w["s"] == "given up"
            others = w["m"] != self.me or (not is_open and (w.get("l") or not free))
            if is_open and self.takeable(w, gone):
                over = over or (name if free else "")
            elif others and free and lost and not (mine and is_open):
                first = first or name
            elif others and (mine or not is_open):
                on_its_way = w["m"] if free else w["j"]
        if over:
            return over, self.read(over), None
        if first:
            self.c["w:" + first] |= {"j": self.me, "ju": self.now + 5000}
            return "", None, ["known", first]
        return "", None, ["wait", on_its_way] if on_its_way else None

    def claim(self, a: list[str]) -> list[Any]:
        turn, equal, key, left, keep, resource, highest, record, late, gone, author, most, retry_of = a
        self.prune()
        if len(self.c) + 1 > int(most) * (1 if key else 1.2):
            return ["full", ""]
        before = self.read(self.ref)
        if before is not None and before["m"] == self.me and before["s"] == "open":
            before["u"], before["x"] = self.now + int(left), self.now + int(keep)
            ago = [self.now - before.get("d", self.now), self.now - before["c"]]
            blind = self.now - before.get("b", self.now)
            word = "over" if "o" in before else "yours"
            return [word, before.get("f", ""), *ago, int(self.complete()), blind]
        said, blind, over, dead = self.complete(), 0, "", None
        if key:
            word, name, w = self.under_key(key, equal, gone, retry_of)
            if word == "free":
                over, dead = name, w
            elif word:
                return [word, w["m"] if word == "wait" else name]
            elif not said:
                return ["unsaid", ""]
            elif self.c.get("_blind", 0) > self.now:
                blind = self.now - self.c["_began"]
        else:
            over, dead, answer = self.equals(equal, gone, retry_of)
            if answer is not None:
                return answer
        holder = self.c.get("t:" + turn)
        held = self.read(holder) if holder and holder not in (self.ref, over) else None
        if held and (not self.takeable(held, gone) or self.now <= held["u"] + int(late)):
            return ["wait", held["m"]]
        if holder and holder != over:
            self.free("t:" + turn, holder)
        floor, since, sent = self.raise_(resource, highest), self.now, self.now
        if dead is not None:
            floor, since, sent = dead.get("f", ""), dead["c"], min(self.now, dead["u"])
            dead["s"], dead["n"] = "over", self.ref
            self.unlink(over, dead)
        mine = {
            "m": self.me, "t": turn, "e": equal, "s": "open", "u": self.now + int(left), "c": since,
            "x": self.now + int(keep), "a": author,
        }  # fmt: skip
        if key:
            mine["k"] = key
            self.c.pop("k:" + key, None)
        if floor:
            mine["f"] = floor
        if dead is not None:
            mine |= {"o": 1, "d": sent}
            mine |= {"g": dead["g"]} if "g" in dead else {}
        if blind:
            mine["b"] = self.now - blind
        self.link(self.ref, mine)
        self.c["w:" + self.ref] = mine
        if record:
            self.store.touched[f"t {resource} {record}"] = self.now
        word = "over" if over else "yours"
        return [word, floor, self.now - sent, self.now - since, int(said), blind]

    def settle(self, a: list[Any]) -> list[Any]:
        turn, equal, key, state, record, resource, lost, handed, left, keep, author, answer, window = a[:13]
        change, about, keeps_turn = a[13:]
        if state in ("answered", "found") and record and resource:
            self.store.touched.setdefault(f"c {resource} {record} {self.ref}", self.now)
            if record.isdigit():
                self.raise_(resource, record)
        w = self.read(self.ref)
        was_open = w is not None and w["s"] == "open"
        if w is None:
            if not turn or state in ("back", "absent"):
                return []
            w = {"m": self.me, "t": turn, "e": equal, "s": "open", "u": self.now, "c": self.now, "x": 0}
            w |= {"a": author, "g": 1} | ({"k": key} if key else {})
            self.c["w:" + self.ref] = w
            self.link(self.ref, w)
        here = w["m"].partition(".")[0] == self.me.partition(".")[0]
        if state and w["s"] != "open" and here:
            if keeps_turn == "0":
                self.free("t:" + w["t"], self.ref)
        elif state and w["s"] == "open" and here:
            if state == "back" and w.get("o"):
                w["m"], w["u"] = "-", min(w["u"], self.now)
            elif state in ("back", "absent"):
                w["s"] = "absent"
                self.unlink(self.ref, w)
            elif state != "open":
                w["s"] = state
                if keeps_turn == "0" or not was_open:
                    self.free("t:" + w["t"], self.ref)
            if record:
                w["r"] = record
        if keeps_turn == "1" and w["m"].partition(".")[0] == self.me.partition(".")[0]:
            w["m"] = self.me
            self.c.setdefault("t:" + w["t"], self.ref)
        if about:
            w["y"] = about
        elif record and resource:
            w |= {"y": f"{resource} {record}", "q": 1}
        if w["s"] != "open" and "z" not in w:
            w["z"] = self.c["_n"] = self.c.get("_n", 0) + 1
            if was_open and change and about:
                before = self.c.get("v:" + about)
                other = None if before is None else before["at"] if before["e"] != w["e"] else before["o"]
                last = {"at": w["z"], "e": w["e"], "d": int(change == "d"), "o": other}
                self.c["v:" + about] = last | {"x": self.now + 2 * int(window) + 60000}
        if "wn" not in w and (w["s"] != "open" or lost == "2"):
            w["wn"] = self.now + int(window)
        if left == "1":
            w.pop("j", None)
            w |= {"wn": self.now + int(window)} if "wn" in w else {}
        if lost != "0" or left == "1":
            w["l"] = 1
        if handed == "1":
            w["h"] = 1
            if not w.get("k"):
                self.unlist(self.ref, w)
                if self.answer:
                    self.store.answers.pop(self.answer, None)
        if (w.get("k") or not w.get("h")) and self.answer and answer:
            self.store.answers[self.answer] = answer, self.now + int(keep)
        w["x"] = max(w["x"], self.now + int(keep))
        return []

    def watch(self, a: list[str]) -> list[Any]:
        resource, adopt = a
        w = self.read(self.ref)
        if w is None or w["s"] == "over" or w.get("g") or self.now - w["c"] > 7000000:
            return ["lost"]
        if w["m"] != self.me:
            if adopt != "1" or w["m"].partition(".")[0] != self.me.partition(".")[0]:
                return ["lost"]
            w["m"], w["l"] = self.me, 1
        about = f" {resource} "
        lately = self.store.touched.items()
        found = sorted(
            (at, one) for one, at in lately if at >= w["c"] - (60_000 if one.startswith("c") else 0)
        )
        return ["mine", [one.encode() for _, one in found if one[1:].startswith(about)]]

    def find(self, a: list[str]) -> list[Any]:
        how, name, wait, equal, gone = a
        until = self.now + int(wait)
        if how == "equal":
            self.prune()
            for one in self.list(name):
                w = self.read(one)
                if w is None or w["m"] == self.me or w.get("h") or self.waits(w):
                    continue
                if w["s"] != "open" and self.now >= w.get("wn", self.now + 1):
                    continue
                if self.overtaken(one, w):
                    continue
                if w.get("l") or not self.live(w):
                    w["j"], w["ju"] = self.me, until
                    return ["join", one]
            return ["none", ""]
        if how == "key":
            word, found, _ = self.under_key(name, equal, gone)
            if not word and not self.complete():
                word = "unsaid"
            return [word or "none", found]
        w = self.read(self.ref)
        if w is None:
            return ["none", ""]
        if w["s"] == "over":
            if how == "own":
                return ["handed", ""]
            return ["join", w["n"]] if how == "outcome" or w.get("k") else ["none", ""]
        if how == "own":
            if w.get("h") or self.overtaken(self.ref, w):
                return ["handed", ""]
            waited = self.waits(w) and w["j"] != self.me
            if waited or (w["m"] != self.me and not w.get("l") and self.live(w)):
                return ["waited", ""]
            w["j"], w["ju"] = self.me, until
            return ["joined", ""]
        if how == "look" and not w.get("k"):
            w["j"], w["ju"] = self.me, until
        kept: tuple[Any, float] = (b"", 0)
        if w["s"] != "open" and self.answer:
            kept = self.store.answers.get(self.answer, kept)
        orphan = w["s"] == "open" and self.takeable(w, gone)
        answer = kept[0] if kept[1] > self.now else b""
        return ["is", w["s"], w.get("r", ""), w.get("l", 0), int(orphan), answer, w.get("a", ""), w["m"]]

    def said(self, a: list[str]) -> list[Any]:
        for resource, number in zip(a[::2], a[1::2], strict=True):
            self.raise_(resource, number)
        self.c["s:" + self.me] = 1
        return [int(self.complete())]


class Vault:
    """Seals values as the ledger does."""

    def __init__(self) -> None:
        self._seal = Seal(b"v" * 32, "00000000")

    def seal(self, plain: bytes, name: bytes) -> bytes:
        return self._seal.seal(plain, name.hex())

    def open(self, sealed: bytes, name: bytes) -> bytes:
        return self._seal.open(sealed, name.hex())


class ModelCommon:
    """One worker's link to the model, and its membership. It is ``Common`` and ``Sharing``.

    :ivar away: Redis does not reply to it.
    """

    is_alone = False
    may_serve = True
    sees_since = -math.inf
    unbroken = 0

    def __init__(self, store: Store, member: bytes) -> None:
        self.member = member
        self.vault = Vault()
        self.store = store
        self.away = False
        self.calls: list[str] = []
        self.listeners: list[Callable[[News], None]] = []
        self.join()

    @property
    def sees_others(self) -> bool:
        return not self.away

    def join(self) -> None:
        """Become a member, with a lease that does not end."""
        self.store.leases[self.member.decode()] = float("inf")
        self.store.members.add(self.member.decode())

    def vanish(self, lease_s: float = 0.0) -> None:
        """Stop sending heartbeats: the worker is dead.

        :param lease_s: seconds until its lease ends.
        """
        self.store.leases[self.member.decode()] = self.store.now() + lease_s * 1000 if lease_s else 0.0

    def say(self, news: News) -> None:
        pass

    async def announce(self, *news: News) -> None:
        pass

    def listen(self, listener: Callable[[News], None]) -> None:
        self.listeners.append(listener)

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        if data is None:
            return b"{p}:" + kind.encode()
        said = hmac.digest(b"n" * 32, kind.encode() + b"\0" + data, hashlib.sha256)[:18]
        return b"{p}:" + kind.encode() + b":" + said.hex().encode()

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        if self.away:
            raise Away("away")
        self.calls.append(script.name)
        said = [one if script.name == "settle" and at == 13 else _text(one) for at, one in enumerate(args)]
        model = Model(self.store, said[0], said[1], keys[5] if len(keys) > 5 else None)
        found = getattr(model, script.name)(said[2:])
        return [self.store.mark.encode(), *(one.encode() if isinstance(one, str) else one for one in found)]


def _text(value: bytes | int | str) -> Any:
    return value.decode() if isinstance(value, bytes) else str(value)

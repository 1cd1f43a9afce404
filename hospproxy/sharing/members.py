"""What the scripts give back, and what follows from it. Pure; what is not as it should be is never used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

_EPOCH = re.compile(rb"[0-9a-f]{16}")
_WAKE = re.compile(rb"s ([0-9a-f]{16}) ([0-9]{1,15})")
_ACK = re.compile(rb"a ([0-9a-f]{16}) ([!-~]{1,200}) ([0-9]{1,15})")


class Nonsense(Exception):
    """Redis says what none of our scripts says."""


@frozen(slots=True)
class Member:
    """One worker.

    :param pos: number of the last entry of the log that it has applied.
    :param lease: its end, in milliseconds of Redis's time.
    :param seen: monotonic seconds of this worker at which it saw this end for the first time.
    """

    pos: int
    lease: int
    seen: float = 0.0


@frozen(slots=True)
class Opened:
    """What ``open.lua`` gives back.

    :param names: the sealed key of names.
    :param now: milliseconds of Redis's time.
    :param begun: this worker has begun the epoch.
    """

    epoch: bytes
    names: bytes = field(repr=False)
    now: int
    begun: bool


@frozen(slots=True)
class Beat:
    """What ``beat.lua`` gives back.

    :param now: milliseconds of Redis's time.
    :param began: the same, of the epoch.
    :param seq: number of the last entry.
    :param said: number of the last entry that this beat has appended; 0 for none.
    :param pos: from where on ``entries`` are.
    :param entries: number, who said it (empty: whoever buried somebody), and the sealed news.
    """

    now: int
    began: int
    seq: int
    said: int
    pos: int
    entries: tuple[tuple[int, bytes, bytes], ...] = field(repr=False)
    members: Mapping[bytes, Member]

    @property
    def unbroken(self) -> bool:
        """Whether nothing after ``pos`` is missing before the last of the entries."""
        if self.pos > self.seq or (self.seq > self.pos and not self.entries):
            return False
        return all(number == self.pos + 1 + i for i, (number, _, _) in enumerate(self.entries))

    @property
    def last(self) -> int:
        """Number of the last entry that is here."""
        return self.entries[-1][0] if self.entries else self.pos


@frozen(slots=True)
class View:
    """The members at one moment of an epoch.

    :param now: that moment, in milliseconds of Redis's time; 0: nobody has been seen.
    :param began: when the epoch did.
    """

    epoch: bytes = b""
    now: int = 0
    began: int = 0
    members: Mapping[bytes, Member] = field(factory=dict)

    def followed_by(self, epoch: bytes, beat: Beat, at: float) -> View:
        """As the next beat shows them.

        :param at: monotonic seconds of this worker at which its answer came.
        """
        found = {}
        for name, one in beat.members.items():
            before = self.members.get(name) if epoch == self.epoch else None
            same = before is not None and before.lease == one.lease
            found[name] = evolve(one, seen=before.seen if before is not None and same else at)
        return View(epoch, beat.now, beat.began, found)

    def vanished(self, own: bytes) -> list[bytes]:
        """The others whose lease has run out without goodbye."""
        return [name for name, one in self.members.items() if name != own and one.lease < self.now]

    def read_by_all(self, own: bytes) -> int:
        """Number of the entry up to which all others have read, those who have vanished too."""
        others = (one.pos for name, one in self.members.items() if name != own)
        return min(others, default=1 << 60)

    def have_read(self, own: bytes, seq: int, held_ms: int, at: float) -> bool:
        """Whether none of the others may serve what entry ``seq`` makes stale.

        That a lease has run out is believed of Redis's clock only where this worker's own says the same.

        :param held_ms: a lease: one from before this epoch may last so long after its beginning.
        :param at: monotonic seconds of this worker.
        """
        if self.now < self.began + held_ms:
            return False
        since = at - held_ms / 1000
        others = (one for name, one in self.members.items() if name != own)
        return all(one.pos >= seq or (one.lease < self.now and one.seen < since) for one in others)

    def with_ack(self, ack: Ack) -> View:
        """After a member has said how far it has read."""
        one = self.members.get(ack.member)
        if ack.epoch != self.epoch or one is None or one.pos >= ack.pos:
            return self
        return evolve(self, members={**self.members, ack.member: evolve(one, pos=ack.pos)})


@frozen(slots=True)
class Wake:
    """Somebody has said something for which he waits."""

    epoch: bytes
    seq: int


@frozen(slots=True)
class Ack:
    """A member has read on."""

    epoch: bytes
    member: bytes
    pos: int


def wake_up(payload: bytes) -> Wake | Ack | None:
    """A message of the channel; None for what is none."""
    if (found := _WAKE.fullmatch(payload)) is not None:
        return Wake(found[1], int(found[2]))
    if (found := _ACK.fullmatch(payload)) is not None:
        return Ack(found[1], found[2], int(found[3]))
    return None


def refused(reply: Sequence[Any]) -> bytes | None:
    """Why a script did nothing (``epoch``, ``late``); None if it did.

    :raise Nonsense: neither.
    """
    word = reply[0] if reply else None
    if word == b"ok":
        return None
    if word in (b"epoch", b"late"):
        assert isinstance(word, bytes)
        return word
    raise Nonsense("no reply of a script")


def opened(reply: Sequence[Any]) -> Opened:
    """:raise Nonsense: it is none."""
    match reply:
        case [b"ok", bytes(epoch), bytes(names), int(now), int(begun)] if _EPOCH.fullmatch(epoch):
            return Opened(epoch, names, now, bool(begun))
    raise Nonsense("no reply of open")


def beat(reply: Sequence[Any]) -> Beat:
    """:raise Nonsense: it is none."""
    match reply:
        case [b"ok", int(now), int(began), int(seq), int(said), int(pos), list(news), list(members)]:
            entries = tuple(_entry(one) for one in news)
            return Beat(now, began, seq, said, pos, entries, dict(_member(one) for one in members))
    raise Nonsense("no reply of beat")


def _entry(one: Any) -> tuple[int, bytes, bytes]:
    match one:
        case [bytes(number), [b"d", bytes(sealed), b"m", bytes(member)]]:
            return _number(number.removesuffix(b"-0")), member, sealed
        case [bytes(number), *_]:
            # Written by another version, or by hand: whatever it says, it is not understood.
            return _number(number.removesuffix(b"-0")), b"", b""
    raise Nonsense("no entry of the log")


def _member(one: Any) -> tuple[bytes, Member]:
    match one:
        case [bytes(name), bytes(pos), bytes(lease)]:
            return name, Member(_number(pos), _number(lease))
    raise Nonsense("no member")


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 15:
        raise Nonsense("no number")
    return int(text)

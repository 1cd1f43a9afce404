"""Parses the replies of ``open.lua`` and ``beat.lua``, and derives from them what members have read. Pure rules.

An invalid reply is refused, never used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

_EPOCH = re.compile(rb"[0-9a-f]{16}")
_WAKE = re.compile(rb"s ([0-9a-f]{16}) ([0-9]{1,15})")
_ACK = re.compile(rb"a ([0-9a-f]{16}) ([!-~]{1,200}) ([0-9]{1,15})")


class InvalidMembers(Exception):
    """A reply or message that none of our scripts sends."""


@frozen(slots=True)
class Member:
    """One worker, as Redis lists it.

    :param pos: number of the last log entry that it has applied.
    :param lease: the end of its lease, in milliseconds of Redis's time.
    :param seen: monotonic seconds of this process at which it first saw this end of the lease.
    """

    pos: int
    lease: int
    seen: float = 0.0


@frozen(slots=True)
class OpenReply:
    """The reply of ``open.lua``: the epoch in Redis, which a worker needs before its first heartbeat.

    :param names: the sealed secret for names of keys.
    :param now: milliseconds of Redis's time.
    :param begun: whether this worker has started the epoch.
    """

    epoch: bytes
    names: bytes = field(repr=False)
    now: int
    begun: bool


@frozen(slots=True)
class HeartbeatReply:
    """The reply of ``beat.lua`` to a heartbeat: new log entries, and what each member has read.

    :param now: milliseconds of Redis's time.
    :param began: start of the epoch, in milliseconds of Redis's time.
    :param seq: number of the last entry in the log.
    :param said: number of the last entry that this heartbeat has appended; 0 for none.
    :param pos: number of the entry after which ``entries`` start.
    :param entries: number, id of the sender (empty: a burial, or an entry that is not understood), the sealed news.
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
        """Whether the entries follow ``pos`` without a gap."""
        if self.pos > self.seq or (self.seq > self.pos and not self.entries):
            return False
        return all(number == self.pos + 1 + i for i, (number, _, _) in enumerate(self.entries))

    @property
    def last(self) -> int:
        """Number of the last of ``entries``; ``pos`` if there are none."""
        return self.entries[-1][0] if self.entries else self.pos


@frozen(slots=True)
class MembersView:
    """The members at one moment of an epoch.

    :param now: that moment, in milliseconds of Redis's time; 0: no heartbeat was answered yet.
    :param began: start of the epoch, in the same time.
    """

    epoch: bytes = b""
    now: int = 0
    began: int = 0
    members: Mapping[bytes, Member] = field(factory=dict)

    def followed_by(self, epoch: bytes, beat: HeartbeatReply, at: float) -> MembersView:
        """Return the view after the next heartbeat.

        :param at: monotonic seconds of this process at which its reply came.
        """
        found = {}
        for name, one in beat.members.items():
            before = self.members.get(name) if epoch == self.epoch else None
            same = before is not None and before.lease == one.lease
            found[name] = evolve(one, seen=before.seen if before is not None and same else at)
        return MembersView(epoch, beat.now, beat.began, found)

    def vanished(self, own: bytes) -> list[bytes]:
        """Return the other members whose lease has run out and that have not left."""
        return [name for name, one in self.members.items() if name != own and one.lease < self.now]

    def read_by_all(self, own: bytes) -> int:
        """Return the number of the entry up to which all other members have read, vanished ones included."""
        others = (one.pos for name, one in self.members.items() if name != own)
        return min(others, default=1 << 60)

    def have_read(self, own: bytes, seq: int, held_ms: int, at: float) -> bool:
        """Whether no other member can still serve what entry ``seq`` invalidates.

        A lease counts as run out only if both Redis's clock and this process's own say so.

        :param held_ms: length of a lease: one from before this epoch may last this long after the epoch's start.
        :param at: monotonic seconds of this process.
        """
        if self.now < self.began + held_ms:
            return False
        since = at - held_ms / 1000
        others = (one for name, one in self.members.items() if name != own)
        return all(one.pos >= seq or (one.lease < self.now and one.seen < since) for one in others)

    def with_ack(self, ack: ReadAck) -> MembersView:
        """Return the view after a member has acknowledged entries."""
        one = self.members.get(ack.member)
        if ack.epoch != self.epoch or one is None or one.pos >= ack.pos:
            return self
        return evolve(self, members={**self.members, ack.member: evolve(one, pos=ack.pos)})


@frozen(slots=True)
class WakeMessage:
    """A worker has appended an urgent entry, and waits until the others have read it."""

    epoch: bytes
    seq: int


@frozen(slots=True)
class ReadAck:
    """A member has read up to entry ``pos``."""

    epoch: bytes
    member: bytes
    pos: int


def wake_up(payload: bytes) -> WakeMessage | ReadAck | None:
    """Parse a message of the channel; None if it is invalid."""
    if (found := _WAKE.fullmatch(payload)) is not None:
        return WakeMessage(found[1], int(found[2]))
    if (found := _ACK.fullmatch(payload)) is not None:
        return ReadAck(found[1], found[2], int(found[3]))
    return None


def refused(reply: Sequence[Any]) -> bytes | None:
    """Return why a script did nothing (``epoch`` or ``late``); None if it ran.

    :raise InvalidMembers: the reply says neither.
    """
    word = reply[0] if reply else None
    if word == b"ok":
        return None
    if word in (b"epoch", b"late"):
        assert isinstance(word, bytes)
        return word
    raise InvalidMembers("no reply of a script")


def opened(reply: Sequence[Any]) -> OpenReply:
    """Parse the reply of ``open.lua``.

    :raise InvalidMembers: it is invalid.
    """
    match reply:
        case [b"ok", bytes(epoch), bytes(names), int(now), int(begun)] if _EPOCH.fullmatch(epoch):
            return OpenReply(epoch, names, now, bool(begun))
    raise InvalidMembers("no reply of open")


def beat(reply: Sequence[Any]) -> HeartbeatReply:
    """Parse the reply of ``beat.lua``.

    :raise InvalidMembers: it is invalid.
    """
    match reply:
        case [b"ok", int(now), int(began), int(seq), int(said), int(pos), list(news), list(members)]:
            entries = tuple(_entry(one) for one in news)
            return HeartbeatReply(now, began, seq, said, pos, entries, dict(_member(one) for one in members))
    raise InvalidMembers("no reply of beat")


def _entry(one: Any) -> tuple[int, bytes, bytes]:
    match one:
        case [bytes(number), [b"d", bytes(sealed), b"m", bytes(member)]]:
            return _number(number.removesuffix(b"-0")), member, sealed
        case [bytes(number), *_]:
            # Written by another version, or by hand: it cannot be decrypted, and so counts as ``EverythingStale``.
            return _number(number.removesuffix(b"-0")), b"", b""
    raise InvalidMembers("no entry of the log")


def _member(one: Any) -> tuple[bytes, Member]:
    match one:
        case [bytes(name), bytes(pos), bytes(lease)]:
            return name, Member(_number(pos), _number(lease))
    raise InvalidMembers("no member")


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 15:
        raise InvalidMembers("no number")
    return int(text)

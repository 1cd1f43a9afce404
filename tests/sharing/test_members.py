"""Redis's replies are checked against what the scripts can return."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing import members
from hospproxy.sharing.members import (
    HeartbeatReply,
    InvalidMembers,
    Member,
    MembersView,
    ReadAck,
    WakeMessage,
)

EPOCH = b"0123456789abcdef"


def beat(*numbers: int, seq: int = 9, pos: int = 5) -> HeartbeatReply:
    entries = tuple((number, b"m", b"sealed") for number in numbers)
    return HeartbeatReply(0, 0, seq, 0, pos, entries, {})


class BeatTests(SynchronousTestCase):
    def test_anything_missing_is_noticed(self) -> None:
        self.assertTrue(beat(6, 7, 8, 9).unbroken)
        self.assertTrue(beat(6, 7).unbroken)  # the rest comes with the next reply
        self.assertTrue(beat(seq=5).unbroken)
        self.assertFalse(beat(7, 8, 9).unbroken)
        self.assertFalse(beat(6, 8, 9).unbroken)
        self.assertFalse(beat().unbroken)
        self.assertFalse(beat(seq=4).unbroken)

    def test_replies_are_read_as_they_are(self) -> None:
        reply = [b"ok", 5, 1, 7, 7, 6, [[b"7-0", [b"d", b"x", b"m", b"a"]]], [[b"a", b"6", b"1234"]]]
        found = members.beat(reply)
        self.assertEqual(found.entries, ((7, b"a", b"x"),))
        self.assertEqual(found.members, {b"a": Member(6, 1234)})
        self.assertEqual(found.last, 7)
        self.assertEqual(members.opened([b"ok", EPOCH, b"names", 5, 1]).epoch, EPOCH)
        self.assertIsNone(members.refused([b"ok"]))
        self.assertEqual(members.refused([b"late"]), b"late")

    values = st.recursive(
        st.one_of(st.none(), st.integers(), st.binary(max_size=8), st.just(b"ok"), st.just(b"7-0")),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    )

    @given(st.lists(values, max_size=9))
    @settings(deadline=None, derandomize=True)
    def test_nonsense_is_never_more_than_nonsense(self, reply: list[Any]) -> None:
        for judge in (members.beat, members.opened, members.refused):
            with contextlib.suppress(InvalidMembers):
                judge(reply)

    @given(st.binary(max_size=60))
    @settings(deadline=None, derandomize=True)
    def test_nor_is_what_comes_by_the_channel(self, payload: bytes) -> None:
        members.wake_up(payload)

    def test_wake_ups(self) -> None:
        self.assertEqual(members.wake_up(b"s " + EPOCH + b" 12"), WakeMessage(EPOCH, 12))
        self.assertEqual(members.wake_up(b"a " + EPOCH + b" m.1-a 12"), ReadAck(EPOCH, b"m.1-a", 12))
        self.assertIsNone(members.wake_up(b"s " + EPOCH + b" -1"))
        self.assertIsNone(members.wake_up(b"a " + EPOCH + b" 12"))


class ViewTests(SynchronousTestCase):
    def view(self, pos: int, lease: int, seen: float = 0.0, now: int = 10_000) -> MembersView:
        return MembersView(EPOCH, now, 0, {b"own": Member(0, now + 1), b"b": Member(pos, lease, seen)})

    def test_who_has_read_is_not_waited_for(self) -> None:
        self.assertTrue(self.view(7, 12_000).have_read(b"own", 7, 2000, 100.0))
        self.assertFalse(self.view(6, 12_000).have_read(b"own", 7, 2000, 100.0))

    def test_that_alease_is_over_both_clocks_must_say(self) -> None:
        self.assertTrue(self.view(6, 9_999, seen=90.0).have_read(b"own", 7, 2000, 100.0))
        self.assertFalse(self.view(6, 9_999, seen=99.0).have_read(b"own", 7, 2000, 100.0))
        self.assertFalse(self.view(6, 10_001, seen=90.0).have_read(b"own", 7, 2000, 100.0))

    def test_leases_of_the_life_before_are_waited_for(self) -> None:
        self.assertFalse(self.view(7, 12_000, now=1_999).have_read(b"own", 7, 2000, 100.0))

    def test_an_ack_of_another_epoch_says_nothing(self) -> None:
        view = self.view(6, 12_000)
        self.assertEqual(view.with_ack(ReadAck(b"f" * 16, b"b", 9)).members[b"b"].pos, 6)
        self.assertEqual(view.with_ack(ReadAck(EPOCH, b"b", 9)).members[b"b"].pos, 9)
        self.assertEqual(view.with_ack(ReadAck(EPOCH, b"b", 3)).members[b"b"].pos, 6)
        self.assertEqual(set(view.with_ack(ReadAck(EPOCH, b"c", 3)).members), {b"own", b"b"})
        self.assertEqual(view.vanished(b"own"), [])

    def test_a_lease_is_as_old_as_it_was_seen_first(self) -> None:
        reply = HeartbeatReply(10_500, 0, 0, 0, 0, (), {b"b": Member(6, 12_000), b"c": Member(0, 1)})
        followed = self.view(5, 12_000, seen=50.0).followed_by(EPOCH, reply, 60.0)
        self.assertEqual(followed.members[b"b"], Member(6, 12_000, 50.0))
        self.assertEqual(followed.members[b"c"].seen, 60.0)
        self.assertEqual(followed.vanished(b"own"), [b"c"])
        self.assertEqual(followed.followed_by(b"f" * 16, reply, 70.0).members[b"b"].seen, 70.0)

"""Redis's replies are parsed strictly, incrementally, and within bounds."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing import replies
from hospproxy.sharing.replies import ErrorReply, InvalidReply, ReplyParser

VALUES = st.recursive(
    st.none() | st.binary(max_size=40) | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


def spelled(value: Any) -> bytes:
    """Encode a value as Redis does."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(spelled, value))


def read(*pieces: bytes) -> list[Any]:
    reader = ReplyParser()
    return [reply for piece in pieces for reply in reader.feed(piece)]


class ReplyTests(SynchronousTestCase):
    """Tests of ``ReplyParser``."""

    @settings(deadline=None)
    @given(st.lists(VALUES, max_size=4), st.integers(1, 30))
    def test_whatever_is_written_is_read(self, values: list[Any], size: int) -> None:
        """Whatever the pieces in which it arrives."""
        data = b"".join(map(spelled, values))
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        self.assertEqual(read(*pieces), values)

    def test_statuses_and_errors(self) -> None:
        """Only the name of an error is kept: the rest may repeat the command."""
        ok, oom, odd = read(b"+OK\r\n-OOM secret\r\n-err 'secret'\r\n")
        self.assertEqual((ok, oom.code, odd.code), (b"OK", "OOM", "ERR"))
        self.assertNotIn("secret", repr([oom, odd, str(oom), oom.args]))
        self.assertIsInstance(oom, ErrorReply)

    def test_null_and_empty_lists(self) -> None:
        self.assertEqual(read(b"*-1\r\n*0\r\n*2\r\n*0\r\n$0\r\n\r\n"), [None, [], [[], b""]])

    def test_nonsense(self) -> None:
        """Every kind of nonsense is detected at once; complete replies before it count."""
        for data in (
            b"x", b"\r\n", b">2\r\n", b"%1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"HTTP/1.1 400 Bad Request\r\n",
            b"$x\r\n", b"$\r\n", b"$-2\r\n", b"*-2\r\n", b":1.5\r\n", b":\r\n", b": 1\r\n", b"$1_0\r\n",
            b"$3\r\nabcde", b"*1\r\n-ERR x\r\n", b"$" + b"9" * 40 + b"\r\n", b"*1\r\n" * 17,
        ):  # fmt: skip
            reader, found = ReplyParser(), []
            with self.assertRaises(InvalidReply):
                found += [b"not yet"]
                for reply in reader.feed(b":7\r\n" + data):
                    found.append(reply)
            self.assertEqual(found, [b"not yet", 7], data)

    def test_too_long_is_refused_before_it_comes(self) -> None:
        for data in (
            b"$%d\r\n" % (replies.MOST_BYTES + 1),
            b"$9223372036854775807\r\n",
            b"*%d\r\n" % (replies.MOST_VALUES + 1),
            b"*2\r\n*%d\r\n" % (replies.MOST_VALUES - 1),
            b"+" + b"a" * replies.MOST_LINE,
            b"*2\r\n$%d\r\n" % replies.MOST_BYTES,
        ):
            with self.assertRaises(InvalidReply):
                read(data)

    def test_the_bound_is_for_one_reply(self) -> None:
        """It does not limit the total of a connection."""
        self.patch(replies, "MOST_BYTES", 100)
        self.assertEqual(read(*[spelled(b"a" * 80)] * 5), [b"a" * 80] * 5)
        with self.assertRaises(InvalidReply):
            read(b"*2\r\n" + spelled(b"a" * 50) * 2)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=30), max_size=8))
    @example([b"*1\r\n*1\r\n", b"$-1\r\n"])
    def test_no_bytes_do_harm(self, pieces: list[bytes]) -> None:
        """Any bytes raise at most Nonsense, and nothing of them is kept."""
        reader = ReplyParser()
        with contextlib.suppress(InvalidReply):
            for piece in pieces:
                list(reader.feed(piece))
        self.assertLessEqual(len(reader._buffer), sum(map(len, pieces)))

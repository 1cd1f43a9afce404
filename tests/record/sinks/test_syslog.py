from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.interfaces import IAuditWriter
from hospproxy.options.syslog_section import SyslogSettings
from hospproxy.record.sinks.overlap import Overlap
from hospproxy.record.sinks.syslog import LARGE, MIN_INTERVAL_S, SyslogSink, writer_for
from hospproxy.record.sinks.syslog_message import SyslogFormat, chunks, framed, message, severity_of
from hospproxy.record.trail.follower import Batch, Cursor

BOM = b"\xef\xbb\xbf"


def frames(stream: bytes) -> list[bytes]:
    """Splits frames with octet counting (RFC 6587 §3.4.1)."""
    found = []
    while stream:
        length, space, rest = stream.partition(b" ")
        assert space and re.fullmatch(rb"[1-9][0-9]*", length), length
        assert len(rest) >= int(length)
        found.append(rest[: int(length)])
        stream = rest[int(length) :]
    return found


def parsed(raw: bytes) -> tuple[list[str], str, dict[str, str], bytes]:
    """RFC 5424 §6, read a byte at a time: header fields, SD-ID, its parameters, MSG."""
    fields, at = [], 0
    for _ in range(6):
        end = raw.index(b" ", at)
        fields.append(raw[at:end].decode("ascii"))
        assert all(33 <= byte <= 126 for byte in raw[at:end])
        at = end + 1
    assert raw[at : at + 1] == b"["
    end = raw.index(b" ", at)
    name, at, members = raw[at + 1 : end].decode("ascii"), end, {}
    while raw[at : at + 1] == b" ":
        end = raw.index(b'="', at)
        key, at, value = raw[at + 1 : end].decode("ascii"), end + 2, bytearray()
        while raw[at : at + 1] != b'"':
            assert raw[at : at + 1] != b"]", "an unescaped bracket"
            at += raw[at : at + 1] == b"\\"
            value += raw[at : at + 1]
            at += 1
        members[key] = value.decode("utf-8")
        at += 1
    assert raw[at : at + 2] == b"] "
    return fields, name, members, raw[at + 2 :]


def batch(*lines: bytes, last: int = 0, trail: str = "t") -> Batch:
    head = sha256(lines[-1]).hexdigest()
    return Batch(lines, head, Cursor("w0", 1, 0, last or len(lines)), trail)


def line(**record: Any) -> bytes:
    return msgspec.json.encode({"kind": "request", **record})


hostile = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ['"', "\\", "]", '"] <1>1', "\n12 <1>1 ", "\0", "\\]", '\\"', "é" * 300]
)


class MessageTests(SynchronousTestCase):
    def test_an_example(self) -> None:
        text = line(time="2026-11-24T13:15:36.123Z", outcome="success", name="Åsa")
        form = SyslogFormat(hostname="proxy.example")
        digest = sha256(text).hexdigest()
        self.assertEqual(
            message(form, batch(text, last=17, trail='a"b'), 0),
            b"<110>1 2026-11-24T13:15:36.123Z proxy.example hospproxy - request [hospproxy@32473"
            + f' trail="a\\"b" journal="w0" seq="17" hash="{digest}" head="{digest}"] '.encode()
            + BOM
            + text,
        )

    @given(hostile, hostile, hostile, hostile, hostile, st.booleans(), st.integers(0, 23))
    def test_nothing_that_stands_in_a_record_breaks_the_frame_or_the_structure(
        self, trail: str, kind: str, time: str, host: str, value: str, bom: bool, facility: int
    ) -> None:
        lines = line(kind=kind, time=time, value=value), b"no JSON at all \xff" + value.encode()
        given_ = batch(*lines, trail=trail)
        form = SyslogFormat(facility=facility, hostname=host, bom=bom, max_bytes=1 << 20)
        raw = frames(b"".join(chunks(form, [given_])))
        self.assertEqual(len(raw), 2)
        for index, one in enumerate(raw):
            fields, name, members, text = parsed(one)
            self.assertEqual(name, "hospproxy@32473")
            self.assertEqual(members["trail"], trail)
            self.assertEqual((members["seq"], members["head"]), (str(index + 1), given_.head))
            self.assertEqual(members["hash"], sha256(lines[index]).hexdigest())
            self.assertEqual(text, (BOM if bom else b"") + lines[index])
            self.assertEqual(fields[0], f"<{facility * 8 + 6}>1")
            self.assertTrue(0 < len(fields[5]) <= 32 and 0 < len(fields[2]) <= 255, fields)

    @given(st.text(max_size=3000), st.integers(1024, 2000))
    def test_a_long_line_is_cut_between_characters_and_says_so(self, value: str, most: int) -> None:
        text = line(value=value + "é" * 1200)
        whole = batch(text)
        raw = message(SyslogFormat(max_bytes=most), whole, 0)
        _, _, members, cut = parsed(raw)
        self.assertLessEqual(len(raw), most)
        self.assertEqual((members["bytes"], members["hash"]), (str(len(text)), sha256(text).hexdigest()))
        cut.decode()
        self.assertTrue(text.startswith(cut.removeprefix(BOM)))
        self.assertGreater(len(raw), most - 4)

    def test_what_is_not_too_long_is_not_cut(self) -> None:
        text = line(value="x" * 3000)
        most = len(message(SyslogFormat(max_bytes=1 << 20), batch(text), 0))
        self.assertTrue(message(SyslogFormat(max_bytes=most), batch(text), 0).endswith(text))
        self.assertFalse(message(SyslogFormat(max_bytes=most - 1), batch(text), 0).endswith(text))

    def test_times_that_the_rfc_does_not_allow(self) -> None:
        for time, good in (
            ("2026-11-24T13:15:36Z", True),
            ("2026-11-24T13:15:36.123456+01:00", True),
            ("2026-11-24T13:15:36.1234567Z", False),
            ("2026-11-24T13:15:60Z", False),
            ("2026-13-24T13:15:36Z", False),
            ("2026-11-24 13:15:36Z", False),
            ("２026-11-24T13:15:36Z", False),
            ("2026-11-24T13:15:36Z\n", False),
            (17, False),
        ):
            fields, _, _, _ = parsed(message(SyslogFormat(), batch(line(time=time)), 0))
            self.assertEqual(fields[1], time if good else "-", time)

    def test_severities(self) -> None:
        for record, severity in (
            ({"kind": "request", "outcome": "success"}, 6),
            ({"kind": "request", "outcome": "refused"}, 6),
            ({"kind": "request", "outcome": "unknown"}, 5),
            ({"kind": "own", "outcome": "failed after sending"}, 5),
            ({"kind": "alert"}, 4),
            ({"kind": "gap"}, 4),
            ({"kind": [], "outcome": {}}, 6),
            ({}, 6),
        ):
            self.assertEqual(severity_of(record), severity, record)

    def test_chunks_are_bounded_and_lose_nothing(self) -> None:
        lines = [line(n=n, value="x" * 1000) for n in range(300)]
        parts = list(chunks(SyslogFormat(), [batch(*lines[:100]), batch(*lines[100:], last=300)]))
        self.assertLess(max(map(len, parts)), 70_000)
        self.assertEqual([parsed(one)[3] for one in frames(b"".join(parts))], [BOM + each for each in lines])
        self.assertEqual(list(chunks(SyslogFormat(), [])), [])
        self.assertEqual(framed(b"abc"), b"3 abc")


class OverlapTests(SynchronousTestCase):
    def test_what_is_kept(self) -> None:
        overlap = Overlap(10, 1000)
        one, two, three = (batch(line(n=n)) for n in range(3))
        overlap.confirmed(one, 0)
        overlap.confirmed(two, 9)
        self.assertEqual(overlap.batches, (one, two))
        overlap.confirmed(three, 11)
        self.assertEqual(overlap.batches, (two, three))
        overlap.renewed(100)
        overlap.confirmed(one, 109)
        self.assertEqual(overlap.batches, (two, three, one))

    def test_it_is_bounded_in_bytes(self) -> None:
        overlap = Overlap(10, 1000)
        small, large = batch(line(n=1)), batch(line(n="x" * 960))
        for each in (small, large):
            overlap.confirmed(each, 0)
        self.assertEqual(overlap.batches, (large,))
        overlap.confirmed(batch(line(n="x" * 1000)), 0)
        self.assertEqual(overlap.batches, ())


class FakeDelivery:
    def __init__(self) -> None:
        self.lost = False
        self.on_lost: Any = None
        self.done: Deferred[None] = Deferred()
        self.sent = b""
        self.aborted = self.dropped = False

    def deliver(self, parts: Iterator[bytes]) -> Deferred[None]:
        self.sent = b"".join(parts)
        return self.done

    def abort(self) -> None:
        self.aborted = True

    def drop(self) -> None:
        self.dropped = True

    def break_off(self) -> None:
        self.lost = True
        if self.on_lost is not None:
            self.on_lost()

    @property
    def seqs(self) -> list[int]:
        return [int(parsed(one)[2]["seq"]) for one in frames(self.sent)]


class WriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.made: list[FakeDelivery] = []
        self.refusing = False
        self.writer = SyslogSink(SyslogFormat(), self.connect, self.clock, Overlap(30, 1 << 20))

    async def connect(self) -> FakeDelivery:
        if self.refusing:
            raise ConnectionRefusedError
        self.made.append(FakeDelivery())
        return self.made[-1]

    def write(self, seq: int) -> Deferred[None]:
        self.clock.advance(MIN_INTERVAL_S)
        return Deferred.fromCoroutine(self.writer.write(batch(line(n=seq), last=seq)))

    def written(self, seq: int) -> FakeDelivery:
        writing = self.write(seq)
        delivery = self.made[-2]
        self.assertNoResult(writing)
        delivery.done.callback(None)
        self.successResultOf(writing)
        return delivery

    def test_it_is_a_writer(self) -> None:
        verifyObject(IAuditWriter, self.writer)

    def test_a_batch_is_done_when_it_is_confirmed_and_never_before(self) -> None:
        self.assertEqual(self.written(1).seqs, [1])
        self.assertEqual(self.written(2).seqs, [2])
        self.assertEqual(len(self.made), 3, "one is in use, and one waits")
        self.assertFalse(any(each.aborted for each in self.made))

    def test_a_failure_is_the_carriers_and_the_overlap_goes_first_then(self) -> None:
        self.written(1)
        writing = self.write(2)
        self.made[-2].done.errback(ValueError())
        self.failureResultOf(writing, ValueError)
        self.assertTrue(self.made[-2].aborted)
        self.assertEqual(self.written(2).seqs, [1, 2])
        self.assertEqual(self.written(3).seqs, [3])

    def test_a_receiver_that_went_while_nothing_was_sent(self) -> None:
        self.written(1)
        self.made[-1].break_off()
        self.assertEqual(self.written(2).seqs, [1, 2])

    def test_a_receiver_that_went_while_it_confirmed(self) -> None:
        self.written(1)
        writing = self.write(2)
        self.made[-1].break_off()
        self.made[-2].done.callback(None)
        self.successResultOf(writing)
        self.assertEqual(self.written(3).seqs, [1, 2, 3])

    def test_a_receiver_that_cannot_be_reached(self) -> None:
        self.written(1)
        self.refusing = True
        self.failureResultOf(self.write(2), ConnectionRefusedError)
        self.assertTrue(self.made[-1].aborted, "no connection is left behind")
        self.refusing = False
        self.assertEqual(self.written(2).seqs, [1, 2])

    def test_what_was_confirmed_long_before_the_last_is_not_sent_again(self) -> None:
        self.written(1)
        self.clock.advance(31)
        self.written(2)
        self.clock.advance(1000)
        self.made[-1].break_off()
        self.assertEqual(self.written(3).seqs, [2, 3])

    def test_a_write_that_is_cancelled(self) -> None:
        self.written(1)
        writing = self.write(2)
        writing.cancel()
        self.failureResultOf(writing, CancelledError)
        self.assertTrue(self.made[-2].aborted)
        self.assertEqual(self.written(2).seqs, [1, 2])

    def test_small_batches_wait_and_large_ones_do_not(self) -> None:
        self.written(1)
        writing = Deferred.fromCoroutine(self.writer.write(batch(line(n=2), last=2)))
        self.assertEqual(len(self.made), 2)
        self.clock.advance(MIN_INTERVAL_S)
        self.assertEqual(len(self.made), 3)
        self.made[-2].done.callback(None)
        self.successResultOf(writing)
        large = batch(*(line(n=n) for n in range(LARGE)))
        Deferred.fromCoroutine(self.writer.write(large))
        self.assertEqual(len(self.made), 4)

    def test_open_connects_and_close_lets_go(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.writer.open()))
        self.assertEqual(len(self.made), 1)
        self.written(1)
        self.successResultOf(Deferred.fromCoroutine(self.writer.close()))
        self.assertEqual([each.dropped for each in self.made], [False, True])

    def test_settings(self) -> None:
        def made(**section: Any) -> Any:
            upstream = UpstreamSettings(url="http://127.0.0.1:1")
            settings = Settings(upstream=upstream, audit_syslog=SyslogSettings(**section))
            return writer_for(settings, self.clock)

        self.assertIsNone(made())
        verifyObject(IAuditWriter, made(enabled=True, url="tls://syslog.example"))

"""What is remembered of a line is what reading each line like it gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.search.match import time_of
from hospproxy.record.trail.alike import MOST, REQUEST_ID, TIME, AlikeLines
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.scan import record_of

TAIL = b',"seq":%d,"prev":"%b"}'


def line(rest: bytes = b'"who":null', number: int = 7, head: bytes = b"", prev: bytes = b"a" * 64) -> bytes:
    """A line as the journal has it; ``rest`` is what lines that are alike share."""
    begin = (
        b'{"v":1,"kind":"request","time":"2026-11-29T02:01:%02d.815Z","duration_ms":%d.5,"request_id":"r%d",'
    )
    return (head or begin % (number % 60, number, number)) + rest + TAIL % (number, prev)


def in_full(sample: bytes) -> dict[str, Any] | None:
    """Everything but what differs; None if it is not at its place."""
    record = record_of(sample)
    if (record.get("time"), record.get("request_id")) != (TIME, REQUEST_ID):
        return None
    return without(record)


def without(record: dict[str, Any]) -> dict[str, Any]:
    differs = ("time", "request_id", "duration_ms", "seq", "prev")
    return {name: value for name, value in record.items() if name not in differs}


class AlikeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.read: list[bytes] = []
        self.lines = AlikeLines(self.reading)

    def reading(self, sample: bytes) -> dict[str, Any] | None:
        self.read.append(sample)
        return in_full(sample)

    def test_the_second_is_read_and_all_after_it_are_known(self) -> None:
        self.assertIsNone(self.lines.of(line(number=1)))
        for number in (2, 3, 4):
            time_ms, request_id, known = self.lines.of(line(number=number)) or (0, b"", {})
            self.assertEqual((time_ms, request_id), (1795917660815 + number * 1000, b"r%d" % number))
            self.assertEqual(known, {"v": 1, "kind": "request", "who": None})
        self.assertEqual(len(self.read), 1)

    def test_lines_of_another_form_are_never_known(self) -> None:
        begin = line().partition(b'"who"')[0]
        odd = [
            line(head=begin.replace(b'"request"', b'"own"')),
            line(head=begin.replace(b'"r7"', b'"r\\u0037"')),
            line(head=begin.replace(b'"r7"', '"rü"'.encode())),
            line(head=begin.replace(b'"r7"', b'""')),
            line(head=begin.replace(b'"r7"', b'"%b"' % (b"r" * 201))),
            line(head=begin.replace(b"7.5", b"07.5")),
            line(head=begin.replace(b"7.5", b"7.5.5")),
            line(head=begin.replace(b"815Z", b"815")),
            line(head=begin.replace(b'"v":1', b'"v":2')),
            line(prev=b"a" * 63),
            line(prev=b"g" * 64),
            line().replace(b'"seq":7', b'"seq":07'),
            line().replace(b'"seq":7', b'"seq":-7'),
            line()[:-1] + b',"signature":"a"}',
            line() + b" ",
            begin[:-1] + TAIL % (7, b"a" * 64),  # nothing between
            line(b'"who":"%b"' % (b"x" * 3000)),
            b"",
            b"\xff" * 300,
        ]
        for each in odd:
            for _ in range(3):
                self.assertIsNone(self.lines.of(each), each)
        self.assertEqual(self.read, [])

    def test_a_line_that_names_a_value_again_is_read_each_time(self) -> None:
        for rest in (b'"who":null,"time":"2026-11-29T02:01:07.815Z"', b'"who":null,"request_id":"r7"',
                     b'"who":{"a":1', b'"who":"\\', b'"who":"', b"}"):  # fmt: skip
            for _ in range(3):
                self.assertIsNone(self.lines.of(line(rest)), rest)

    def test_memory_is_bounded(self) -> None:
        lines = AlikeLines(in_full, most=10)
        for number in range(200):
            for _ in range(2):
                lines.of(line(b'"who":%d' % number))
            lines.of(line(b'"once":%d' % number))
        self.assertLessEqual(len(lines), 10)
        self.assertLessEqual(len(lines._once), 2 * 10)
        self.assertGreater(MOST, 100)

    @given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3), st.integers(0, 3))
    @settings(max_examples=600, deadline=None)
    def test_what_is_known_is_what_each_line_says(self, changes: list[tuple[int, int]], kind: int) -> None:
        names = ["Ada", 'q"', "ü\u2028", {"id": 1, "time": "x"}]
        rest = encode_record({"who": names[kind], "status": 200, "rule_hits": []})[1:-1]
        lines = AlikeLines(in_full)
        for number in range(1, 5):
            made = bytearray(line(rest, number))
            for at, byte in changes:
                made[at % len(made)] = byte
            found = lines.of(bytes(made))
            if found is not None:
                record = record_of(bytes(made))
                self.assertEqual((time_of(record), record["request_id"].encode()), found[:2])
                self.assertEqual(without(record), found[2])

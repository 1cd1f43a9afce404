"""The quick decoder gives the same values as the rule, for any line."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.columns import entries
from hospproxy.record.columns.entries import Entry, RowEncoder, SetMember, entry_of
from hospproxy.record.search.record_values import coded
from hospproxy.record.trail.hash_chain import ChainHead, linked
from hospproxy.record.trail.record_line import encode_record

from ..random_records import any_record

TEXTS = st.sampled_from(["", "a", "ü" * 200, "a" * 201, "a\0b", "7", "log-in failure", "refused", 'q"uote'])
VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXTS
    | st.lists(TEXTS, max_size=2)
)
OBJECTS = VALUES | st.dictionaries(st.sampled_from(["id", "name", "request_id", "address", "set"]), VALUES)
TIMES = VALUES | st.sampled_from(
    [
        "2026-11-28T22:56:07.123Z", "2026-11-28T22:56:60.123Z", "0001-01-01T00:00:00.000Z", "2026-11-28T22:56:07Z",
        "2026-W48-6T22:56:07.12Z", "2026-11-28 22:56:07.999Z", "2026-11-28T22:56:07.1²3Z", "2026-11-28T22:56:07.123+",
        "2026-11-28T22:56:07.123456+02:00",
    ]
)  # fmt: skip
FIELDS = ("request_id", "route", "action", "resource", "record_id", "patient_id", "outcome", "status", "set")
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "kind": VALUES | st.sampled_from(["request", "own", "alert", "look", "disclosure", "intent"]),
        "time": TIMES,
        **dict.fromkeys(("who", "on_behalf_of", "client", "disclosed"), OBJECTS),
        **dict.fromkeys(FIELDS, VALUES),
        "patients": VALUES,
        "other": VALUES,
    },
)


def by_rule(line: bytes) -> tuple[entries.Entry, tuple[SetMember, ...]]:
    one = coded(line, 0)
    members = tuple(SetMember("s", one.declares, each) for each in one.patients) if one.declares else ()
    return entries._entry(one, "s", 3, 9), members


class EntryTests(SynchronousTestCase):
    @given(RECORDS)
    @settings(max_examples=1500, deadline=None)
    def test_any_record(self, record: dict[str, Any]) -> None:
        line = msgspec.json.encode(record)
        self.assertEqual(entry_of(line, "s", 3, 9), by_rule(line))

    @given(
        st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3)
    )
    @settings(max_examples=500, deadline=None)
    @example(1, [(20, 0xFF)])
    def test_any_damage(self, seed: int, changes: list[tuple[int, int]]) -> None:
        line = bytearray(msgspec.json.encode(any_record(random.Random(seed))))
        for at, byte in changes:
            line[at % len(line)] = byte
        self.assertEqual(entry_of(bytes(line), "s", 3, 9), by_rule(bytes(line)))

    def test_doubled_names(self) -> None:
        for line in (
            b'{"kind":"request","time":"x","status":200,"status":401}',
            b'{"kind":"request","time":"x","who":{"id":1},"who":{"name":"Ada"}}',
            b'{"kind":"own","kind":"alert","time":"x","action":null,"action":"read"}',
        ):
            self.assertEqual(entry_of(line, "s", 3, 9), by_rule(line))


class RowTests(SynchronousTestCase):
    def assert_same(self, encoder: RowEncoder, line: bytes, number: int) -> None:
        entry, members = entry_of(line, "audit-w0-1", number, 9 * number)
        row, declared = encoder.row(line, "audit-w0-1", number, 9 * number)
        self.assertTrue(row.endswith(b"}\n"))
        self.assertEqual(msgspec.json.decode(row, type=Entry), entry)
        self.assertEqual(declared, members)

    @given(RECORDS, st.booleans())
    @settings(max_examples=800, deadline=None)
    def test_lines_that_are_alike(self, record: dict[str, Any], plain: bool) -> None:
        encoder = RowEncoder()
        for number in range(1, 5):
            head = {
                "v": 1, "kind": "request", "time": f"2026-11-28T22:56:0{number}.123Z", "duration_ms": 0.5,
                "request_id": f"r{number}",
            }  # fmt: skip
            rest = {name: value for name, value in record.items() if not plain or name not in head}
            # A name that comes again stands behind the first, as no record of ours has it.
            inner = b",".join(encode_record(each)[1:-1] for each in (head, rest) if each)
            [line], _ = linked([b"{" + inner + b"}"], ChainHead(seq=number))
            self.assert_same(encoder, line, number)

    def test_most_lines_are_alike(self) -> None:
        encoder = RowEncoder()
        for number in range(1, 5):
            [line], _ = linked([encode_record(any_request(number))], ChainHead(seq=number))
            self.assert_same(encoder, line, number)
        self.assertEqual(len(encoder._alike), 1)


def any_request(number: int) -> dict[str, Any]:
    return {
        "v": 1, "kind": "request", "time": f"2026-11-28T22:56:0{number}.123Z", "duration_ms": 0.5,
        "request_id": f"r{number}", "who": {"id": 7, "name": "Ada"}, "status": 401, "action": "read",
    }  # fmt: skip

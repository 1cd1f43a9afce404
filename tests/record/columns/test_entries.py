"""The quick decoder gives the same values as the rule, for any line."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.columns import entries
from hospproxy.record.columns.entries import SetMember, entry_of
from hospproxy.record.search.record_values import coded

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

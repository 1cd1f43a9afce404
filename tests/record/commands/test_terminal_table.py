from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.commands.terminal_table import table
from hospproxy.record.export.texts import columns_of

from ..export.rows import row, texts

RECORD = {
    "kind": "request", "time": "2026-11-24T13:15:36.123Z", "who": {"id": 7, "name": "Ana"}, "action": "read",
    "resource": "notes", "record_id": "17", "patient_id": "9", "outcome": "success", "status": 200,
    "client": {"address": "192.0.2.7"}, "request_id": "0123456789abcdef0123456789abcdef", "route": "/notes/{id}",
}  # fmt: skip


def shown(*records: dict[str, Any], columns: int | None = None, colours: bool = False) -> list[str]:
    return list(table([row(each) for each in records], columns, colours=colours))


class TableTests(SynchronousTestCase):
    def test_a_record(self) -> None:
        head, line = shown(RECORD)
        self.assertEqual(
            head.split(), ["TIME", "(UTC)", "WHO", "ACTION", "WHAT", "PATIENT", "OUTCOME", "FROM", "REQUEST"]
        )
        self.assertEqual(
            re.split(r"  +", line),
            [
                "2026-11-24 13:15:36", "Ana", "read", "notes/17", "9", "success 200", "192.0.2.7",
                "0123456789abcdef0123456789abcdef",
            ],
        )  # fmt: skip

    def test_other_kinds(self) -> None:
        behalf = {**RECORD, "kind": "own", "on_behalf_of": {"id": 7, "name": "Ana"}, "who": {}}
        alert = {"kind": "alert", "time": "x", "text": "20 failed log-ins"}
        claimed = {
            **RECORD,
            "who": {"id": None, "name": None, "name_hmac": "abcdef0123456789"},
            "action": None,
        }
        named = {**RECORD, "who": {"id": None, "name": "Ana", "certainty": "claimed"}}
        auditor = {**RECORD, "kind": "look", "who": {"id": None, "name": "Ana", "certainty": "auditor"}}
        for each, words in ((named, "Ana (claimed)"), (auditor, "Ana (auditor)")):
            self.assertIn(words, shown(each)[1])
        listed = {**RECORD, "record_id": None, "patient_id": None, "disclosed": {"set": "ab", "count": 12}}
        _, *lines = shown(behalf, alert, claimed, listed, {})
        for line, words in zip(
            lines, ("Ana (proxy)", "20 failed log-ins", "claimed abcdef01", "12 in a list", ""), strict=True
        ):
            self.assertIn(words, line)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["request", "alert", "own"])},
                optional={
                    **dict.fromkeys(
                        ("time", "outcome", "route", "request_id", "text", "patient_id", "action"), texts
                    ),
                    "who": st.builds(lambda name: {"name": name}, texts),
                    "client": st.builds(lambda address: {"address": address}, texts),
                },
            ),
            max_size=4,
        ),
        st.integers(1, 140),
    )
    def test_it_fits_and_nothing_in_it_steers(self, records: list[dict[str, Any]], columns: int) -> None:
        lines = shown(*records, columns=columns)
        self.assertEqual(len(lines), len(records) + 1)
        for line in lines:
            self.assertLessEqual(columns_of(line), columns)
            self.assertTrue(line.isprintable(), repr(line))

    def test_what_is_wide_gives_way_first(self) -> None:
        line = shown(RECORD, columns=100)[1]
        self.assertIn("192.0.2.7", line)
        self.assertIn("…", line)
        self.assertNotIn("REQUEST", shown(RECORD, columns=50)[0])
        self.assertNotIn("…", shown(RECORD)[1])

    def test_colours_say_nothing_that_words_do_not(self) -> None:
        records = [
            RECORD,
            {**RECORD, "status": 401},
            {**RECORD, "outcome": "unknown"},
            {**RECORD, "kind": "own"},
        ]
        plain, coloured = shown(*records), shown(*records, colours=True)
        self.assertEqual([re.sub(r"\x1b\[\d+m", "", line) for line in coloured], plain)
        self.assertEqual(
            [line.startswith("\x1b[31m") for line in coloured], [False, False, True, False, False]
        )
        self.assertTrue(all(line.endswith("\x1b[0m") for line in coloured if "\x1b" in line))

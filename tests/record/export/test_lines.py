from __future__ import annotations

import asyncio
import csv
import io
from hashlib import sha256
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.export import csv_lines, fhir_lines, jsonl_lines
from hospproxy.record.export.lines import PIECE
from hospproxy.record.export.table import COLUMNS
from hospproxy.record.export.texts import FORMULA_STARTS, cell, columns_of, fitted, visible

from .rows import HOSTILE, Rows, collected, row, texts

RECORD = {
    "kind": "own", "time": "2023-11-14T22:13:20.250Z", "who": {"id": None, "name": None, "certainty": "proxy"},
    "on_behalf_of": {"request_id": "r", "id": 7, "name": "Ana", "certainty": "verified"},
    "own": "look", "client": {"address": "192.0.2.7"}, "action": "search", "route": "/notes", "status": 200,
    "duration_ms": 1.5, "rule_hits": ["a", "b"], "disclosed": {"set": "ab", "count": 3}, "outcome": "success",
}  # fmt: skip


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def written(*rows: Any) -> bytes:
    return b"".join(collected(csv_lines(Rows(rows).iterate())))


class CsvTests(SynchronousTestCase):
    def test_a_row(self) -> None:
        made = row(RECORD, 5, by_list=True)
        (read,) = table(written(made))
        expected = {
            "time": "2023-11-14T22:13:20.250Z", "kind": "own", "action": "search", "outcome": "success",
            "status": "200", "staff_id": "7", "staff_name": "Ana", "certainty": "verified", "own": "look",
            "address": "192.0.2.7", "route": "/notes", "patients_disclosed": "3", "disclosure_set": "ab",
            "in_list": "true", "duration_ms": "1.5", "rule_hits": "a; b", "trail": "ward", "journal": "w0",
            "seq": "5", "hash": sha256(made.line).hexdigest(),
        }  # fmt: skip
        self.assertEqual(read, {**dict.fromkeys(COLUMNS, ""), **expected})

    def test_a_name_that_was_not_proved_is_no_member_of_staffs(self) -> None:
        """Whoever counts the rows of a person counts none of somebody else's attempts in that name."""
        for certainty, column in (
            ("verified", "staff_name"),
            ("claimed", "claimed_name"),
            ("auditor", "auditor_name"),
        ):
            who = {"id": None, "name": "Ana", "certainty": certainty}
            (read,) = table(written(row({"kind": "request", "who": who})))
            names = {
                name: read[name] for name in ("staff_name", "claimed_name", "auditor_name") if read[name]
            }
            self.assertEqual(names, {column: "Ana"})

    def test_as_rfc_4180_has_it(self) -> None:
        data = written(row({"kind": 'a"b', "outcome": "c,d"}))
        self.assertTrue(data.endswith(b"\r\n"))
        self.assertEqual(data.count(b"\r\n"), 2)
        self.assertIn(b'"a""b"', data)
        self.assertIn(b'"c,d"', data)

    def test_the_columns_are_those_that_are_documented(self) -> None:
        """Programs may read columns by position, so new columns go to the end."""
        self.assertEqual(
            written().decode(),
            "time,kind,action,outcome,status,staff_id,staff_name,certainty,own,address,method,route,resource,"
            "record_id,patient_id,patients_disclosed,disclosure_set,in_list,request_id,reference,answered_by,"
            "duration_ms,rule_hits,text,trail,journal,seq,hash,claimed_name,auditor_name\r\n",
        )

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.fixed_dictionaries(dict.fromkeys(("kind", "outcome", "route", "own"), texts)), max_size=5)
    )
    def test_what_was_written_is_read_and_no_cell_is_a_formula(self, records: list[dict[str, str]]) -> None:
        read = table(written(*map(row, records)))
        self.assertEqual(
            [{name: each[name] for name in record} for each, record in zip(read, records, strict=True)],
            [{name: cell(value) for name, value in record.items()} for record in records],
        )
        for each in read:
            for value in each.values():
                self.assertTrue(is_harmless(value), repr(value))
                for part in value.split(";"):
                    self.assertTrue(is_harmless(part), repr(value))


def is_harmless(value: str) -> bool:
    """Whether no spreadsheet would read a cell as a formula."""
    try:
        float(value)
    except ValueError:
        return value.lstrip(" ")[:1] not in tuple(FORMULA_STARTS)
    return True


class CellTests(SynchronousTestCase):
    def test_defused(self) -> None:
        for value, expected in (
            ("=1+1", "'=1+1"), ("＝1", "'＝1"), ("@a", "'@a"), ("-", "'-"), ("+49", "'+49"), ("\t=1", "\\u0009=1"),
            ("\r\n", "\\u000d\\u000a"), (" =1", "' =1"), ("a;=1", "a;'=1"),
            ('a;"=1', "a;'\"=1"), ("\u202ea", "\\u202ea"),
            ("\ud800", "\\ud800"),
            ("\xa0=1", "' =1"), ("\U000e0041", "\\U000e0041"), ("a-b@c", "a-b@c"),
        ):  # fmt: skip
            self.assertEqual(cell(value), expected)

    def test_numbers_stay_numbers(self) -> None:
        for value, expected in (
            (-7, "-7"),
            ("-7.5", "-7.5"),
            (3, "3"),
            (None, ""),
            (True, "true"),
            ("-7a", "'-7a"),
        ):
            self.assertEqual(cell(value), expected)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(texts)
    def test_what_is_shown_neither_steers_nor_hides(self, text: str) -> None:
        shown = visible(text)
        self.assertTrue(shown.isprintable(), repr(shown))
        self.assertEqual(visible(shown), shown)
        if text.isascii() and text.isprintable():
            self.assertEqual(shown, text)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(texts, st.integers(1, 12))
    def test_what_is_fitted_fits(self, text: str, columns: int) -> None:
        shown = visible(text)
        made = fitted(shown, columns)
        self.assertEqual(columns_of(made), columns)
        if columns_of(shown) <= columns:
            self.assertEqual(made.rstrip(" "), shown.rstrip(" "))


class StreamTests(SynchronousTestCase):
    def test_json_lines_are_the_journals_own(self) -> None:
        rows = [row({"kind": text, "n": number}) for number, text in enumerate(HOSTILE)]
        data = b"".join(collected(jsonl_lines(Rows(rows).iterate())))
        self.assertEqual(data.split(b"\n"), [*(each.line for each in rows), b""])

    def test_pieces_are_bounded(self) -> None:
        for make in (csv_lines, jsonl_lines, fhir_lines):
            rows = Rows(row({**RECORD, "request_id": "x" * 200}) for _ in range(2000))
            pieces = collected(make(rows.iterate()))
            self.assertGreater(len(pieces), 3)
            self.assertLess(max(map(len, pieces)), PIECE + 10_000)
            self.assertTrue(rows.closed)

    def test_no_more_is_read_than_asked_for(self) -> None:
        for make in (csv_lines, jsonl_lines, fhir_lines):
            rows = Rows(row(RECORD) for _ in range(20_000))

            async def begin(make: Any = make, rows: Rows = rows) -> None:
                pieces = make(rows.iterate())
                await anext(pieces)
                await pieces.aclose()

            asyncio.run(begin())
            self.assertLess(rows.asked, 2000)
            self.assertTrue(rows.closed)

    def test_a_failure_is_not_the_end(self) -> None:
        async def failing() -> Any:
            yield row(RECORD)
            raise OSError

        for make in (csv_lines, jsonl_lines, fhir_lines):
            self.assertRaises(OSError, collected, make(failing()))

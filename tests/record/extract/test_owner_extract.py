"""An owner learns when and how data were used, and not by whom."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.extract.forms import FORMS
from hospproxy.record.extract.owner_extract import OwnerExtract, owner_extract
from hospproxy.record.search.rows import IndexRow, RowKey, RowName

NOON = 1_795_521_600.0
HOSTILE = ("<script>x</script>", "=cmd|' /C calc'!A0", "\u202eevil", "a\x1b[31m", "{{ 7*7 }}")


def look(second: int, name: str = "Ana", number: object = 7, by_list: bool = False, **more: Any) -> IndexRow:
    record = {
        "kind": "request",
        "who": {"id": number, "name": name, "certainty": "verified"},
        "action": "read",
        "resource": "notes",
        "outcome": "success",
        **more,
    }
    key = RowKey(int(NOON * 1000) + second * 1000, RowName("t1", "w0", second + 1))
    return IndexRow(key, record, json.dumps(record).encode(), by_list)


def made(*rows: IndexRow, more: bool = False, zone: Any = UTC, since: float | None = None) -> OwnerExtract:
    newest_first = sorted(rows, key=lambda row: row.key, reverse=True)
    return owner_extract("7", newest_first, more=more, since=since, until=None, made=NOON + 3600, zone=zone)


class LookTests(SynchronousTestCase):
    def test_what_was_done_oldest_first(self) -> None:
        extract = made(
            look(0, action="read", resource="patients"),
            look(1, action="search", resource="notes", by_list=True),
            look(2, action="create"),
            look(3, action="update"),
            look(4, action="delete"),
            look(5, action="execute", resource="patients"),
        )
        self.assertEqual(
            [f"{each.what} {each.done}" for each in extract.looks],
            [
                "patient record read",
                "note seen in a list",
                "note written",
                "note changed",
                "note deleted",
                "patient record examined by a program",
            ],
        )

    def test_what_showed_nothing_is_left_out(self) -> None:
        refused = [look(n, outcome=word) for n, word in enumerate(("refused", "failed", "client error"))]
        self.assertEqual(made(*refused).looks, ())

    def test_what_may_have_happened_says_so(self) -> None:
        extract = made(look(0, action="update", outcome="unknown"), look(1, outcome="client gone"))
        self.assertEqual([each.certain for each in extract.looks], [False, False])

    def test_an_emergency_shows_and_its_reason_does_not(self) -> None:
        extract = made(look(0, break_glass="Dr. Ana asked me"))
        self.assertTrue(extract.looks[0].emergency)
        for write in FORMS.values():
            self.assertNotIn(b"Dr. Ana", write(extract, "", ""))


class PersonTests(SynchronousTestCase):
    def test_one_number_for_each_person(self) -> None:
        extract = made(look(0), look(1, "Ben", 8), look(2), look(3, "Ana Meier", 7), look(4, "Ana", 9))
        self.assertEqual([each.person for each in extract.looks], [1, 2, 1, 1, 3])
        self.assertEqual(extract.people, 3)

    def test_a_name_that_was_only_claimed_is_nobody(self) -> None:
        claimed = look(0, who={"id": None, "name": "Ana", "certainty": "claimed"})
        self.assertEqual([each.person for each in made(claimed, look(1)).looks], [0, 1])

    def test_no_form_tells_names_ids_or_addresses(self) -> None:
        extract = made(look(0, "Zacharias", 4711, client={"address": "192.0.2.77"}, request_id="r-55-r"))
        for name, write in FORMS.items():
            given = write(extract, "treatment", "Clinic")
            for secret in (b"Zacharias", b"4711", b"192.0.2.77", b"r-55-r"):
                self.assertNotIn(secret, given, name)


class PeriodTests(SynchronousTestCase):
    def test_times_are_those_of_the_zone(self) -> None:
        extract = made(look(0), zone=ZoneInfo("Europe/Zurich"))
        self.assertIn(b"13:00:00", FORMS["text"](extract, "", ""))
        self.assertIn("<dd>Europe/Zurich</dd>", FORMS["html"](extract, "", "").decode())

    def test_the_zone_is_right_in_summer_and_in_winter(self) -> None:
        extract = made(look(0), look(-150 * 86_400), zone=ZoneInfo("Europe/Zurich"))
        self.assertEqual(
            [each.time.utcoffset() for each in extract.looks], [timedelta(hours=2), timedelta(hours=1)]
        )
        self.assertNotIn(b"CET", FORMS["text"](extract, "", ""))

    def test_an_incomplete_extract_says_how_far_it_goes(self) -> None:
        extract = made(look(5), more=True)
        self.assertEqual(extract.back_to, extract.looks[0].time)
        self.assertIn(b"INCOMPLETE", FORMS["text"](extract, "", ""))
        self.assertIn(b"not complete", FORMS["html"](extract, "", ""))
        self.assertFalse(json.loads(FORMS["json"](extract, "", ""))["complete"])

    def test_an_empty_period(self) -> None:
        extract = made(since=NOON)
        self.assertIn(b"Nobody saw", FORMS["html"](extract, "", ""))
        self.assertEqual(json.loads(FORMS["json"](extract, "", ""))["looks"], [])


class HostileTests(SynchronousTestCase):
    """Names of resources come from the contract, but actions, purposes and hospitals are texts of anybody."""

    def test_they_stay_text(self) -> None:
        for bad in HOSTILE:
            extract = made(look(0, action=bad, resource=bad))
            page = FORMS["html"](extract, bad, bad).decode()
            for forbidden in ("<script>x", "\u202e", "\x1b"):
                self.assertNotIn(forbidden, page)
            text = FORMS["text"](extract, bad, bad).decode()
            self.assertNotRegex(text, "[\u202e\x1b]")
            for row in csv.reader(io.StringIO(FORMS["csv"](extract, bad, bad).decode())):
                self.assertEqual([each for each in row if each[:1] in "=+@" and each], [])

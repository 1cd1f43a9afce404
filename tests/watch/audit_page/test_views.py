"""What a page shows: hostile values stay text, and filters and links agree."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import hypothesis.strategies as st
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.search.filters import BadFilterError, Filters
from hospproxy.record.search.rows import IndexRow
from hospproxy.watch.audit_page import routes
from hospproxy.watch.audit_page.html import visible
from hospproxy.watch.audit_page.views import TableCell, people, row_view, what, who_name

from .page_rig import PageCase
from .readers import FakeReader, listed, record

HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "javascript:alert(1)",
    "\u202egnp.exe", "a\x00b\x1b[31m", "=cmd|' /C calc'!A0", "\ud800", "%00/../../etc", "';--", "\u200bzero",
)  # fmt: skip


def everywhere(value: str) -> dict[str, Any]:
    """A record with this value in every field that a page shows."""
    return record(
        5,
        who={"id": None, "name": value, "certainty": "verified"},
        client={"address": value, "peer": value, "chain": [value], "scheme": value},
        disclosed={"set": value, "count": value},
        **dict.fromkeys(
            ("request_id", "action", "resource", "record_id", "outcome", "route", "method", "reference"),
            value,
        ),
    )


def row_of(given: dict[str, Any]) -> IndexRow:
    return FakeReader([given]).kept[0]


class HostileValues(PageCase):
    def test_they_stay_text(self) -> None:
        for value in HOSTILE:
            reader = type(self.reader)([everywhere(value) | {"patient_id": "7"}])
            self.page = self.over(reader)
            for target in (
                "/audit",
                "/audit/patients/7",
                "/audit/patients/7/disclosures",
                "/audit/patients/7/extract.html",
                "/audit/records/t1/w0/1",
            ):
                html = self.html(target)
                for bad in ("<script", "<img", "\u202e", "\x1b", "\x00", "\u200b", "\ud800"):
                    self.assertNotIn(bad, html, (value, target))
                for href in re.findall(r'href="([^"]*)"', html):
                    self.assertRegex(href, r"\A(/|#main\Z)", (value, target))

    def test_in_the_question_too(self) -> None:
        for value in ("<script>", '"onfocus="alert(1)'):
            for name in ("staff", "action", "status", "nonsense", "since"):
                answer = self.ask(f"/audit?{name}={routes.urlencode({'': value})[1:]}")
                self.assertNotIn(b"<script", answer.body)
                self.assertNotIn(b'"onfocus', answer.body)
            self.assertNotIn("<script", self.html(f"/audit/patients/{routes.quote(value, safe='')}"))

    def test_what_cannot_be_asked_is_named_in_the_page(self) -> None:
        for query, words in (
            ("status=abc", "Status:"), ("since=yesterday", "From:"), ("nonsense=1", "nonsense:"),
            ("staff=a&staff=b", "Staff:"), ("after=x", "after:"), ("staff=" + "a" * 201, "Staff:"),
            ("since=2025-01-02&until=2025-01-01", "To:"), ("staff=%ff", "query:"),
            ("&".join(f"a{n}=1" for n in range(50)), "query:"),
        ):  # fmt: skip
            html = self.html(f"/audit?{query}", 400)
            self.assertIn(f'role="alert"><strong>{words}</strong>', html, query)
        self.assertIn('aria-invalid="true"', self.html("/audit?status=abc", 400))

    def test_empty_fields_of_the_form_ask_for_nothing(self) -> None:
        self.reader.add(record())
        self.assertIn("req-60", self.html("/audit?staff=&patient=&action=&since=&until=&status="))
        self.assertEqual(self.reader.asked[-1], Filters())

    def test_chips_take_their_filter_away(self) -> None:
        html = self.html("/audit?staff=ann&patient=7&own=1")
        chips = html.partition('class="chips"')[2].partition("</ul>")[0]
        self.assertEqual(
            re.findall(r'href="([^"]*)"', chips),
            [
                "/audit?patient=7&amp;own=1",
                "/audit?staff=ann&amp;own=1",
                "/audit?staff=ann&amp;patient=7",
                "/audit",
            ],
        )


class Words(SynchronousTestCase):
    def test_what_was_done(self) -> None:
        for given_record, words in (
            (record(), "read patient 7"),
            (listed(1), "listed patients"),
            (record(outcome="refused", action="create", record_id=None), "tried to create patient"),
            (record(action="create", resource="notes", record_id="9"), "created note 9"),
            (
                record(action=None, route="unknown", resource=None, record_id=None),
                "sent a GET that the contract does not define",
            ),
            ({"kind": "gap", "lost": 3}, "3 records were lost"),
            ({"kind": "look", "action": "export", "outcome": "success"}, "exported the audit trail"),
            ({"kind": "look", "action": "log-in failure"}, "failed to log in to the audit page"),
        ):
            self.assertEqual(what(given_record), words)

    def test_who_did_it(self) -> None:
        proxy = {"id": None, "name": None, "certainty": "proxy"}
        self.assertEqual(who_name(record(who=proxy, on_behalf_of={"name": "ann"})), "the proxy, for ann")
        self.assertEqual(who_name(record(who=proxy)), "the proxy itself")
        self.assertEqual(who_name(record(who={"certainty": "none"})), "nobody (no credentials)")
        self.assertEqual(who_name({"who": None}), "–")

    def test_a_claim_and_an_auditor_are_told_from_the_member_of_staff(self) -> None:
        for who, words, link in (
            ({"id": 2, "name": "ann", "certainty": "verified"}, "ann", "/audit?staff=ann&patient=7"),
            (
                {"id": None, "name": "ann", "certainty": "claimed"},
                "ann (claimed)",
                "/audit?claimed=ann&patient=7",
            ),
        ):
            shown = row_view(row_of(record(who=who)), Filters(staff="x", patient="7")).who
            self.assertEqual(shown, TableCell(words, link))
        look = record(kind="look", who={"id": None, "name": "ann", "certainty": "auditor"})
        self.assertEqual(row_view(row_of(look)).who, TableCell("ann (auditor)", "/audit?auditor=ann"))
        proxy = {"id": None, "name": None, "certainty": "proxy"}
        behalf = {"id": None, "name": "ann", "certainty": "claimed"}
        self.assertEqual(who_name(record(who=proxy, on_behalf_of=behalf)), "the proxy, for ann (claimed)")

    def test_who_has_looked_at_a_patient_counts_neither_attempts_nor_auditors(self) -> None:
        proved = {"id": 2, "name": "ann", "certainty": "verified"}
        claimed = {"id": None, "name": "ann", "certainty": "claimed", "name_hmac": "ab"}
        auditor = {"id": None, "name": "ann", "certainty": "auditor"}
        rows = [
            row_of(record(5, who=auditor, kind="look", action="search")),
            row_of(record(6, who=claimed, status=401, outcome="client error", action="log-in failure")),
            row_of(record(7, who=claimed, status=422, outcome="refused")),
            row_of(record(8, who=proved)),
        ]
        found = {each.name: (each.read, each.refused) for each in people(rows, "7")}
        self.assertEqual(found, {"ann": (1, 0), "ann (claimed)": (0, 2)})

    @given(st.text())
    def test_nothing_hides(self, value: str) -> None:
        self.assertTrue(all(each.isprintable() or each == "\n" for each in visible(value)))
        self.assertTrue(not value.isprintable() or visible(value) == value)


class Addresses(SynchronousTestCase):
    @given(
        st.builds(
            Filters,
            staff=st.none() | st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=50),
            patient=st.none() | st.from_regex(r"\A[0-9]{1,9}\Z"),
            status=st.none() | st.integers(100, 599),
            since=st.none() | st.integers(0, 2**31).map(float),
            own=st.booleans(),
            trouble=st.booleans(),
        )
    )
    def test_a_link_asks_what_it_was_made_of(self, filters: Filters) -> None:
        link = urlsplit(routes.address("/audit", filters))
        self.assertEqual(routes.question(routes.words_of(link.query.encode())).filters, filters)

    def test_paths(self) -> None:
        self.assertIsNone(routes.find(b"/audit/patients/%ff"))
        self.assertIsNone(routes.find(b"/audit/patients/"))
        found = routes.find(routes.path(routes.PATIENT, "a/b ü").encode())
        assert found is not None
        self.assertEqual(found.values, ("a/b ü",))
        # No database keeps U+0000; PostgreSQL fails on being asked for it.
        found = routes.find(b"/audit/patients/a%00b")
        assert found is not None
        self.assertEqual(found.values, ("a\ufffdb",))
        self.assertFalse(routes.is_below(b"/auditor"))

    def test_what_the_forms_time_field_sends(self) -> None:
        for text in ("2025-11-24T13:15", "2025-11-24T13:15:00", "2025-11-24T13:15:00Z"):
            self.assertEqual(routes.question({"since": text}).filters.since, 1763990100.0)
        self.assertRaises(BadFilterError, routes.question, {"since": "24.11.2025"})

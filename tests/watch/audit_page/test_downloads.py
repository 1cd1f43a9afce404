from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred

from hospproxy.http.messages import Response
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.rows import IndexRow
from hospproxy.watch.audit_page import downloads

from .page_rig import PageCase
from .readers import SET, listed, record


async def ids(rows: AsyncIterator[IndexRow]) -> AsyncIterator[bytes]:
    async for row in rows:
        yield str(row.record["request_id"]).encode()


class ExportTests(PageCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(downloads, "maker", lambda name, reader: ids)
        for n in range(20):
            self.reader.add(record(n, request_id=f"r{n}", who={"id": 1, "name": f"staff{n % 2}"}))

    def content(self, answer: Response) -> list[bytes]:
        async def all_of_it() -> list[bytes]:
            assert answer.chunks is not None
            return [chunk async for chunk in answer.chunks]

        return self.successResultOf(Deferred.fromCoroutine(all_of_it()))

    def test_all_rows_that_the_filters_find(self) -> None:
        answer = self.ask("/audit/export.csv?staff=staff1&patient=7")
        self.assertEqual(self.content(answer), [b"r%d" % n for n in range(1, 20, 2)])
        self.assertEqual(self.reader.asked, [Filters(staff="staff1", patient="7")])

    def test_the_look_is_on_record_before_the_first_byte(self) -> None:
        self.journal.at_once = False
        answer = self.begin("/audit/export.jsonl?staff=staff1")
        self.assertNoResult(answer)
        look = self.journal.records[0]
        self.assertEqual(
            (look["action"], look["route"], look["status"]), ("export", "/audit/export.jsonl", 200)
        )
        self.assertEqual(look["filters"], {"staff": "staff1"})
        self.journal.written()
        self.assertEqual(len(self.content(self.successResultOf(answer))), 10)

    def test_what_kind_of_file_it_is(self) -> None:
        for target, kind, name in (
            ("/audit/export.csv", b"text/csv; charset=utf-8; header=present", b"audit-20251124T160000Z.csv"),
            ("/audit/export.jsonl", b"application/jsonl", b"audit-20251124T160000Z.jsonl"),
            ("/audit/export.fhir.ndjson", b"application/fhir+ndjson", b"audit-20251124T160000Z.fhir.ndjson"),
        ):
            fields = self.ask(target).headers
            self.assertEqual(fields.get(b"content-type"), kind)
            self.assertEqual(fields.get(b"content-disposition"), b'attachment; filename="%s"' % name)
            self.assertEqual(fields.get(b"x-content-type-options"), b"nosniff")

    def test_filters_that_cannot_be_used(self) -> None:
        self.assertIn("Status:", self.html("/audit/export.csv?status=x", 400))
        self.assertEqual(self.ask("/audit/export.xml").status, 404)
        self.assertEqual(self.ask("/audit/export.csv", method="POST").status, 405)


class FhirTests(PageCase):
    def test_patients_of_a_small_set_are_named(self) -> None:
        self.reader.add(listed(10))
        answer = self.ask("/audit/export.fhir.ndjson")

        async def content() -> bytes:
            assert answer.chunks is not None
            return b"".join([chunk async for chunk in answer.chunks])

        whole = self.successResultOf(Deferred.fromCoroutine(content())).decode()
        for patient in self.reader.members_of[SET]:
            self.assertIn(f'"value":"{patient}"', whole)

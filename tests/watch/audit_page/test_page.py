"""Nothing is sent before the reader is known and their look is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import CancelledError, Deferred

from hospproxy.http.errors import RecordFailed
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.rows import IndexAway, IndexRow, NoIndexYet, RowKey, RowName, RowPage, Summary
from hospproxy.watch.audit_page.pages import MOST_PATIENT_PAGES, MOST_REPORTS
from tests.record.trail.disks import HandWorker

from .page_rig import NAME, PageCase
from .readers import NOW, FakeReader, alert, failed_login, listed, record

LOOK = {
    "v", "kind", "time", "duration_ms", "request_id", "who", "client", "method", "route", "action", "outcome",
    "status", "filters", "patient_id", "record_id",
}  # fmt: skip


class HungReader(FakeReader):
    """Never returns."""

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        await Deferred()
        raise AssertionError

    async def summary(self, since: float) -> Summary:
        return Summary()


class BrokenReader(FakeReader):
    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        raise OSError("the disk is gone")

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        raise OSError("the disk is gone")
        yield

    async def row(self, name: RowName) -> IndexRow | None:
        raise OSError("the disk is gone")


class AwayReader(FakeReader):
    """Fails every query.

    :param why: message of each failure.
    """

    def __init__(self, why: IndexAway) -> None:
        super().__init__()
        self.why = why

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        raise self.why

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        raise self.why
        yield

    async def row(self, name: RowName) -> IndexRow | None:
        raise self.why

    async def summary(self, since: float) -> Summary:
        raise self.why


EVERY_PAGE = (
    "/audit", "/audit/trouble", "/audit/patients/7", "/audit/patients/7/disclosures", "/audit/records/t1/w0/1",
    "/audit/export.csv", "/audit/export.jsonl", "/audit/export.fhir.ndjson",
)  # fmt: skip


class OnRecordFirst(PageCase):
    def test_the_answer_waits_for_its_record(self) -> None:
        self.journal.at_once = False
        answer = self.begin("/audit?staff=staff1&since=2025-11-24")
        self.assertNoResult(answer)
        look = self.journal.records[0]
        self.assertEqual(set(look), LOOK)
        self.assertEqual(
            (
                look["kind"],
                look["route"],
                look["action"],
                look["outcome"],
                look["status"],
                look["patient_id"],
            ),
            ("look", "/audit", "search", "success", 200, None),
        )
        self.assertEqual(look["who"], {"id": None, "name": NAME, "certainty": "auditor"})
        self.assertEqual(look["filters"], {"staff": "staff1", "since": "2025-11-24T00:00:00.000Z"})
        self.assertEqual(look["client"]["address"], "192.0.2.9")
        self.journal.written()
        self.assertEqual(self.successResultOf(answer).status, 200)

    def test_no_record_no_answer(self) -> None:
        self.journal.at_once = False
        for target, password in (("/audit", None), ("/audit/nothing", None), ("/audit", "guess")):
            answer = self.begin(target) if password is None else self.begin(target, password=password)
            self.journal.failed()
            self.failureResultOf(answer, RecordFailed)

    def test_every_kind_of_look(self) -> None:
        self.reader.add(record())
        for target, expected in (
            ("/audit?patient=7", ("/audit", "search", 200, "7", None)),
            ("/audit/trouble", ("/audit/trouble", "search", 200, None, None)),
            ("/audit/patients/7", ("/audit/patients/{id}", "search", 200, "7", None)),
            ("/audit/patients/7/disclosures", ("/audit/patients/{id}/disclosures", "search", 200, "7", None)),
            ("/audit/patients/7/extract.html", ("/audit/patients/{id}/extract.html", "export", 200, "7", None)),
            ("/audit/log-out", ("/audit/log-out", "log-out", 200, None, None)),
            ("/audit/records/t1/w0/1", ("/audit/records/{trail}/{journal}/{seq}", "read", 200, "7", "t1/w0/1")),
            ("/audit/records/t1/w0/2", ("/audit/records/{trail}/{journal}/{seq}", "read", 404, None, None)),
            ("/audit?status=1", ("/audit", "search", 400, None, None)),
            ("/audit/", ("unknown", "search", 404, None, None)),
            ("/audit/password", ("unknown", "search", 404, None, None)),
        ):  # fmt: skip
            answer = self.ask(target)
            look = self.journal.records[-1]
            found = (look["route"], look["action"], look["status"], look["patient_id"], look["record_id"])
            self.assertEqual(found, expected, target)
            self.assertEqual(answer.status, look["status"])
        self.assertEqual(len(self.journal.records), 11)

    def test_methods_that_change_something(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = self.ask("/audit", method=method)
            self.assertEqual((answer.status, answer.headers.get(b"allow")), (405, b"GET, HEAD"))
            self.assertEqual(self.journal.records[-1]["outcome"], "refused")
        self.assertEqual(self.ask("/audit", method="HEAD").status, 200)

    def test_whoever_leaves_is_on_record_too(self) -> None:
        self.page = self.over(HungReader())
        answer = self.begin("/audit?patient=7")
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        look = self.journal.records[0]
        self.assertEqual((look["outcome"], look["status"], look["patient_id"]), ("client gone", None, "7"))

    def test_a_trail_that_cannot_be_read(self) -> None:
        self.page = self.over(BrokenReader())
        for target in ("/audit", "/audit/patients/7", "/audit/records/t1/w0/1"):
            self.assertIn("could not be read", self.html(target, 500))
            self.assertEqual(self.journal.records[-1]["outcome"], "failed")
            self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_an_index_that_does_not_answer_or_is_not_there_yet(self) -> None:
        """This holds for exports, too, as long as nothing was sent."""
        for why, words in (
            (IndexAway("connection refused"), "does not answer"),
            (NoIndexYet("no such table"), "is empty"),
        ):
            self.page = self.over(AwayReader(why))
            for target in EVERY_PAGE:
                answer = self.ask(target)
                self.assertEqual((answer.status, answer.headers.get(b"retry-after")), (503, b"30"), target)
                self.assertIn(words, answer.body.decode())
                self.assertNotIn(str(why), answer.body.decode())
                self.assertEqual(self.journal.records[-1]["status"], 503)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_without_a_database_it_says_so(self) -> None:
        self.page = self.over(None)
        self.assertIn("audit_database.enabled", self.html("/audit", 503))


class Strangers(PageCase):
    def test_without_credentials_nothing_is_shown_and_nothing_recorded(self) -> None:
        for target in ("/audit", "/audit/nothing", "/audit/export.csv"):
            answer = self.ask(target, user=None)
            self.assertEqual(answer.status, 401)
            self.assertIn(b'realm="hospproxy audit"', answer.headers.get(b"www-authenticate") or b"")
        self.assertEqual((self.journal.records, self.reader.asked), ([], []))

    def test_wrong_ones_are_on_record_and_the_name_is_not(self) -> None:
        answer = self.ask("/audit?patient=7", user="my password by mistake", password="x")
        self.assertEqual(answer.status, 401)
        look = self.journal.records[0]
        self.assertEqual(
            (look["action"], look["outcome"], look["status"]), ("log-in failure", "refused", 401)
        )
        hidden = {"id": None, "name": None, "certainty": "claimed", "name_hmac": "hmac of 22"}
        self.assertEqual((look["who"], look["filters"], look["patient_id"]), (hidden, {}, None))
        self.assertNotIn("mistake", repr(look))
        self.assertEqual(self.reader.asked, [])

    def test_of_a_user_the_name_is_written(self) -> None:
        self.ask(password="guess")
        self.assertEqual(self.journal.records[0]["who"]["name"], NAME)

    def test_guessing_waits(self) -> None:
        self.ask(password="guess")
        answer = self.begin(password="another")
        self.assertNoResult(answer)
        self.clock.advance(0.5)
        self.assertEqual(self.successResultOf(answer).status, 401)
        self.assertEqual(self.journal.records[-1]["duration_ms"], 500.0)

    def test_too_many_at_once(self) -> None:
        self.ask(password="guess")
        for n in range(4):
            self.begin(password=f"guess {n}")
        answer = self.ask(password="one more")
        self.assertEqual((answer.status, answer.headers.get(b"retry-after")), (429, b"30"))
        self.assertEqual(self.journal.records[-1]["action"], "log-in failure")

    def test_without_tls_it_is_for_this_machine_only(self) -> None:
        self.assertEqual(self.ask(scheme="http").status, 403)
        self.assertEqual(self.ask(scheme="http", peer="127.0.0.1").status, 200)


class Shown(PageCase):
    def test_the_browser_is_told_to_do_nothing_else(self) -> None:
        for target in ("/audit", "/audit?status=x", "/audit/none", "/audit/patients/7"):
            fields = self.ask(target).headers
            policy = fields.get(b"content-security-policy") or b""
            self.assertTrue(policy.startswith(b"default-src 'none'; style-src 'self'; form-action 'self'"))
            self.assertEqual(fields.get(b"cache-control"), b"no-store")
            self.assertEqual(fields.get(b"referrer-policy"), b"no-referrer")
            self.assertEqual(fields.get(b"cross-origin-opener-policy"), b"same-origin")
            self.assertIsNone(fields.get(b"strict-transport-security"))

    def test_page_after_page_shows_every_record_once(self) -> None:
        for n in range(12):
            self.reader.add(record(n, request_id=f"number-{n:02}-x"))
        seen: list[str] = []
        target = "/audit?staff=staff1"
        while target:
            html = self.html(target)
            seen += [piece[:2] for piece in html.split('title="number-')[1:]]
            older = html.partition('" rel="next">')[0].rpartition('href="')[2] if 'rel="next"' in html else ""
            target = older.replace("&amp;", "&")
        self.assertEqual(seen, [f"{n:02}" for n in range(12)])

    def test_who_has_looked_at_patient_7(self) -> None:
        for each in (record(50), record(40), listed(30, "staff2"), record(20, outcome="refused", status=403)):
            self.reader.add(each)
        html = self.html("/audit/patients/7")
        rows = html.partition("<tbody")[2].partition("</tbody>")[0].split("<tr ")[1:]
        counts = [[cell.partition("</td>")[0] for cell in row.split('class="number"')[1:]] for row in rows]
        numbers = [[cell.rpartition(">")[2] for cell in row] for row in counts]
        self.assertIn("staff1", rows[0])
        self.assertEqual(numbers, [["2", "0", "0", "1"], ["0", "1", "0", "0"]])
        self.assertIn("in a list of 3 patients", html)
        self.assertIn("/audit/patients/7/disclosures", html)

    def test_a_record_and_what_belongs_to_it(self) -> None:
        self.reader.add(record(10, kind="intent", outcome="intended", request_id="r1"))
        self.reader.add(record(9, request_id="r1"))
        behalf = {"request_id": "r1", "id": 1, "name": "staff1", "certainty": "verified"}
        own = record(8, kind="own", own="look", request_id="r2", on_behalf_of=behalf)
        self.reader.add(own | {"who": {"id": None, "name": None, "certainty": "proxy"}})
        self.reader.add(record(7, request_id="elsewhere"))
        html = self.html("/audit/records/t1/w0/2")
        for expected in ("who.certainty", "How certain the identity is", "client.address"):
            self.assertIn(expected, html)
        self.assertIn("/audit/records/t1/w0/1", html)
        self.assertIn("/audit/records/t1/w0/3", html)
        self.assertNotIn("/audit/records/t1/w0/4", html)

    def test_trouble_at_a_glance(self) -> None:
        for each in (
            failed_login(50),
            failed_login(40),
            alert(30),
            record(20, outcome="refused", status=422),
        ):
            self.reader.add(each)
        self.reader.add(record(10, request_id="innocent"))
        html = self.html("/audit/trouble")
        self.assertIn('<span class="number">2</span> <a href="/audit?address=198.51.100.9', html)
        self.assertIn("20 failed log-ins from 198.51.100.9 within 60 s", html)
        self.assertNotIn("innocent", html)
        self.html("/audit/trouble?window=1y", 400)

    def test_the_report_lists_what_was_told_and_says_when_it_is_not_all(self) -> None:
        for n in range(9):
            self.reader.add(record(100 + n))
        self.reader.add(record(50, outcome="refused", status=403))
        html = self.html("/audit/patients/7/disclosures")
        self.assertNotIn("not complete", html)
        self.assertIn("there were 1.", html)
        self.assertIn("<dd>9</dd>", html)
        self.reader.add(listed(40))
        html = self.html("/audit/patients/7/disclosures?until=2030-01-01")
        self.assertIn("This report is not complete", html)
        self.assertIn("the beginning to 2030-01-01 00:00:00", html)

    def test_a_log_out_tells_the_browser_to_forget_the_password(self) -> None:
        self.assertIn('href="/audit/log-out"', self.html("/audit"))
        answer = self.ask("/audit/log-out")
        self.assertEqual(answer.headers.get(b"clear-site-data"), b'"cache", "cookies"')
        self.assertNotIn(b"Logged in as", answer.body)

    def test_an_extract_is_a_file_without_names(self) -> None:
        self.reader.add(record(100))
        self.assertIn(
            "/audit/patients/7/extract.html?since=", self.html("/audit/patients/7?since=2026-01-01")
        )
        answer = self.ask("/audit/patients/7/extract.html")
        disposition = answer.headers.get(b"content-disposition")
        self.assertEqual(disposition, b'attachment; filename="extract-7.html"')
        self.assertIn(b"person 1", answer.body)
        self.assertNotIn(record(100)["who"]["name"].encode(), answer.body)
        odd = self.ask("/audit/patients/%22%0d%0ax/extract.html").headers.get(b"content-disposition")
        self.assertEqual(odd, b'attachment; filename="extract-___x.html"')

    def test_few_are_made_at_one_time(self) -> None:
        """A client that leaves while waiting for its turn takes none."""
        self.html()  # now the password was verified
        patient = "/audit/patients/7"
        for target, most in ((patient, MOST_PATIENT_PAGES), (f"{patient}/disclosures", MOST_REPORTS)):
            worker = HandWorker()
            self.worker = worker  # type: ignore[assignment]
            self.page = self.over(self.reader)
            begun = [self.begin(target) for _ in range(most)]
            left, waiting = self.begin(target), self.begin(target)
            self.assertEqual(len(worker.tasks), most)
            left.cancel()
            self.failureResultOf(left, CancelledError)
            worker.step()
            self.successResultOf(begun[0])
            self.assertEqual(len(worker.tasks), most)
            for _ in range(most):
                worker.step()
            self.successResultOf(waiting)

    def test_how_far_the_database_is(self) -> None:
        self.reader.add(record(60))
        self.assertIn('<time datetime="2025-11-24T15:59:00.000Z">2025-11-24 15:59:00</time>', self.html())
        self.assertEqual(NOW, 1_764_000_000.0)

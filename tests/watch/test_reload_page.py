"""``POST /reload``: who may reload, and that no page of another site can."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.record.admin_events import Operator
from hospproxy.watch.admin import Admin
from hospproxy.watch.health import Health
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.reload_page import ReloadOutcome, ReloadPage

from .test_admin_access import TOKEN, Access, basic

JSON = (b"content-type", b"application/json")
DONE = ReloadOutcome(
    True, ["retry.max_attempts: 5 → 3", "options reloaded: 1 changed"], [{"key": "retry.max_attempts"}]
)


class Reloads:
    """A reload that ends when the test wants."""

    def __init__(self) -> None:
        self.running: list[Deferred[ReloadOutcome]] = []
        self.at_once: ReloadOutcome | None = DONE
        self.operators: list[Operator] = []

    async def __call__(self, operator: Operator) -> ReloadOutcome:
        self.operators.append(operator)
        if self.at_once is not None:
            self.running.append(Deferred())
            return self.at_once
        self.running.append(Deferred())
        return await self.running[-1]


class OpenTests(SynchronousTestCase):
    """A listener that asks for no log-in."""

    def setUp(self) -> None:
        self.reloads = Reloads()
        self.page = ReloadPage(self.reloads)
        self.admin = Admin(Health(), Metrics("9.9", strict=True), reload=self.page)

    def send(self, *fields: tuple[bytes, bytes], method: str = "POST", **client: Any) -> Deferred[Response]:
        who = {"peer": "127.0.0.1", "address": "127.0.0.1", "host": "127.0.0.1:9443"} | client
        return self.admin.handle(Request(method, b"/reload", headers=Headers(fields), client=Client(**who)))

    def status(self, *fields: tuple[bytes, bytes], **more: Any) -> int:
        return self.successResultOf(self.send(*fields, **more)).status

    def test_what_changed(self) -> None:
        answer = self.successResultOf(self.send(JSON))
        self.assertEqual(answer.headers.get(b"content-type"), b"application/json")
        self.assertEqual((answer.status, msgspec.json.decode(answer.body, type=ReloadOutcome)), (200, DONE))
        self.assertEqual(answer.headers.get(b"cache-control"), b"no-store")
        [operator] = self.reloads.operators
        self.assertEqual(
            (operator.way, operator.user, operator.address), ("admin listener", None, "127.0.0.1")
        )

    def test_refused_options(self) -> None:
        self.reloads.at_once = ReloadOutcome(False, ["/etc/h.toml:3: gate.x: unknown key"])
        answer = self.successResultOf(self.send(JSON))
        self.assertEqual(answer.status, 409)
        self.assertIn(b"/etc/h.toml:3: gate.x: unknown key", answer.body)

    def test_only_a_post(self) -> None:
        for method in ("GET", "HEAD", "PUT", "OPTIONS", "DELETE"):
            answer = self.successResultOf(self.send(JSON, method=method))
            self.assertEqual((answer.status, answer.headers.get(b"allow")), (405, b"POST"))
        self.assertEqual(self.reloads.running, [])

    def test_the_page_of_another_site(self) -> None:
        for fields in (
            (),
            ((b"content-type", b"text/plain"),),
            ((b"content-type", b"application/x-www-form-urlencoded"),),
            ((b"content-type", b"multipart/form-data; boundary=application/json"),),
            (JSON, JSON),
            (JSON, (b"sec-fetch-site", b"cross-site")),
            (JSON, (b"sec-fetch-site", b"same-site")),
            (JSON, (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")),
            (JSON, (b"origin", b"https://evil.example")),
            (JSON, (b"origin", b"null")),
            (JSON, (b"origin", b"http://127.0.0.1:9443")),
            (JSON, (b"origin", b"https://127.0.0.1:9444")),
        ):
            self.assertEqual(self.status(*fields), 403, fields)
        self.assertEqual(self.reloads.running, [])

    def test_a_page_of_its_own_and_programs(self) -> None:
        for fields in (
            (JSON,),
            ((b"content-type", b"Application/JSON; charset=utf-8"),),
            (JSON, (b"sec-fetch-site", b"none")),
            (JSON, (b"sec-fetch-site", b"same-origin"), (b"origin", b"https://127.0.0.1:9443")),
        ):
            self.assertEqual(self.status(*fields), 200, fields)

    def test_only_from_this_machine(self) -> None:
        for client in (
            {"peer": "10.0.0.5", "address": "10.0.0.5"},
            {"address": "10.0.0.5"},
            {"peer": "10.0.0.5"},
            {"peer": "", "address": ""},
        ):
            self.assertEqual(self.status(JSON, **client), 403, client)
        self.assertEqual(self.status(JSON, peer="::1", address="::1"), 200)
        self.assertEqual(self.status(JSON, host="evil.example"), 421)

    def test_a_client_that_leaves_stops_no_reload(self) -> None:
        self.reloads.at_once = None
        asked = self.send(JSON)
        self.assertNoResult(asked)
        asked.addErrback(lambda _gone: None)
        asked.cancel()
        [running] = self.reloads.running
        self.assertFalse(running.called)
        running.callback(DONE)

    def test_a_bug_is_logged_and_said(self) -> None:
        self.reloads.at_once = None
        asked = self.send(JSON)
        self.reloads.running[0].errback(ValueError("a mistake"))
        answer = self.successResultOf(asked)
        self.assertEqual(answer.status, 409)
        self.assertNotIn(b"mistake", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_process_without_an_options_file_to_read(self) -> None:
        self.page.reload = None
        self.assertEqual(self.status(JSON), 501)
        self.admin = Admin(Health(), Metrics("9.9", strict=True))
        self.assertEqual(self.status(JSON), 404)


class LogInTests(Access):
    """A listener on a network."""

    def setUp(self) -> None:
        super().setUp()
        self.reloads = Reloads()
        self.admin = self.over_page(self.page, reload=ReloadPage(self.reloads))

    def ask(self, authorization: bytes, *fields: tuple[bytes, bytes]) -> int:
        client = Client(peer="10.0.0.5", address="10.0.0.5", host="10.0.0.9:9443")
        headers = Headers(((b"authorization", authorization), *fields))
        return self.successResultOf(
            self.admin.handle(Request("POST", b"/reload", headers=headers, client=client))
        ).status

    def test_it_needs_a_log_in(self) -> None:
        self.assertEqual(self.status(b"/reload", method="POST"), 401)
        self.assertEqual(self.ask(basic("guess"), JSON), 401)
        self.assertEqual(self.journal.records[-1]["action"], "log-in failure")
        self.assertEqual(self.ask(b"Bearer " + TOKEN.encode(), JSON), 401)
        self.assertEqual(self.reloads.running, [])

    def test_a_user_of_the_audit_page(self) -> None:
        self.assertEqual(self.ask(basic(), JSON), 200)
        self.assertEqual(len(self.reloads.running), 1)

    def test_a_browser_that_has_logged_in_and_looks_at_another_site(self) -> None:
        self.assertEqual(self.ask(basic()), 403)
        self.assertEqual(self.ask(basic(), JSON, (b"sec-fetch-site", b"cross-site")), 403)
        self.assertEqual(self.ask(basic(), JSON, (b"origin", b"https://evil.example")), 403)
        self.assertEqual(self.reloads.running, [])

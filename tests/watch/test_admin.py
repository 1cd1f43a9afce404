from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.http.errors import Refused
from hospproxy.http.messages import Client, Request, Response
from hospproxy.interfaces import IHandler
from hospproxy.watch.admin import Admin, is_loopback
from hospproxy.watch.health import Health
from hospproxy.watch.merge import Overview, Snapshot
from hospproxy.watch.metrics import Metrics


class Pages(SynchronousTestCase):
    def setUp(self) -> None:
        self.health, self.meter = Health(), Metrics("9.9", strict=True)
        self.admin = Admin(self.health, self.meter)
        verifyObject(IHandler, self.admin)

    def ask(self, path: bytes, method: str = "GET", host: str = "127.0.0.1:9443") -> Response:
        return self.successResultOf(self.admin.handle(Request(method, path, client=Client(host=host))))

    def json(self, answer: Response) -> Any:
        self.assertEqual(answer.headers.get(b"content-type"), b"application/json")
        return msgspec.json.decode(answer.body)

    def test_live_whatever_else_is_wrong(self) -> None:
        self.health.checks["journal"] = lambda: "full"
        answer = self.ask(b"/live")
        self.assertEqual((answer.status, self.json(answer)), (200, {"live": True}))

    def test_ready(self) -> None:
        answer = self.ask(b"/ready")
        self.assertEqual((answer.status, self.json(answer)), (200, {"ready": True, "reasons": {}}))

    def test_not_ready_says_why(self) -> None:
        self.health.checks["journal"] = lambda: "full"
        answer = self.ask(b"/ready")
        self.assertEqual(answer.status, 503)
        self.assertEqual(self.json(answer), {"ready": False, "reasons": {"journal": "full"}})

    def test_metrics(self) -> None:
        self.meter.count("gate_refused_total", reason="full")
        answer = self.ask(b"/metrics")
        self.assertIn(b'\nhospproxy_gate_refused_total{reason="full"} 1.0\n', answer.body)
        self.assertIn(b"version=0.0.4", answer.headers.get(b"content-type") or b"")

    def test_head_is_as_get(self) -> None:
        self.assertEqual(self.ask(b"/live", "HEAD"), self.ask(b"/live"))

    def test_the_index_names_the_others(self) -> None:
        body = self.ask(b"/").body
        for path in (b"/live", b"/ready", b"/metrics"):
            self.assertIn(b'href="%s"' % path, body)

    def test_the_index_is_a_page_in_the_houses_dress(self) -> None:
        answer = self.ask(b"/")
        self.assertIn(b'href="/style.css"', answer.body)
        self.assertNotIn(b"/audit", answer.body)
        self.assertEqual(self.ask(b"/style.css").headers.get(b"content-type"), b"text/css; charset=utf-8")
        self.health.checks["journal"] = lambda: "<full>"
        self.assertIn(b"&lt;full&gt;", self.ask(b"/").body)

    def test_without_the_page_there_is_none(self) -> None:
        self.assertEqual(self.ask(b"/audit").status, 404)

    def test_names_that_it_was_given(self) -> None:
        self.admin = Admin(self.health, self.meter, hosts=("audit.example", "10.0.0.9:9443"))
        for host, status in (
            ("audit.example", 200), ("audit.example:9443", 200), ("10.0.0.9:9443", 200), ("localhost", 200),
            ("evil.example", 421), ("10.0.0.9:1", 421), ("audit.example.evil", 421),
        ):  # fmt: skip
            self.assertEqual(self.ask(b"/metrics", host=host).status, status, host)

    def test_health_checks_may_be_asked_by_address(self) -> None:
        for host in ("10.0.0.9", "10.0.0.9:9443", "[2001:db8::1]:9443"):
            for path in (b"/live", b"/ready"):
                self.assertEqual(self.ask(path, host=host).status, 200, (path, host))
            for path in (b"/", b"/metrics", b"/x"):
                self.assertEqual(self.ask(path, host=host).status, 421, (path, host))

    def test_nothing_is_kept_by_caches(self) -> None:
        for path in (b"/", b"/live", b"/ready", b"/metrics", b"/x"):
            self.assertEqual(self.ask(path).headers.get(b"cache-control"), b"no-store")

    def test_elsewhere(self) -> None:
        self.assertEqual(self.json(self.ask(b"/live/"))["status"], 404)
        answer = self.ask(b"/live", "POST")
        self.assertEqual((answer.status, answer.headers.get(b"allow")), (405, b"GET, HEAD"))

    def test_a_name_of_the_web_is_refused_everywhere(self) -> None:
        for path in (b"/", b"/live", b"/ready", b"/metrics", b"/x"):
            self.assertEqual(self.ask(path, host="evil.example:9443").status, 421)

    def test_what_arrival_refuses(self) -> None:
        error = Refused("too long", status=431, headers=((b"x", b"y"),))
        answer = self.successResultOf(self.admin.refuse(Request(), error))
        self.assertEqual((answer.status, answer.headers.get(b"x")), (431, b"y"))
        self.assertEqual(self.json(answer)["detail"], "too long")
        self.assertEqual(self.admin.body_limit("POST", b"/live"), 1024)

    def test_a_mistake_is_a_500_without_words(self) -> None:
        def mistaken() -> bytes:
            raise ValueError("a mistake")

        self.patch(self.meter, "render", mistaken)
        answer = self.ask(b"/metrics")
        self.assertEqual((answer.status, self.json(answer)["detail"]), (500, ""))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Loopback(SynchronousTestCase):
    def test_names_of_this_machine(self) -> None:
        for host in (
            "",
            "localhost",
            "LOCALHOST:9443",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:9443",
        ):
            self.assertTrue(is_loopback(host), host)

    def test_all_others(self) -> None:
        for host in (
            "evil.example", "evil.example:9443", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
            "0.0.0.0", "[::]", "[::2]:1", "127.0.0.1@evil.example", "127.0.0.1:80:80", "xlocalhost", "[evil]",
        ):  # fmt: skip
            self.assertFalse(is_loopback(host), host)


class OfAllWorkers(SynchronousTestCase):
    def setUp(self) -> None:
        self.health, self.meter = Health(), Metrics("9.9", strict=True)
        self.second = Snapshot([], {})
        self.missing: dict[int, str] = {}
        self.waiting: Deferred[Overview] | None = None

        async def gather(own: Snapshot) -> Overview:
            if self.waiting is not None:
                return await self.waiting
            return Overview({0: own, 1: self.second}, self.missing)

        self.admin = Admin(self.health, self.meter, gather=gather)

    def begin(self, path: bytes, method: str = "GET") -> Deferred[Response]:
        return self.admin.handle(Request(method, path, client=Client(host="127.0.0.1:9443")))

    def ask(self, path: bytes, method: str = "GET") -> Response:
        return self.successResultOf(self.begin(path, method))

    def test_all_are_ready(self) -> None:
        answer = self.ask(b"/ready")
        self.assertEqual(answer.status, 200)
        self.assertEqual(msgspec.json.decode(answer.body), {"ready": True, "reasons": {}, "missing": {}})

    def test_one_that_is_not_ready(self) -> None:
        self.health.checks["ledger"] = lambda: "locked"
        self.second = Snapshot([], {"journal": "full"})
        answer = self.ask(b"/ready")
        self.assertEqual(answer.status, 503)
        reasons = {"worker 0 ledger": "locked", "worker 1 journal": "full"}
        self.assertEqual(msgspec.json.decode(answer.body)["reasons"], reasons)
        self.assertIn(b"worker 1 journal", self.ask(b"/").body)

    def test_one_that_is_being_replaced_takes_nobody_out(self) -> None:
        self.missing = {2: "it is being started"}
        answer = self.ask(b"/ready")
        self.assertEqual(answer.status, 200)
        self.assertEqual(msgspec.json.decode(answer.body)["missing"], {"worker 2": "it is being started"})
        self.assertIn(b"<strong>worker 2</strong>: it is being started", self.ask(b"/").body)

    def test_metrics_of_all(self) -> None:
        body = self.ask(b"/metrics").body
        self.assertIn(b"\nhospproxy_workers_running 2.0\n", body)
        self.assertIn(b'\nhospproxy_worker_up{worker="1"} 1.0\n', body)

    def test_other_methods_and_pages_are_as_ever(self) -> None:
        self.assertEqual(self.ask(b"/metrics", "POST").status, 405)
        self.assertEqual(self.ask(b"/none").status, 404)
        self.waiting = Deferred()  # the process is up, whatever the other parts do
        self.assertEqual(self.ask(b"/live").status, 200)

    def test_a_mistake_is_a_500(self) -> None:
        self.waiting = fail(ValueError("broken"))
        self.assertEqual(self.ask(b"/metrics").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_who_leaves_is_waited_for_no_more(self) -> None:
        self.waiting = Deferred()
        asked = self.begin(b"/metrics")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)

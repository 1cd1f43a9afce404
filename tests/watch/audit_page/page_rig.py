"""The audit page with a Clock, a journal that waits and a worker that works at once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.http.errors import RecordFailed
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.interfaces import IJournal, ITrailReader
from hospproxy.keys import audit_users as users
from hospproxy.options.page_section import AuditPageSettings
from hospproxy.watch.audit_page.login import LogIn
from hospproxy.watch.audit_page.looks import AuditLooks
from hospproxy.watch.audit_page.page import AuditPage
from hospproxy.watch.audit_page.pages import Pages

from .readers import NOW, FakeReader

QUICK = users.Cost(n=2, r=1, p=1)
NAME, PASSWORD = "auditor", "a long password"


def pseudonym(name: str) -> str:
    return f"hmac of {len(name)}"


class NowWorker:
    """Does everything at once, and counts."""

    def __init__(self) -> None:
        self.done = 0

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        self.done += 1
        return execute(task)

    def stop(self) -> None:
        pass


@implementer(IJournal)
class HeldJournal:
    """Stores nothing until told to; ``at_once`` stores everything."""

    full = False

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.waiting: list[Deferred[None]] = []
        self.at_once = True

    def append(self, record: Mapping[str, Any]) -> Deferred[None]:
        self.records.append(record)
        done: Deferred[None] = Deferred()
        self.waiting.append(done)
        if self.at_once:
            self.written()
        return done

    def written(self) -> None:
        self.waiting.pop(0).callback(None)

    def failed(self) -> None:
        self.waiting.pop(0).errback(RecordFailed("full"))


class PageCase(SynchronousTestCase):
    """A page over a trail in memory."""

    def setUp(self) -> None:
        self.clock, self.journal, self.worker = Clock(), HeldJournal(), NowWorker()
        self.file = Path(self.mktemp()) / "audit-users"
        users.add(self.file, NAME, PASSWORD, QUICK)
        self.login = LogIn(self.file, self.worker, self.clock, pseudonym, 300.0)
        self.patch(users, "NOBODY", users.StoredPassword(QUICK, bytes(16), bytes(32)))
        self.reader = FakeReader()
        self.page = self.over(self.reader)

    def over(self, reader: ITrailReader | None, rows: int = 5, report_rows: int = 10) -> AuditPage:
        pages = Pages(reader, self.worker, lambda: NOW, AuditPageSettings(rows=rows, report_rows=report_rows))
        return AuditPage(pages, self.login, AuditLooks(pseudonym), self.journal, self.clock, lambda: NOW)

    def begin(
        self,
        target: str = "/audit",
        *,
        method: str = "GET",
        user: str | None = NAME,
        password: str = PASSWORD,
        peer: str = "192.0.2.9",
        scheme: str = "https",
    ) -> Deferred[Response]:
        """Send a request, and do not wait."""
        path, _, query = target.encode().partition(b"?")
        headers = Headers()
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode())
            headers = Headers(((b"authorization", b"Basic " + token),))
        client = Client(peer=peer, address=peer, scheme=scheme, host="localhost", request_id="look-1")
        request = Request(method, path, query or None, headers=headers, client=client)
        return Deferred.fromCoroutine(self.page.answer(request))

    def ask(self, target: str = "/audit", **more: Any) -> Response:
        return self.successResultOf(self.begin(target, **more))

    def html(self, target: str = "/audit", status: int = 200, **more: Any) -> str:
        answer = self.ask(target, **more)
        self.assertEqual(answer.status, status, answer.body.decode()[:2000])
        return answer.body.decode()

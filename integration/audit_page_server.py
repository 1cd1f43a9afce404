"""Serves the audit page on a real port of this process, over records of invented people, for browsers.

python -m integration.audit_page_server 9444     # http://127.0.0.1:9444/audit, auditor / PASSWORD below
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.listeners import Listener, Listeners
from hospproxy.interfaces import IJournal
from hospproxy.keys import audit_users as users
from hospproxy.options.page_section import AuditPageSettings
from hospproxy.process.clocks import install_monotonic
from hospproxy.process.worker import TaskThread
from hospproxy.watch.admin import Admin
from hospproxy.watch.audit_page.login import LogIn
from hospproxy.watch.audit_page.looks import AuditLooks
from hospproxy.watch.audit_page.page import AuditPage
from hospproxy.watch.audit_page.pages import Pages
from hospproxy.watch.health import Health
from hospproxy.watch.metrics import Metrics
from tests.watch.audit_page.readers import NOW, FakeReader, alert, failed_login, listed, record

USER, PASSWORD = "auditor", "a long and boring password"
HOSTILE = '<img src=x onerror="document.title=1">=cmd|\u202egnp.exe\x07'
QUICK = users.Cost(n=1 << 12)


@implementer(IJournal)
class Kept:
    """A journal in memory; its records can be searched, as in the database."""

    full = False

    def __init__(self, reader: FakeReader) -> None:
        self.looks: list[Mapping[str, Any]] = []
        self._reader = reader

    def append(self, given: Mapping[str, Any]) -> Deferred[None]:
        self.looks.append(given)
        return succeed(None)


@define(eq=False)
class ServedPage:
    """A running audit page.

    :param url: of the listener.
    """

    url: str
    listeners: Listeners
    journal: Kept
    workers: tuple[TaskThread, TaskThread]

    def stop(self) -> Deferred[None]:
        """Close the port, and end the threads."""
        for worker in self.workers:
            worker.stop()
        return self.listeners.stop(0.5)


def made_up(seed: int = 7, *, hostile: bool = True) -> FakeReader:
    """Records of a day on the wards.

    :param hostile: one user has a name with markup in it.
    """
    chance = random.Random(seed)
    records = []
    for ago in sorted((chance.expovariate(1 / 9000) for _ in range(400)), reverse=True):
        who = chance.choices(range(1, 7), (8, 5, 3, 3, 2, 1))[0]
        person = {"id": who, "name": f"staff{who}", "certainty": "verified"}
        served = f"10.20.{who}.{chance.randint(2, 40)}"
        client = {"address": served, "peer": served, "chain": [], "scheme": "https"}
        request = f"{chance.getrandbits(64):016x}"
        common: dict[str, Any] = {"who": person, "client": client, "request_id": request}
        patient = str(chance.randint(1, 12))
        dice = chance.random()
        if dice < 0.2:
            records.append(listed(ago, f"staff{who}") | common)
        elif dice < 0.32:
            note = common | {"resource": "notes", "route": "/notes", "method": "POST", "action": "create"}
            about = note | {"patient_id": patient, "record_id": str(chance.randint(40, 300)), "status": 201}
            records.append(
                record(ago + 0.4, **about) | {"kind": "intent", "outcome": "intended", "status": None}
            )
            records.append(record(ago, **about))
        elif dice < 0.36:
            records.append(failed_login(ago, f"198.51.100.{chance.randint(5, 8)}"))
        elif dice < 0.4:
            records.append(
                record(ago, **common, outcome="refused", status=422, method="POST", action="create",
                       record_id=None, patient_id=None, rule_hits=["body: name is too long"])
            )  # fmt: skip
        elif dice < 0.42:
            records.append(record(ago, **common, outcome="hosp is away", status=503, patient_id=patient))
        else:
            records.append(record(ago, **common, record_id=patient, patient_id=patient))
    records.append(alert(200))
    if hostile:
        records.append(
            record(30, who={"id": 66, "name": HOSTILE, "certainty": "verified"}, request_id="hostile")
        )
    return FakeReader(records)


def serve_page(reactor: Any, folder: Path, port: int = 0, reader: FakeReader | None = None) -> ServedPage:
    """Open a listener with the page.

    :param folder: for the users file and the certificate.
    """
    install_monotonic(reactor)
    reader = reader or made_up()
    users.add(folder / "audit-users", USER, PASSWORD, QUICK)
    journal, passwords, rendering = (
        Kept(reader),
        TaskThread(reactor, "passwords"),
        TaskThread(reactor, "pages"),
    )
    login = LogIn(folder / "audit-users", passwords, reactor, lambda name: "00" * 32, 300.0)
    pages = Pages(reader, rendering, lambda: NOW, AuditPageSettings(rows=25, report_rows=200))
    page = AuditPage(pages, login, AuditLooks(lambda name: "00" * 32), journal, reactor, lambda: NOW)
    context = ListenerContext(handler=Admin(Health(), Metrics("demo"), page), clock=reactor, wall=lambda: NOW)
    listeners = Listeners([Listener(f"http://127.0.0.1:{port}", plain="serve")], context, folder)
    listeners.listen(reactor)
    host, bound = listeners.addresses()[0]
    return ServedPage(f"http://{host}:{bound}", listeners, journal, (passwords, rendering))


def main() -> None:
    """Serve until Ctrl-C."""
    import tempfile

    from twisted.internet import reactor

    served = serve_page(reactor, Path(tempfile.mkdtemp()), int(sys.argv[1]))
    print(f"{served.url}/audit  {USER} / {PASSWORD}", flush=True)
    cast(Any, reactor).run()


if __name__ == "__main__":
    main()

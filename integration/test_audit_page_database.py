"""The audit page of the running proxy, over the database that the proxy itself has filled."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest_twisted
from playwright.sync_api import Browser
from twisted.internet import reactor, task
from twisted.internet.threads import deferToThread

from .audit_page_server import USER
from .chromium import browse, context
from .http_client import Answer, ask
from .postgresql import PostgreSQL
from .processes import START_S, Processes, Proxy
from .test_guarantees import NOTE
from .test_writers_http import lines, until_well

PATIENT = 7
EXPORTS = ("export.csv", "export.jsonl", "export.fhir.ndjson")


class Auditor:
    """A logged-in auditor, and their requests."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.password = (proxy.state / "audit-page-password").read_text().strip()
        self.looks: list[str] = []

    async def get(self, path: str, status: int = 200) -> Answer:
        answer = await ask(self.proxy.admin_url, "GET", path, user=USER, password=self.password)
        assert answer.status == status, answer.body.decode()[:2000]
        self.looks.append(path.partition("?")[0])
        return answer

    async def exported(self, name: str, query: str) -> Answer:
        """Get an export, and check that it is streamed."""
        answer = await self.get(f"/audit/{name}?{query}")
        assert answer.field("transfer-encoding") == "chunked"
        return answer


async def auditor_of(proxy: Proxy) -> Auditor:
    await proxy.until_said("The audit page's first user is auditor")
    return Auditor(proxy)


async def a_day(processes: Processes) -> Proxy:
    """Patient 7 is shown: alone, in a list of all patients, and in a short list."""
    proxy = await processes.proxy((await processes.hosp()).url)
    note = {**NOTE, "patient_id": PATIENT}
    for user, method, path, body in (
        ("staff1", "GET", f"/patients/{PATIENT}", None),
        ("staff1", "GET", "/patients/8", None),
        ("staff1", "POST", "/notes", note),
        ("staff2", "GET", "/patients", None),
        ("staff3", "GET", f"/notes?patient_id={PATIENT}", None),
        ("staff4", "GET", "/patients/8", None),
    ):
        more: dict[str, Any] = {} if body is None else {"document": body}
        assert (await ask(proxy.plain_url, method, path, user=user, **more)).status in (200, 201)
    await until_well(proxy, "database")
    return proxy


@pytest_twisted.ensureDeferred
async def test_two_clicks_to_who_has_looked_at_patient_7_lists_too(processes: Processes) -> None:
    proxy = await a_day(processes)
    auditor = await auditor_of(proxy)

    def work(browser: Browser) -> str:
        page = context(browser, (USER, auditor.password)).new_page()
        page.goto(proxy.admin_url)
        page.get_by_role("link", name="Audit trail").click()
        page.get_by_role("link", name=str(PATIENT), exact=True).first.click()
        return page.get_by_role("table").first.inner_text()

    people = await deferToThread(browse, work)
    assert all(name in people for name in ("staff1", "staff2", "staff3")), people
    assert "staff4" not in people
    report = (await auditor.get(f"/audit/patients/{PATIENT}/disclosures")).body.decode()
    assert all(name in report for name in ("staff1", "staff2", "staff3", "in a list", "Made by", USER))
    assert "staff4" not in report


@pytest_twisted.ensureDeferred
async def test_what_is_exported_is_the_journal(processes: Processes) -> None:
    proxy = await a_day(processes)
    auditor = await auditor_of(proxy)
    journal = [line for line in lines(proxy) if json.loads(line)["kind"] == "request"]
    content = (await auditor.exported("export.jsonl", "kind=request")).body
    assert content.splitlines() == journal[::-1], "byte by byte, newest first"
    table = list(
        csv.reader(io.StringIO((await auditor.exported("export.csv", "kind=request")).body.decode()))
    )
    assert len(table) == 1 + len(journal)
    fhir = (await auditor.exported("export.fhir.ndjson", f"patient={PATIENT}&staff=staff3")).body
    [event] = [json.loads(line) for line in fhir.splitlines()]
    assert event["resourceType"] == "AuditEvent"
    named = [entity["what"]["identifier"]["value"] for entity in event["entity"] if "what" in entity]
    assert str(PATIENT) in named, "a small list is told by its patients"


@pytest_twisted.ensureDeferred
async def test_each_look_is_found_on_the_page(processes: Processes) -> None:
    proxy = await a_day(processes)
    auditor = await auditor_of(proxy)
    targets = ["/audit?staff=staff1", "/audit/trouble", f"/audit/patients/{PATIENT}"]
    targets += [f"/audit/patients/{PATIENT}/disclosures", *(f"/audit/{name}?status=200" for name in EXPORTS)]
    for target in targets:
        await auditor.get(target)
    [first, *_] = [record for record in proxy.records() if record["kind"] == "request"]
    trail = (proxy.state / "audit" / "trail-id").read_text().strip()
    await auditor.get(f"/audit/records/{trail}/w0/{first['seq']}")
    await until_well(proxy, "database")
    expected = list(auditor.looks)
    page = (await auditor.get("/audit?kind=look")).body.decode()
    exported = (await auditor.exported("export.jsonl", "kind=look")).body
    found = [json.loads(line) for line in exported.splitlines()][::-1]
    spelled = {
        f"/audit/patients/{PATIENT}": "/audit/patients/{id}",
        f"/audit/patients/{PATIENT}/disclosures": "/audit/patients/{id}/disclosures",
        f"/audit/records/{trail}/w0/{first['seq']}": "/audit/records/{trail}/{journal}/{seq}",
    }
    assert [look["route"] for look in found][: len(expected)] == [
        spelled.get(path, path) for path in expected
    ]
    assert all((look["who"]["name"], look["status"]) == (USER, 200) for look in found)
    assert page.count(USER) >= len(expected)
    about = [look for look in found if look["patient_id"] == str(PATIENT)]
    assert len(about) == 3, "two pages of the patient, and a record"
    assert await proxy.stop() == 0


async def until_served(auditor: Auditor, path: str) -> None:
    clock: Any = reactor
    latest = clock.seconds() + START_S
    while (
        await ask(auditor.proxy.admin_url, "GET", path, user=USER, password=auditor.password)
    ).status != 200:
        assert clock.seconds() < latest, auditor.proxy.log[-3000:]
        await task.deferLater(clock, 0.1, lambda: None)


@pytest_twisted.ensureDeferred
async def test_postgresql_that_is_away_is_said_in_words(processes: Processes) -> None:
    server = PostgreSQL()
    try:
        options = f'[audit_database]\nurl = "{server.url()}"\nconnect_timeout_s = 1\n'
        proxy = await processes.proxy((await processes.hosp()).url, options=options)
        auditor = await auditor_of(proxy)
        await says(auditor, "does not answer")
        await server.start()
        await until_served(auditor, "/audit")
        server.kill()
        await says(auditor, "does not answer")
        assert await proxy.stop() == 0
        assert "Traceback" not in proxy.log
    finally:
        server.remove()


async def says(auditor: Auditor, words: str) -> None:
    """Check the text on every page, and in exports."""
    for path in (
        "/audit",
        "/audit/trouble",
        f"/audit/patients/{PATIENT}",
        *(f"/audit/{one}" for one in EXPORTS),
    ):
        answer = await auditor.get(path, 503)
        assert words in answer.body.decode()
        assert answer.field("retry-after") == "30"


@pytest_twisted.ensureDeferred
async def test_an_index_that_is_not_there_yet_is_said_in_words(processes: Processes) -> None:
    state = processes.folder / "state"
    state.mkdir()
    (state / "audit-index").write_text("in the way")
    proxy = await processes.proxy((await processes.hosp()).url, state=state)
    auditor = await auditor_of(proxy)
    await says(auditor, "does not answer")
    (state / "audit-index").unlink()
    await until_served(auditor, "/audit")
    assert await proxy.stop() == 0
    assert "Traceback" not in proxy.log

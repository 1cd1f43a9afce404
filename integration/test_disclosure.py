"""What records say about shown patients, failed log-ins and deleted notes, in a whole proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest_twisted

from .http_client import ask
from .journal_files import content, journal_files
from .processes import Processes, Proxy
from .test_audit_trail import verified
from .test_guarantees import NOTE


def requests(proxy: Proxy) -> dict[str, dict[str, Any]]:
    return {record["request_id"]: record for record in proxy.records() if record["kind"] == "request"}


async def look_around(proxy: Proxy) -> dict[str, set[str]]:
    """Send reads; return the patients that each response showed, by request id."""
    shown = {}
    for path, field in (("/patients", "id"), ("/patients?hospital_id=3", "id"), ("/notes", "patient_id")):
        for _ in range(2):  # the second from the cache
            answer = await ask(proxy.plain_url, "GET", path, user="staff1")
            shown[answer.field("x-request-id") or ""] = seen = {str(one[field]) for one in answer.json()}
    headers = {"If-None-Match": answer.field("etag") or ""}
    again = await ask(proxy.plain_url, "GET", "/notes", user="staff1", headers=headers)
    assert again.status == 304
    shown[again.field("x-request-id") or ""] = seen
    await ask(proxy.plain_url, "HEAD", "/patients", user="staff1")
    await ask(proxy.plain_url, "GET", "/patients/7", user="staff1")
    return shown


@pytest_twisted.ensureDeferred
async def test_lists_name_their_patients_in_every_file(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    shown = await look_around(proxy)
    assert await proxy.stop() == 0
    proxy = await processes.proxy(hosp.url, state=proxy.state)
    shown |= await look_around(proxy)
    assert await proxy.stop() == 0
    verified(proxy)
    found = {}
    for path in journal_files(proxy.state / "audit"):
        sets: dict[str, set[str]] = {}
        for record in map(json.loads, content(path).splitlines()):
            if record["kind"] == "disclosure":
                assert record["set"] not in sets
                sets[record["set"]] = set(record["patients"])
            elif record.get("disclosed"):
                found[record["request_id"]] = sets[record["disclosed"]["set"]]
                assert record["disclosed"]["count"] == len(found[record["request_id"]])
                assert record["kind"] == "request"
    assert found == shown


@pytest_twisted.ensureDeferred
async def test_a_deleted_or_moved_note_has_its_patient(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    made = (await ask(proxy.plain_url, "POST", "/notes", {**NOTE, "patient_id": 7}, user="staff1")).json()
    path = f"/notes/{made['id']}"
    moved = await ask(proxy.plain_url, "PATCH", path, {"patient_id": 8}, user="staff1")
    gone = await ask(proxy.plain_url, "DELETE", path, user="staff1")
    again = await ask(proxy.plain_url, "DELETE", path, user="staff1")
    assert [one.status for one in (moved, gone)] == [200, 200]
    assert await proxy.stop() == 0
    records = requests(proxy)
    of = [records[one.field("x-request-id") or ""] for one in (moved, gone, again)]
    assert [(one["patient_before"], one["patient_id"]) for one in of] == [
        ("7", "8"),
        (None, "8"),
        (None, "8"),
    ]
    intents = [
        record for record in proxy.records() if record["kind"] == "intent" and record["action"] == "delete"
    ]
    assert {record["patient_id"] for record in intents} == {"8"}
    reads = [
        record for record in proxy.records() if record.get("own") == "patient" and record["kind"] == "own"
    ]
    assert [record["on_behalf_of"]["request_id"] for record in reads] == [
        of[0]["request_id"],
        of[1]["request_id"],
    ]
    verified(proxy)


@pytest_twisted.ensureDeferred
async def test_failed_log_ins_are_told_from_missing_ones_and_names_are_known_over_restarts(
    processes: Processes,
) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    wrong = await ask(proxy.plain_url, "DELETE", "/notes/1", user="staff1", password="no")
    malformed = await ask(proxy.plain_url, "GET", "/notes", headers={"Authorization": "Basic ?"})
    missing = await ask(proxy.plain_url, "GET", "/notes")
    assert await proxy.stop() == 0
    proxy = await processes.proxy(hosp.url, state=proxy.state)
    later = await ask(proxy.plain_url, "GET", "/hospitals", user="staff1", password="no")
    assert await proxy.stop() == 0
    assert {one.status for one in (wrong, malformed, missing, later)} == {401}
    records = requests(proxy)
    of = [records[one.field("x-request-id") or ""] for one in (wrong, malformed, missing, later)]
    failure = "log-in failure"
    assert [one["action"] for one in of] == [failure, failure, "search", failure]
    assert [(one["method"], one["route"]) for one in of[:2]] == [("DELETE", "/notes/{id}"), ("GET", "/notes")]
    assert [one["who"]["certainty"] for one in of] == ["claimed", "none", "none", "claimed"]
    assert of[0]["who"]["name_hmac"] == of[3]["who"]["name_hmac"]
    assert of[0]["who"]["name"] is None
    assert not [record for record in proxy.records() if record.get("own") == "patient"]

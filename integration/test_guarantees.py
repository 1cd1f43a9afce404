"""The proxy's promises on authors, on separate responses for separate users, and on accounts, end to end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.defer import gatherResults

from .http_client import Answer, ask, control, journal, script
from .processes import Hosp, Processes, Proxy

JSON = {"Content-Type": "application/json"}
NOTE: dict[str, Any] = {"title": "Visit", "body": "Eats again.", "patient_id": 7}


@frozen
class Rig:
    """The proxy with default options in front of a stand-in that responds at once."""

    hosp: Hosp
    proxy: Proxy

    async def ask(self, method: str, path: str, *document: Any, user: str = "staff1", **more: Any) -> Answer:
        return await ask(self.proxy.url, method, path, *document, user=user, **more)

    async def authors(self) -> list[tuple[object, object]]:
        """(author, whose credentials) of every note that HOSP stored or changed."""
        stored = [
            *await journal(self.hosp.control_url, "stored", "notes"),
            *await journal(self.hosp.control_url, "updated", "notes"),
        ]
        return [(entry["fields"]["staff_id"], entry["staff_id"]) for entry in stored]


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def rig(processes: Processes) -> AsyncIterator[Rig]:
    hosp = await processes.hosp()
    yield Rig(hosp, await processes.proxy(hosp.url))


# Every note names its author


def note(text: str = "", **more: Any) -> bytes:
    """A note's JSON that contains a piece of raw text."""
    return (json.dumps({**NOTE, **more})[:-1] + text + "}").encode()


FORGED = {
    "no author": (note(), JSON, 201),
    "a number": (note(staff_id=7), JSON, 201),
    "null": (note(staff_id=None), JSON, 201),
    "an escaped key": (note(', "staff\\u005fid": 7'), JSON, 201),
    "another spelling of the key": (note(Staff_id=7, staffId=7), JSON, 201),
    "digits": (note(staff_id="7"), JSON, 422),
    "a list": (note(staff_id=[7]), JSON, 422),
    "a fraction": (note(staff_id=7.0), JSON, 422),
    "true": (note(staff_id=True), JSON, 422),
    "doubled keys": (note(', "staff_id": 1, "staff_id": 7'), JSON, 400),
    "doubled keys, one escaped": (note(', "staff_id": 1, "staff\\u005fid": 7'), JSON, 400),
    "wrapped": (json.dumps({"note": {**NOTE, "staff_id": 7}}).encode(), JSON, 422),
    "wrapped beside": (note(note={"staff_id": 7, "title": "x"}), JSON, 422),
    "a list of notes": (b"[" + note(staff_id=7) + b"]", JSON, 422),
    "a form": (
        b"title=x&patient_id=7&staff_id=7",
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
    ),
    "a form without its type": (b"title=x&patient_id=7&staff_id=7", {}, 400),
    "a multipart form": (b"--x\r\n\r\n--x--", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    "UTF-16": (note(staff_id=7).decode().encode("utf-16"), JSON, 400),
}


@pytest_twisted.ensureDeferred
async def test_no_spelling_of_an_author_forges_one(rig: Rig) -> None:
    for name, (body, headers, status) in FORGED.items():
        answer = await rig.ask("POST", "/notes", body=body, headers=headers)
        assert answer.status == status, (name, answer)
        if status == 201:
            assert answer.json()["staff_id"] == 1, name
    created = [status for _, _, status in FORGED.values() if status == 201]
    assert await rig.authors() == [(1, 1)] * len(created)


@pytest_twisted.ensureDeferred
async def test_no_query_and_no_header_forges_an_author(rig: Rig) -> None:
    for path in ("/notes?staff_id=7", "/notes?note[staff_id]=7", "/notes?note%5Bstaff_id%5D=7&_method=PATCH"):
        assert (await rig.ask("POST", path, NOTE)).json()["staff_id"] == 1
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = await rig.ask("POST", "/notes", NOTE, headers={name: "DELETE", **JSON})
        assert (answer.status, answer.json()["staff_id"]) == (201, 1)
        assert (await rig.ask("POST", "/notes/5", NOTE, headers={name: "PATCH", **JSON})).status == 405
    assert await rig.authors() == [(1, 1)] * 6
    assert await journal(rig.hosp.control_url, "deleted") == []


@pytest_twisted.ensureDeferred
async def test_a_change_leaves_the_author_as_it_was(rig: Rig) -> None:
    [before] = [
        each for each in await control(rig.hosp.control_url, "GET", "/records/notes") if each["id"] == 5
    ]
    assert before["staff_id"] != 1
    whole = {**before, "title": "Changed", "staff_id": 1}
    changed = await rig.ask("PATCH", "/notes/5", whole)
    assert (changed.status, changed.json()["title"]) == (200, "Changed")
    assert changed.json()["staff_id"] == before["staff_id"]


@pytest_twisted.ensureDeferred
async def test_the_policy_refuse_refuses_anothers_name(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options='[ownership]\npolicy = "refuse"\n')
    rig = Rig(hosp, proxy)
    assert (await rig.ask("POST", "/notes", {**NOTE, "staff_id": 7})).status == 403
    assert (await rig.ask("POST", "/notes", {**NOTE, "staff_id": 1})).status == 201
    assert (await rig.ask("POST", "/notes", NOTE)).status == 201
    assert (await rig.ask("PATCH", "/notes/301", {"staff_id": 7})).status == 403
    assert await rig.authors() == [(1, 1)] * 2


@pytest_twisted.ensureDeferred
async def test_many_who_write_at_once_keep_their_names(rig: Rig) -> None:
    users = [f"staff{number}" for number in range(1, 13)]
    made = await gatherResults(
        [
            ask(rig.proxy.url, "POST", "/notes", {**NOTE, "body": user, "staff_id": 13}, user=user)
            for user in users
            for _ in range(3)
        ],
        consumeErrors=True,
    )
    assert [answer.status for answer in made] == [201] * 36
    entries = await journal(rig.hosp.control_url, "stored", "notes")
    assert len(entries) == 36
    assert all(entry["fields"]["body"] == f"staff{entry['fields']['staff_id']}" for entry in entries)


# Two users never share a response


@pytest_twisted.ensureDeferred
async def test_each_sees_what_hosp_shows_to_him_alone(processes: Processes) -> None:
    """The stand-in shows each member of staff only their own hospital, so a shared response would be visible."""
    hosp = await processes.hosp("--own-hospital-only")
    proxy = await processes.proxy(hosp.url)
    users = [f"staff{number}" for number in range(1, 15)]
    paths = ("/patients", "/hospitals", "/notes", "/patients?hospital_id=1", "/patients/1", "/staffs/me")
    truth = {(user, path): await ask(hosp.url, "GET", path, user=user) for user in users for path in paths}
    assert len({truth[user, "/patients"].body for user in users}) == 7
    for _ in range(2):
        got = await gatherResults([ask(proxy.url, "GET", path, user=user) for user, path in truth])
        for (user, path), answer in zip(truth, got, strict=True):
            theirs = truth[user, path]
            assert answer.status == theirs.status, (user, path)
            assert without_addresses(answer) == without_addresses(theirs), (user, path)


def without_addresses(answer: Answer) -> Any:
    value = answer.json()
    rows = value if isinstance(value, list) else [value]
    return [{name: each for name, each in row.items() if name not in ("url", "detail")} for row in rows]


@pytest_twisted.ensureDeferred
async def test_what_is_remembered_is_for_the_same_credentials_only(rig: Rig) -> None:
    for _ in range(2):
        answer = await rig.ask("GET", "/hospitals")
    assert "hit" in (answer.field("cache-status") or "")
    other = await rig.ask("GET", "/hospitals", user="staff2")
    assert (other.status, other.json()) == (200, answer.json())
    assert "uri-miss" in (other.field("cache-status") or "")
    assert (await rig.ask("GET", "/hospitals", password="password2")).status == 401
    assert (await rig.ask("GET", "/hospitals", password="Password1")).status == 401
    assert (await rig.ask("GET", "/hospitals", user="STAFF1")).status == 401
    assert (await ask(rig.proxy.url, "GET", "/hospitals")).status == 401


@pytest_twisted.ensureDeferred
async def test_no_ones_cookie_reaches_another(processes: Processes) -> None:
    hosp = await processes.hosp("--set-cookie")
    proxy = await processes.proxy(hosp.url)
    cookies = set()
    for user in ("staff1", "staff2", "staff1"):
        answer = await ask(proxy.url, "GET", "/hospitals", user=user)
        assert answer.field("set-cookie") == (await ask(hosp.url, "GET", "/hospitals", user=user)).field(
            "set-cookie"
        )
        cookies.add(answer.field("set-cookie"))
    assert len(cookies) == 2


# Accounts that change


CHANGES = {
    "password": ("PATCH", {"password": "new"}),
    "name": ("PATCH", {"name": "renamed"}),
    "deleted": ("DELETE", None),
}


@pytest.mark.parametrize("fault", [None, "error_after", "reset_after", "truncated"])
@pytest.mark.parametrize("change", list(CHANGES))
@pytest_twisted.ensureDeferred
async def test_old_credentials_get_nothing_from_memory(rig: Rig, change: str, fault: str | None) -> None:
    """They get nothing from the cache, not even while the outcome of the change is unknown."""
    for path in ("/hospitals", "/staffs/me", "/patients?hospital_id=1"):
        for _ in range(2):
            answer = await rig.ask("GET", path, user="staff2")
        assert "hit" in (answer.field("cache-status") or "")
    method, document = CHANGES[change]
    # HOSP sends 404 for hidden records, too: a lost deletion is proved only to a client that has seen the record.
    assert (await rig.ask("GET", "/staffs/2")).status == 200
    if fault:
        await script(rig.hosp.control_url, fault, method=method)
    answer = await rig.ask(method, "/staffs/2", *([document] if document else []))
    # A password cannot be read back; HOSP accepts the new one, which proves the change.
    assert answer.status == 200, answer
    for path in ("/hospitals", "/staffs/me", "/patients?hospital_id=1"):
        assert (await rig.ask("GET", path, user="staff2")).status == 401
    new = {"password": ("staff2", "new"), "name": ("renamed", "password2")}.get(change)
    if new:
        answer = await rig.ask("GET", "/hospitals", user=new[0], password=new[1])
        assert answer.status == 200


@pytest_twisted.ensureDeferred
async def test_an_account_that_changed_behind_the_proxys_back_is_found_out_at_the_next_question(
    rig: Rig,
) -> None:
    await rig.ask("GET", "/hospitals", user="staff2")
    await control(
        rig.hosp.control_url,
        "POST",
        "/change",
        {"resource": "staffs", "id": 2, "fields": {"password": "new"}},
    )
    assert (await rig.ask("GET", "/notes", user="staff2")).status == 401
    # From now on the entries for these credentials cannot be used either.
    assert (await rig.ask("GET", "/hospitals", user="staff2")).status == 401

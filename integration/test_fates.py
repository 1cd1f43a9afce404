"""Each write has one outcome, each screening one note: end to end, with HOSP failing in every known way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import gatherResults

from .http_client import Answer, ask, control, journal, script
from .processes import Hosp, Processes, Proxy
from .test_guarantees import NOTE, Rig

AFTER = ["error_after", "reset_after", "truncated", "cut_head"]
"""Faults that strike when the write has been stored."""


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def rig(processes: Processes) -> AsyncIterator[Rig]:
    hosp = await processes.hosp()
    yield Rig(hosp, await processes.proxy(hosp.url))


async def stored(hosp: Hosp, resource: str = "notes") -> list[dict[str, Any]]:
    """Fields of each record that HOSP stored, as they were then."""
    return [entry["fields"] for entry in await journal(hosp.control_url, "stored", resource)]


async def sent(hosp: Hosp, method: str, path: str) -> int:
    """Number of such requests that HOSP got."""
    return sum(
        (entry["method"], entry["path"]) == (method, path)
        for entry in await journal(hosp.control_url, "request")
    )


async def until(true: Any, what: str, seconds: float = 60.0) -> Any:
    """Call a function until it returns something true, and return that.

    :raise AssertionError: it never did.
    """
    from twisted.internet import reactor

    clock = cast(Any, reactor)
    latest = clock.seconds() + seconds
    while not (found := await true()):
        assert clock.seconds() < latest, f"never: {what}"
        await task.deferLater(clock, 0.1, lambda: None)
    return found


@pytest.mark.parametrize("fault", AFTER)
@pytest_twisted.ensureDeferred
async def test_a_post_that_was_stored_is_answered_with_what_was_stored(rig: Rig, fault: str) -> None:
    new: dict[str, dict[str, Any]] = {
        "notes": {**NOTE, "staff_id": 1},
        "patients": {"name": "Moss", "hospital_id": 2, "birthdate": "2020-02-29"},
        "hospitals": {"name": "Hill"},
        "staffs": {"name": "newcomer", "hospital_id": 2, "password": "secret"},
    }
    for resource, document in new.items():
        await script(rig.hosp.control_url, fault, method="POST")
        answer = await rig.ask("POST", f"/{resource}", document)
        assert answer.status == 201, (resource, answer)
        [record] = await stored(rig.hosp, resource)
        shown = answer.json()
        assert shown["id"] == record["id"]
        assert {**shown, **document, "url": ""} == {**shown, "url": ""} | {
            name: value for name, value in document.items() if name == "password"
        }
        assert "password" not in shown
        assert answer.field("location") == f"{rig.proxy.url}/{resource}/{record['id']}"
        assert shown["url"] == f"{rig.proxy.url}/{resource}/{record['id']}.json"
        assert await sent(rig.hosp, "POST", f"/{resource}") == 1


@pytest_twisted.ensureDeferred
async def test_a_post_that_was_not_stored_is_sent_again(rig: Rig) -> None:
    await script(rig.hosp.control_url, "error_before", "error_before", method="POST")
    answer = await rig.ask("POST", "/notes", NOTE)
    assert answer.status == 201
    [record] = await stored(rig.hosp)
    assert answer.json()["id"] == record["id"]
    assert await sent(rig.hosp, "POST", "/notes") == 3


@pytest_twisted.ensureDeferred
async def test_a_note_like_an_older_one_is_stored_beside_it(rig: Rig) -> None:
    first = await rig.ask("POST", "/notes", NOTE)
    await script(rig.hosp.control_url, "error_before", method="POST")
    second = await rig.ask("POST", "/notes", NOTE)
    await script(rig.hosp.control_url, "error_after", method="POST")
    third = await rig.ask("POST", "/notes", NOTE)
    ids = [each["id"] for each in await stored(rig.hosp)]
    assert [answer.json()["id"] for answer in (first, second, third)] == ids == [301, 302, 303]


@pytest_twisted.ensureDeferred
async def test_equal_notes_at_one_time_are_as_many_as_were_asked_for(rig: Rig) -> None:
    faults = ["error_after", "error_before", None, "reset_after", "truncated", "error_after"]
    await script(rig.hosp.control_url, *faults, method="POST")
    answers = await gatherResults(
        [ask(rig.proxy.url, "POST", "/notes", NOTE, user="staff1") for _ in range(6)]
    )
    assert [answer.status for answer in answers] == [201] * 6
    assert sorted(answer.json()["id"] for answer in answers) == sorted(
        each["id"] for each in await stored(rig.hosp)
    )


@pytest.mark.parametrize("fault", [*AFTER, "error_before"])
@pytest_twisted.ensureDeferred
async def test_a_change_and_a_deletion_are_carried_out_once(rig: Rig, fault: str) -> None:
    # Only a client that has read the record gets a sure outcome; otherwise it may stay unknown (ADR 27, 28).
    assert (await rig.ask("GET", "/notes/5")).status == 200
    await script(rig.hosp.control_url, fault, method="PATCH")
    changed = await rig.ask("PATCH", "/notes/5", {"title": "Changed"})
    assert (changed.status, changed.json()["title"]) == (200, "Changed")
    assert (await rig.ask("GET", "/notes/5")).json()["title"] == "Changed"
    await script(rig.hosp.control_url, fault, method="DELETE")
    gone = await rig.ask("DELETE", "/notes/5")
    assert gone.status == 200
    assert gone.field("content-type") == "text/html; charset=utf-8"
    assert len(await journal(rig.hosp.control_url, "deleted")) == 1
    assert (await rig.ask("GET", "/notes/5")).status == 404


@pytest_twisted.ensureDeferred
async def test_reads_and_screenings_are_repeated(rig: Rig) -> None:
    for fault in ("error_before", "reset_before", "truncated", "busy", "bad_gateway", "cut_head"):
        await script(rig.hosp.control_url, None, fault, method="GET")
        user = f"staff{len(fault)}"
        assert (
            await rig.ask("GET", "/patients", user=user, headers={"Cache-Control": "no-cache"})
        ).status == 200
        await script(rig.hosp.control_url, fault, method="POST", path="/patients/*/screen")
        screened = await rig.ask("POST", "/patients/3/screen", {"images": [fault]})
        assert (screened.status, len(screened.json()["results"])) == (200, 1)


# A screening becomes one note


@pytest.mark.parametrize("fault", [None, *AFTER, "error_before"])
@pytest_twisted.ensureDeferred
async def test_a_screening_becomes_exactly_one_note(rig: Rig, fault: str | None) -> None:
    await script(rig.hosp.control_url, fault, method="POST", path="/notes")
    answer = await rig.ask("POST", "/patients/3/screen", {"images": ["one", "two"]}, user="staff4")
    straight = await ask(
        rig.hosp.url, "POST", "/patients/3/screen", {"images": ["one", "two"]}, user="staff4"
    )
    assert (answer.status, answer.json()) == (200, straight.json())
    await until_delivered(rig.proxy)
    [record] = await stored(rig.hosp)
    assert (record["patient_id"], record["staff_id"], record["title"]) == (3, 4, "Screening result")
    for words in (answer.json()["overall"], *answer.json()["results"], "Reference: "):
        assert words in record["body"]
    listed = (await rig.ask("GET", "/notes?patient_id=3", user="staff4")).json()
    assert [each["id"] for each in listed if each["title"] == "Screening result"] == [record["id"]]


async def until_delivered(proxy: Proxy) -> None:
    """Wait until no result waits to be stored, and at least one was."""

    async def delivered() -> bool:
        metrics = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
        return "hospproxy_screening_pending 0.0" in metrics and (
            'hospproxy_screening_notes_total{outcome="stored"}' in metrics
        )

    await until(delivered, "the note is stored")


@pytest_twisted.ensureDeferred
async def test_a_stop_waits_for_the_note(processes: Processes) -> None:
    """HOSP takes a second for each request, so the note is in flight when the stop comes."""
    hosp = await processes.hosp("--delay", "fixed:1")
    proxy = await processes.proxy(hosp.url)
    answer = await ask(proxy.url, "POST", "/patients/3/screen", {"images": ["one"]}, user="staff4")
    assert answer.status == 200
    assert await stored(hosp) == []
    assert await proxy.stop() == 0
    assert len(await stored(hosp)) == 1


# Outcomes that cannot be known in time


@pytest_twisted.ensureDeferred
async def test_what_is_not_known_in_time_is_said_honestly_and_found_later(processes: Processes) -> None:
    """The only slot at HOSP is taken for 3 s, so that the note is sent late, and HOSP stores it another 9 s later.

    A client that sends the same note again meanwhile gets the one that was found.
    """
    hosp = await processes.hosp()
    options = "[gate]\nconcurrency = 1\nslow_s = 7.0\n"
    proxy = await processes.proxy(hosp.url, top="deadline_s = 10.0\n", options=options)
    rig = Rig(hosp, proxy)
    assert (await rig.ask("GET", "/staffs/me")).status == 200
    late = {"stall_s": 3, "late_commit_min_s": 9, "late_commit_max_s": 9, "late_commit_504": 0}
    await control(hosp.control_url, "POST", "/faults", late)
    await script(hosp.control_url, "stall", method="GET", path="/hospitals")
    await script(hosp.control_url, "late_commit", method="POST", path="/notes")
    listing = ask(proxy.url, "GET", "/hospitals", user="staff1")

    async def stalled() -> bool:
        return any(entry["fault"] == "stall" for entry in await journal(hosp.control_url, "fault"))

    await until(stalled, "the place is taken")
    told = await rig.ask("POST", "/notes", NOTE)
    assert told.status in (502, 504), told
    assert told.json()["outcome"] == "unknown"
    reference = told.json()["reference"]
    again = ask(proxy.url, "POST", "/notes", NOTE, user="staff1")
    assert (await listing).status == 200
    joined: Answer = await again
    [record] = await stored(hosp)
    assert (joined.status, joined.json()["id"]) == (201, record["id"])
    assert await sent(hosp, "POST", "/notes") == 1

    async def finding() -> list[dict[str, Any]]:
        return [line for line in proxy.records() if line["kind"] == "finding"]

    [found] = await until(finding, "the finding is on record")
    assert (found["reference"], found["outcome"]) == (reference, "found")
    answered = [
        line for line in proxy.records() if line["kind"] == "request" and line["reference"] == reference
    ]
    assert {(line["status"], line["outcome"]) for line in answered} >= {(told.status, "unknown")}

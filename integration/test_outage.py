"""HOSP is away: users can still read what they have read before, even after a kill of the proxy; others cannot."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor, task

from .http_client import Answer, ask, control
from .processes import Hosp, Processes, Proxy
from .test_breaker import gauge
from .test_guarantees import NOTE

QUICK = "[retry]\nmax_attempts = 2\nbase_s = 0.01\n"
HELD = "[gate]\nslow_s = 5.0\n"
"""After a kill, slots are held for attempts in flight: 10 s with this option, 25 s without."""
READS = ["/hospitals", "/patients?hospital_id=1", "/notes", "/notes?patient_id=1", "/notes/1", "/staffs/me"]


class Ward:
    """A proxy that can be killed, in front of a HOSP that can be away."""

    def __init__(self, processes: Processes, hosp: Hosp, proxy: Proxy) -> None:
        self.processes = processes
        self.hosp = hosp
        self.proxy = proxy

    async def ask(self, method: str, path: str, *document: Any, user: str = "staff1", **more: Any) -> Answer:
        return await ask(self.proxy.url, method, path, *document, user=user, **more)

    async def offline(self, away: bool = True) -> None:
        await control(self.hosp.control_url, "POST", "/offline", {"offline": away})
        if not away:
            await self._until_back()

    async def _until_back(self) -> None:
        """Wait until the proxy sends requests again: on a slow machine the breaker has opened during the outage."""
        for _ in range(400):
            if await gauge(self.proxy, "breaker_open") == 0:
                return
            await task.deferLater(cast(Any, reactor), 0.05, lambda: None)
        raise AssertionError("the breaker never closed")

    async def kill(self) -> None:
        """kill -9 the proxy, and start the next one with the same state folder."""
        self.proxy.signal("KILL")
        await self.proxy.exit_status()
        self.proxy = await self.processes.proxy(
            self.hosp.url, options=QUICK + HELD, state=self.proxy.state, port=self.proxy.port
        )

    async def on_disk(self, entries: int = 0) -> None:
        """Wait until the responses that were read are on disk; they are written with a delay.

        :param entries: number of responses that must be there.
        """
        for _ in range(400):
            with contextlib.closing(sqlite3.connect(self.proxy.state / "cache" / "answers.sqlite")) as file:
                [(found,)] = file.execute("SELECT count(*) FROM entries").fetchall()
            if found >= (entries or len(READS)):
                return
            await task.deferLater(cast(Any, reactor), 0.05, lambda: None)
        raise AssertionError(f"only {found} of the answers were ever written")


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def ward(processes: Processes) -> AsyncIterator[Ward]:
    hosp = await processes.hosp()
    yield Ward(processes, hosp, await processes.proxy(hosp.url, options=QUICK + HELD))


async def read_all(ward: Ward, user: str = "staff1") -> dict[str, Answer]:
    return {path: await ward.ask("GET", path, user=user) for path in READS}


@pytest_twisted.ensureDeferred
async def test_what_was_read_is_read_again_after_kill_9(ward: Ward) -> None:
    before = await read_all(ward)
    assert {answer.status for answer in before.values()} == {200}
    await ward.on_disk()
    await ward.offline()
    await ward.kill()
    for path, old in before.items():
        answer = await ward.ask("GET", path)
        assert (answer.status, answer.body) == (200, old.body), path
        assert "detail=stale-if-error" in (answer.field("cache-status") or "")
        assert int(answer.field("age") or -1) >= 0
    never_read = await ward.ask("GET", "/notes/2")
    assert never_read.status in (502, 503)
    # No other user, no other password, and no write.
    assert (await ward.ask("GET", "/notes", user="staff2")).status in (502, 503)
    assert (await ward.ask("GET", "/notes", password="wrong")).status in (502, 503)
    assert (await ward.ask("POST", "/notes", NOTE)).status in (502, 503)
    records = [one for one in ward.proxy.records() if one.get("cache") == "stale"]
    assert len(records) == len(READS)
    assert all("identity:offline-grace" in one["rule_hits"] for one in records)
    await ward.offline(away=False)
    assert (await ward.ask("POST", "/notes", NOTE)).status == 201


@pytest_twisted.ensureDeferred
async def test_ones_own_write_is_read_or_nothing_is(ward: Ward) -> None:
    await read_all(ward)
    await read_all(ward, "staff2")
    await ward.on_disk(2 * len(READS))
    new = (await ward.ask("POST", "/notes", {**NOTE, "patient_id": 1})).json()
    await ward.ask("PATCH", "/notes/1", {"title": "Changed"})
    await ward.offline()
    for _ in range(2):
        listed = (await ward.ask("GET", "/notes")).json()
        assert listed[0] == new
        assert (await ward.ask("GET", "/notes?patient_id=1")).json()[0] == new
        changed = (await ward.ask("GET", "/notes/1")).json()
        assert changed["title"] == "Changed"
        assert changed in listed
        colleague = await ward.ask("GET", "/notes", user="staff2")
        assert colleague.status == 200
        assert new not in colleague.json()
        assert "invalidated" in (colleague.field("cache-status") or "")
        await ward.kill()
    await ward.offline(away=False)
    deleted = await ward.ask("DELETE", f"/notes/{new['id']}")
    assert deleted.status == 200
    await ward.offline()
    await ward.kill()
    # This process never had the lists in memory and could not patch them. It serves nothing, not the deleted note.
    assert (await ward.ask("GET", "/notes")).status == 503


@pytest.mark.parametrize(
    ("method", "document", "fault"),
    [
        ("PATCH", {"password": "new"}, None),
        ("PATCH", {"password": "new"}, "error_after"),
        ("PATCH", {"password": "new"}, "away"),
        ("PATCH", {"name": "other"}, None),
        ("DELETE", None, None),
        ("DELETE", None, "reset_after"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_revoked_credentials_read_nothing(
    ward: Ward, method: str, document: dict[str, str] | None, fault: str | None
) -> None:
    await read_all(ward, "staff2")
    await ward.ask("GET", "/staffs")  # unknown credentials would revoke nothing
    await ward.on_disk(len(READS) + 1)
    if fault == "away":
        await ward.offline()
    elif fault is not None:
        await control(
            ward.hosp.control_url,
            "POST",
            "/script",
            {"faults": [{"fault": fault, "method": method, "path": "/staffs/*"}]},
        )
    more = () if document is None else (document,)
    written = await ward.ask(method, "/staffs/2", *more)
    assert written.status in ((502, 503, 504) if fault == "away" else (200,)), written
    if document is None and fault is None:
        again = {"name": "staff2", "hospital_id": 1, "password": "another"}
        assert (await ward.ask("POST", "/staffs", again)).status == 201
    await ward.offline()
    for times in range(2):
        for path in READS:
            answer = await ward.ask("GET", path, user="staff2")
            assert answer.status in (401, 502, 503), (path, answer)
        if not times:
            await ward.kill()


@pytest_twisted.ensureDeferred
async def test_without_the_master_key_it_starts_with_nothing(ward: Ward) -> None:
    await read_all(ward)
    await ward.on_disk()
    (ward.proxy.state / "master.key").unlink()
    await ward.offline()
    await ward.kill()
    await ward.proxy.until_said("cache on disk: deleted and recreated")
    assert (await ward.ask("GET", "/notes")).status in (502, 503)
    await ward.offline(away=False)
    assert (await ward.ask("GET", "/notes")).status == 200

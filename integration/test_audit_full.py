"""The disk under a whole proxy's journal is full while clients continue: no response leaves unrecorded."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from .http_client import Answer, ask, journal
from .processes import Processes, Proxy
from .response_recorder import Noted, Notes, NotingClient
from .small_disk import SmallDisk, small_disk
from .test_audit_kill import lines_of, unrecorded
from .test_audit_trail import get, metrics, post, verified

RESERVE = 128 << 10
WRITES = ("write", "write after a continue")
READS = ("hit", "another's hit", "not modified or not")
_PATIENCE_S = 60


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    from twisted.internet import reactor

    clock = cast(Any, reactor)
    latest = clock.seconds() + _PATIENCE_S
    while not await holds():
        assert clock.seconds() < latest, "it never came true"
        await task.deferLater(clock, 0.1, lambda: None)


async def told(asked: Awaitable[Answer]) -> Answer | None:
    """The response; None if the connection was closed without one."""
    try:
        return await asked
    except OSError:  # http.client's RemoteDisconnected is one
        return None


async def value(proxy: Proxy, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", await metrics(proxy), re.MULTILINE)
    assert found is not None
    return float(found[1])


async def through_a_full_disk(proxy: Proxy, disk: SmallDisk, notes: Notes) -> float:
    """Fill the disk under load, use up the reserve, then make space; return how many records were lost."""

    async def noted() -> bool:
        return len(notes.found) > 100

    async def lost() -> bool:
        return await value(proxy, "hospproxy_record_failures_total") > 20

    async def unanswered() -> bool:
        return await told(get(proxy)) is None

    async def stored() -> bool:
        answer = await told(post(proxy))
        return answer is not None and answer.status == 201

    await until(noted)
    disk.fill(proxy)
    await until(lost)
    await until(unanswered)
    assert await value(proxy, "hospproxy_record_disk_full") == 1
    assert (await ask(proxy.admin_url, "GET", "/ready")).status == 503
    disk.free(proxy)
    await until(stored)
    assert (await get(proxy)).status == 200
    assert await value(proxy, "hospproxy_record_disk_full") == 0
    return await value(proxy, "hospproxy_record_failures_total")


def judge_the_full(noted: list[Noted], when_full: str) -> None:
    """Check the responses from the first refused write on, while the records went to the reserve."""
    first = next(at for at, each in enumerate(noted) if each.kind in WRITES and each.status == 503)
    reads = {each.status for each in noted[first:] if each.kind in READS}
    assert (503 in reads) == (when_full == "refuse")
    assert reads


@pytest.mark.parametrize(("when_full", "commit"), [("serve", "auto"), ("refuse", "thread")])
@pytest_twisted.ensureDeferred
async def test_a_full_disk(processes: Processes, tmp_path: Path, when_full: str, commit: str) -> None:
    hosp = await processes.hosp()
    state = tmp_path / "state"
    disk = await small_disk(processes, state / "audit")
    print(disk.described())
    options = f'[audit]\nreserve_bytes = {RESERVE}\nwhen_full = "{when_full}"\ncommit = "{commit}"\n'
    proxy = await processes.proxy(hosp.url, options=options, state=state, within=disk.within)
    notes = Notes()
    clients = [NotingClient(proxy, notes, seed) for seed in range(2)]
    running = gatherResults([deferToThread(client.run) for client in clients], consumeErrors=True)
    try:
        lost = await through_a_full_disk(proxy, disk, notes)
    finally:
        for client in clients:
            client.stopped = True
        await running
    assert await proxy.stop() == 0
    folder = disk.seen(proxy.state / "audit")
    lines = lines_of(folder)
    assert unrecorded(notes.found, lines) == []
    judge_the_full(notes.found, when_full)
    assert sum(line["lost"] for line in lines if line["kind"] == "gap") == lost
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["outcome"] for line in lines if line["kind"] == "request" and line["status"] == 503} >= {
        "not recorded"
    }
    stored = await journal(hosp.control_url, "stored", "notes")
    assert len(stored) <= sum(line["kind"] == "intent" for line in lines)
    verified(proxy, folder=folder)
    print(f"{len(notes.found)} answers, {len(lines)} records, {lost:.0f} lost and unanswered")

"""How workers end: they leave no running process and no unknown state behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest_twisted
from twisted.internet.defer import gatherResults

from .http_client import ask, journal
from .processes import Hosp, Processes, Proxy, is_open
from .worker_processes import NOTE, alive, begin, start_workers, until, workers_of


async def posted(hosp: Hosp, most: int) -> None:
    """Wait until HOSP has got so many POSTs."""

    async def come() -> bool:
        requests = await journal(hosp.control_url, "request")
        return sum(each["method"] == "POST" for each in requests) >= most

    await until(come)


def settled(proxy: Proxy) -> list[str]:
    """Ledger entries whose outcome is known."""
    file = proxy.state / "ledger" / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10.0)) as connection:
        rows = connection.execute("SELECT record FROM entries WHERE closed IS NOT NULL AND owner IS NULL")
        return [str(record) for [record] in rows]


@pytest_twisted.ensureDeferred
async def test_a_stop_answers_what_is_under_way(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "fixed:0.3")
    proxy = await start_workers(processes, hosp.url)
    pids = list(workers_of(proxy).values())
    asked = [ask(proxy.url, "POST", "/notes", {**NOTE, "title": f"{n}"}, user="staff1") for n in range(4)]
    await posted(hosp, 4)
    proxy.signal("TERM")
    await until(lambda: not is_open(proxy.port))
    assert [answer.status for answer in await gatherResults(asked)] == [201] * 4
    assert await proxy.exit_status() == 0
    assert alive(pids) == []


@pytest_twisted.ensureDeferred
async def test_what_a_worker_has_begun_its_successor_finds_out(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "fixed:0.3")
    # All die at once: their slots at HOSP stay reserved until it must have finished their requests, and 5 s more.
    proxy = await start_workers(processes, hosp.url, options="[gate]\nslow_s = 0.5\n")
    asking = ask(proxy.url, "POST", "/notes", NOTE, user="staff1")
    asking.addErrback(lambda _failure: None)
    await posted(hosp, 1)
    first = workers_of(proxy)
    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    await asking
    [record] = await until(lambda: settled(proxy))
    assert [str(each["id"]) for each in await journal(hosp.control_url, "stored")] == [record]
    await until(lambda: not set(first.values()) & set(workers_of(proxy).values()))
    await until(lambda: len(alive(workers_of(proxy).values())) == 2)
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_workers_do_not_outlive_their_supervisor(processes: Processes) -> None:
    proxy = await start_workers(processes, (await processes.hosp()).url)
    pids = list(workers_of(proxy).values())
    proxy.signal("KILL")
    assert await proxy.exit_status() == -9
    await until(lambda: not alive(pids))
    assert not is_open(proxy.port)


@pytest_twisted.ensureDeferred
async def test_a_start_that_fails_ends_all(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "ledger").write_text("no folder")
    proxy = begin(processes, tmp_path)
    assert await proxy.exit_status() == 1
    assert "worker 0: hospproxy: the ledger cannot be opened: " in proxy.log
    assert "worker 0 failed to start (exited with status 1)" in proxy.log
    assert "worker 1" not in proxy.log
    assert not is_open(proxy.port)

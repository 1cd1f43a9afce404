"""A stop always ends, whatever has happened to the state folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from .http_client import ask
from .processes import Processes, Proxy
from .worker_processes import NOTE, alive, start_workers, until, workers_of

pytestmark = pytest.mark.real_start

QUICK = "drain_s = 2\n"
BOUND_S = 2 + 10 + 5 + 3
"""Seconds: ``drain_s``, a process's extra time, its supervisor's extra time, and 3 s for a busy machine."""


async def used(proxy: Proxy) -> None:
    """Send requests so that every file of the state folder exists."""
    for _ in range(3):
        assert (await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1")).status == 201
        assert (await ask(proxy.plain_url, "GET", "/patients/1", user="staff1")).status == 200


def delete(folder: Path) -> None:
    """Remove a folder in which a process still creates files."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("first", ["folder", "signal", "both"])
@pytest_twisted.ensureDeferred
async def test_it_ends_though_the_state_folder_is_deleted(processes: Processes, first: str) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, top=QUICK)
    await used(proxy)
    if first == "folder":
        delete(proxy.state)
        for _ in range(3):  # requests meanwhile may fail or not, but they end
            await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1").addErrback(lambda _: None)
        proxy.signal("TERM")
    else:
        proxy.signal("TERM")
        if first == "both":
            await deferToThread(delete, proxy.state)
    await proxy.exit_status(BOUND_S)
    if first == "signal":
        assert proxy.status == 0
        assert "#info] stopped" in proxy.log
    assert "did not end in" not in proxy.log


@pytest_twisted.ensureDeferred
async def test_so_do_workers_and_their_supervisor(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await start_workers(processes, hosp.url, top=QUICK)
    await used(proxy)
    workers = list(workers_of(proxy).values())
    delete(proxy.state)
    proxy.signal("TERM")
    await proxy.exit_status(BOUND_S)
    assert alive(workers) == []


@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_stop_holds_nobody_up(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await start_workers(processes, hosp.url, top=QUICK)
    workers = list(workers_of(proxy).values())
    os.kill(workers[1], 19)  # SIGSTOP: it does not even read its messages
    proxy.signal("TERM")
    assert await proxy.exit_status(BOUND_S) == 0
    assert "did not exit in time; sending SIGKILL" in proxy.log
    await until(lambda: not alive(workers))

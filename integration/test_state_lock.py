"""Two proxies and one state folder: the second does not start, and names the holder of the folder."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest_twisted

from .http_client import ask, journal
from .ports import free_port
from .processes import Hosp, Processes, Proxy, proxy_options, twistd_command
from .test_audit_queries import found
from .test_backup import state
from .worker_processes import NOTE, WITH_REDIS, alive, start_workers, until, workers_of


def beside(processes: Processes, hosp: Hosp, proxy: Proxy, top: str = "", options: str = "") -> Proxy:
    """Start another proxy on the folder of a running one, with its own ports; do not wait for it."""
    second = Proxy("second", port=free_port(), plain_port=free_port(), admin_port=free_port())
    second.state = proxy.state
    file = processes.folder / f"second-{len(processes.started)}.toml"
    file.write_text(proxy_options(second, hosp.url, top, options))
    processes.start(second, [*twistd_command(), "hospproxy", "--config", str(file)])
    return second


def marks_of(folder: Path) -> list[str]:
    """Files that belong to one process: journals, and its lock in the ledger."""
    return sorted(str(each) for each in (*folder.glob("audit/*.jsonl"), *folder.glob("ledger/*/*")))


@pytest_twisted.ensureDeferred
async def test_the_second_is_refused_and_the_first_goes_on(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    assert (await ask(proxy.plain_url, "GET", "/notes/1", user="staff1")).status == 200
    before = marks_of(proxy.state)
    second = beside(processes, hosp, proxy)
    assert await second.exit_status() == 1
    assert f"hospproxy: {proxy.state} is in use by process {proxy.pid}: stop that proxy first" in second.log
    assert "Traceback" not in second.log
    assert marks_of(proxy.state) == before
    assert (await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1")).status == 201
    # Commands that only read the folder of a running proxy still may.
    assert len(await found(proxy.state / "audit", "--kind", "request")) == 2
    assert state("backup", "--state", proxy.state, processes.folder / "backup").returncode == 0
    assert not list((processes.folder / "backup").rglob("lock"))
    assert "is not empty" in state("restore", processes.folder / "backup", proxy.state).stderr
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_one_that_was_killed_holds_up_nobody(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    for _ in range(3):
        proxy.signal("KILL")
        proxy = await processes.proxy(hosp.url, state=proxy.state)
    assert (await ask(proxy.plain_url, "GET", "/notes/1", user="staff1")).status == 200
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_the_daemon_of_twistd_holds_it(processes: Processes, tmp_path: Path) -> None:
    hosp = await processes.hosp()
    proxy = Proxy("daemon", port=free_port(), plain_port=free_port(), admin_port=free_port())
    proxy.state = tmp_path / "state"
    file, pids = tmp_path / "daemon.toml", tmp_path / "daemon.pid"
    file.write_text(proxy_options(proxy, hosp.url))
    command = [each for each in twistd_command() if each not in ("-n", "--nodaemon", "--pidfile=")]
    flags = ["--pidfile", str(pids), "--logfile", str(tmp_path / "daemon.log")]
    processes.start(proxy, [*command, *flags, "hospproxy", "--config", str(file)])
    assert await proxy.exit_status() == 0
    pid = int(await until(lambda: pids.exists() and pids.read_text()))
    try:
        second = beside(processes, hosp, proxy)
        assert await second.exit_status() == 1
        assert f"{proxy.state} is in use by process {pid}: " in second.log
    finally:
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not alive([pid]))


@pytest_twisted.ensureDeferred
async def test_two_supervisors_are_refused_too_with_the_same_redis(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await start_workers(processes, hosp.url)
    redis = WITH_REDIS.format(port=processes._redis[0].port)
    for workers in (1, 2):
        second = beside(processes, hosp, proxy, f"workers = {workers}\n", redis)
        assert await second.exit_status() == 1
        assert f"{proxy.state} is in use by process {proxy.pid}: " in second.log
    assert len(alive(workers_of(proxy).values())) == 2
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_a_start_waits_for_workers_whose_supervisor_was_killed(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "fixed:6")  # longer than a start waits for a running proxy
    proxy = await start_workers(processes, hosp.url)
    asking = ask(proxy.url, "POST", "/notes", NOTE, user="staff1")

    async def come() -> bool:
        return any(each["method"] == "POST" for each in await journal(hosp.control_url, "request"))

    await until(come)
    workers = workers_of(proxy).values()
    # However long the second takes to start, their write is still in flight then.
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    proxy.signal("KILL")
    redis = WITH_REDIS.format(port=processes._redis[0].port)
    began = time.monotonic()
    second = beside(processes, hosp, proxy, "workers = 2\n", redis)
    try:
        await second.until_said("workers that process")
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    await second.until_said("hospproxy admin on", timeout_s=60.0)
    assert (await asking).status == 201
    assert alive(workers) == [], time.monotonic() - began
    assert await second.stop() == 0

"""Starting and stopping as an operator does: the real ``twistd``, its exit status, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor, task

from hospproxy.keys.secrets import MasterKey

from .http_client import ask
from .ports import free_port
from .processes import STOP_S, Processes, Proxy, is_open, proxy_options, twistd_command

pytestmark = pytest.mark.real_start

BAD = """
deadline = 5
[gate]
concurrency = "five"
[retry]
max_attempts = 0
[identity]
enabled = false
[cache]
enabled = false
[screening]
enabled = false
[upstream]
url = "ftp://hosp"
[[listeners]]
url = "https://127.0.0.1:{port}"
certificate_file = "missing.pem"
private_key_file = "missing.key"
"""
MISTAKES = (
    "upstream.url",
    "retry.max_attempts",
    "gate.concurrency",
    "deadline",
    "ownership.enabled",
    "listeners[0].certificate_file",
    "listeners[0].private_key_file",
)


async def until_it_runs(proxy: Proxy) -> None:
    """Wait until it responds: it binds its ports a moment before it handles signals."""
    assert (await ask(proxy.admin_url, "GET", "/live")).status == 200


async def stop_daemon(pid: int, pidfile: Path) -> None:
    """Stop a process that is not our child; wait until it has removed its pid file, or kill it."""
    clock = cast(Any, reactor)
    latest = clock.seconds() + STOP_S
    os.kill(pid, signal.SIGTERM)
    while os.access(pidfile, os.F_OK):
        if clock.seconds() > latest:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{pid} did not stop")
        await task.deferLater(clock, 0.02, lambda: None)


@pytest_twisted.ensureDeferred
async def test_a_wrong_file_is_refused_with_every_mistake(processes: Processes, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(BAD.format(port=free_port()))
    for more in ([], ["--check"]):
        done = await processes.run("hospproxy", *twistd_command(), "hospproxy", "--config", str(file), *more)
        assert done.status == 1
        lines = done.log.splitlines()
        assert [line.split(": ")[:2] for line in lines] == [["hospproxy", path] for path in MISTAKES]
    assert os.listdir(tmp_path) == ["bad.toml"]


@pytest_twisted.ensureDeferred
async def test_check_binds_and_makes_nothing(processes: Processes, tmp_path: Path) -> None:
    port = free_port()
    flags = ["--upstream", "http://127.0.0.1:1", "--listen", f"https://127.0.0.1:{port}", "--state", "state"]
    done = await processes.run("hospproxy", *twistd_command(), "hospproxy", "--check", *flags)
    assert (done.status, done.log) == (0, "hospproxy: options are good\n")
    assert os.listdir(tmp_path) == []


@pytest_twisted.ensureDeferred
async def test_the_first_start_makes_what_it_needs_and_the_second_keeps_it(processes: Processes) -> None:
    proxy = await processes.proxy("http://127.0.0.1:1")
    key = proxy.state / "master.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    made = MasterKey.load(key)
    await until_it_runs(proxy)
    assert await proxy.stop() == 0
    again = await processes.proxy("http://127.0.0.1:1", state=proxy.state)
    assert MasterKey.load(key) == made
    await until_it_runs(again)
    assert await again.stop() == 0


@pytest_twisted.ensureDeferred
async def test_flags_go_before_the_file(processes: Processes, tmp_path: Path) -> None:
    named, given = (
        Proxy("named", port=free_port(), plain_port=free_port(), admin_port=free_port()),
        free_port(),
    )
    named.state = tmp_path / "named"
    file = tmp_path / "hospproxy.toml"
    file.write_text(proxy_options(named, "ftp://wrong"))
    flags = ["--upstream", "http://127.0.0.1:1", "--listen", f"https://127.0.0.1:{given}", "--state", "given"]
    running = Proxy("hospproxy", port=given, admin_port=named.admin_port)
    processes.start(running, [*twistd_command(), "hospproxy", "--config", str(file), *flags])
    await processes.until_open(running, given, named.admin_port)
    assert not is_open(named.port)
    assert (tmp_path / "given" / "master.key").exists()
    assert not named.state.exists()
    await until_it_runs(running)
    assert await running.stop() == 0


@pytest_twisted.ensureDeferred
async def test_a_key_that_others_can_read_is_refused(processes: Processes, tmp_path: Path) -> None:
    state = tmp_path / "state"
    MasterKey.load_or_create(state / "master.key")
    (state / "master.key").chmod(0o644)
    flags = ["--upstream", "http://127.0.0.1:1", "--state", str(state)]
    done = await processes.run("hospproxy", *twistd_command(), "hospproxy", *flags)
    assert done.status == 1
    assert "chmod 600" in done.log


@pytest_twisted.ensureDeferred
async def test_a_daemon_keeps_to_the_folder_in_which_it_was_started(
    processes: Processes, tmp_path: Path
) -> None:
    """It changes its working folder after it has read the options, and forks after it has built the service."""
    file, pidfile, elsewhere = tmp_path / "hospproxy.toml", tmp_path / "hospproxy.pid", tmp_path / "elsewhere"
    elsewhere.mkdir()
    proxy = Proxy("daemon", port=free_port(), plain_port=free_port(), admin_port=free_port())
    proxy.state = Path("state")
    file.write_text(proxy_options(proxy, "http://127.0.0.1:1"))
    daemon = ["--rundir", str(elsewhere), "--pidfile", str(pidfile), "--logfile", str(tmp_path / "log")]
    command = [argument for argument in twistd_command() if argument not in ("-n", "--pidfile=")]
    done = await processes.run("daemon", *command, *daemon, "hospproxy", "--config", "hospproxy.toml")
    assert done.status == 0
    pid = int(pidfile.read_text())
    try:
        await until_it_runs(proxy)
        assert (tmp_path / "state" / "master.key").exists()
        assert os.listdir(elsewhere) == []
    finally:
        await stop_daemon(pid, pidfile)

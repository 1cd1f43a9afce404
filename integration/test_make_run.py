"""``make run`` as a newcomer uses it: every printed command is pasted, and does what its title says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from .ports import free_port
from .processes import Processes, Running, is_open

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from demonstrations import DEMONSTRATIONS, Demonstration  # noqa: E402

_NAMES = ("PORT", "ADMIN_PORT", "HOSP_PORT", "CONTROL_PORT")
READY = "Ctrl-C ends both"


def make_run(state: Path, ports: dict[str, int]) -> list[str]:
    """``make run`` in the environment of the tests, so that nothing is installed."""
    settings = [f"{name}={port}" for name, port in ports.items()]
    return ["make", "-C", str(ROOT), "run", f"STATE={state}", f"VENV={sys.prefix}", *settings]


async def started(processes: Processes) -> tuple[Running, dict[str, int]]:
    ports = {name: free_port() for name in _NAMES}
    run = Running("make run")
    processes.start(run, make_run(processes.folder / "state", ports))
    await run.until_said(READY, timeout_s=90)
    return run, ports


def printed(log: str) -> dict[str, list[str]]:
    """Title → the commands under it."""
    found: dict[str, list[str]] = {}
    for line in log.partition(READY)[2].splitlines()[1:]:
        if line.startswith("# "):
            commands = found.setdefault(line[2:], [])
        elif line.strip():
            commands.append(line)
    return found


def paste(commands: list[str]) -> str:
    """Run the commands, and return their output."""
    said = ""
    for command in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        said += done.stdout + "\n"
        assert done.returncode == 0, (command, done.returncode, done.stderr)
    return said


async def hold(demonstration: Demonstration, commands: list[str]) -> None:
    said = await deferToThread(paste, commands)
    for pattern in demonstration.expected:
        assert re.search(pattern, said, re.MULTILINE), (demonstration.title, pattern, said)


@pytest_twisted.ensureDeferred
async def test_every_command_that_it_prints_does_what_its_title_says(processes: Processes) -> None:
    run, ports = await started(processes)
    commands = printed(run.log)
    assert list(commands) == [each.title for each in DEMONSTRATIONS]
    for demonstration in DEMONSTRATIONS:
        await hold(demonstration, commands[demonstration.title])
    assert await run.stop("TERM") in (0, -15, 2)
    assert [port for port in ports.values() if is_open(port)] == []


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP"])
@pytest_twisted.ensureDeferred
async def test_it_ends_both_processes(processes: Processes, number: str) -> None:
    ports = {name: free_port() for name in _NAMES}
    run = Running("run.py")
    script = [
        sys.executable,
        "scripts/run.py",
        "--venv",
        sys.prefix,
        "--state",
        str(processes.folder / "state"),
    ]
    names = ("--port", "--admin-port", "--hosp-port", "--control-port")
    options = [part for name, port in zip(names, ports.values(), strict=True) for part in (name, str(port))]
    processes.start(run, [*script, *options], cwd=ROOT)
    await run.until_said(READY, timeout_s=90)
    assert await run.stop(number) == 0
    assert [port for port in ports.values() if is_open(port)] == []


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_named_with_the_way_out(processes: Processes) -> None:
    ports = {name: free_port() for name in _NAMES}
    with socket.create_server(("127.0.0.1", ports["HOSP_PORT"])):
        run = await processes.run("make run", *make_run(processes.folder / "state", ports))
    assert run.status == 2
    assert f"Port {ports['HOSP_PORT']} is not free" in run.log
    assert "make run HOSP_PORT=" in run.log
    assert "Traceback" not in run.log


@pytest_twisted.ensureDeferred
async def test_when_one_of_them_dies_the_other_is_ended_and_it_is_said(processes: Processes) -> None:
    run, ports = await started(processes)
    pid = listening_process(ports["HOSP_PORT"])
    os.kill(pid, 9)
    assert await run.exit_status() == 2
    assert "the stand-in HOSP has ended" in run.log
    assert not is_open(ports["PORT"])


@pytest_twisted.ensureDeferred
async def test_an_old_python_is_told_what_is_needed(processes: Processes) -> None:
    run = await processes.run("make run", "make", "-C", str(ROOT), "run", "PYTHON=no-python")
    assert run.status == 2
    assert "Python 3.11 or newer is needed" in run.log


def listening_process(port: int) -> int:
    """Process id of the stand-in on `port`."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"hosp-standin" in command and f"127.0.0.1:{port}".encode() in command:
                return int(folder.name)
    raise AssertionError(f"no stand-in on {port}")

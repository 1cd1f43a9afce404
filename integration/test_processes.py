"""The basis of the other tests: processes start, are waited for, and never outlive a test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import pytest_twisted

from .ports import free_port
from .processes import Hosp, Processes, ProcessFailed, Running, is_open


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest_twisted.ensureDeferred
async def test_a_stand_in_listens_and_stops(processes: Processes) -> None:
    hosp = await processes.hosp()
    assert is_open(hosp.port)
    assert is_open(hosp.control_port)
    assert await hosp.stop() == -15  # twistd ends by the signal that stopped it
    assert not is_open(hosp.port)


@pytest_twisted.ensureDeferred
async def test_what_a_test_leaves_running_is_ended(processes: Processes) -> None:
    sleeper = Running("sleeper")
    processes.start(sleeper, [sys.executable, "-c", "import time; print('here'); time.sleep(600)"])
    pid = sleeper.pid
    await sleeper.until_said("here")
    await processes.end_all()
    assert not is_alive(pid)
    assert sleeper.status == -15


@pytest_twisted.ensureDeferred
async def test_what_does_not_end_is_killed_and_told(processes: Processes) -> None:
    stubborn = Running("stubborn")
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    processes.start(stubborn, [sys.executable, "-c", code])
    pid = stubborn.pid
    await stubborn.until_said("deaf")
    with pytest.raises(ProcessFailed, match="stubborn still runs"):
        await stubborn.stop(timeout_s=0.2)
    assert not is_alive(pid)


@pytest_twisted.ensureDeferred
async def test_a_process_that_ends_at_once_is_told_with_its_log(processes: Processes) -> None:
    hosp = Hosp("hosp-standin", port=free_port())
    processes.start(hosp, [sys.executable, "-c", "import sys; sys.exit('no such thing')"])
    with pytest.raises(ProcessFailed, match="ended with 1:\nno such thing"):
        await processes.until_open(hosp, hosp.port)


@pytest_twisted.ensureDeferred
async def test_the_status_and_the_log_of_a_command(processes: Processes) -> None:
    ran = await processes.run("speaker", sys.executable, "-c", "import sys; print('said'); sys.exit(3)")
    assert (ran.status, ran.log) == (3, "said\n")


@pytest_twisted.ensureDeferred
async def test_a_forked_process_gets_signals_and_its_status_is_told(processes: Processes) -> None:
    processes.forks = True
    killed, stopped = await processes.hosp(), await processes.hosp()
    assert await killed.stop("KILL") == -9
    assert is_open(stopped.port)
    assert await stopped.stop() == -15
    assert "Main loop terminated" in stopped.log


@pytest_twisted.ensureDeferred
async def test_a_forked_process_that_ends_at_once_is_told_with_its_log(processes: Processes) -> None:
    processes.forks = True
    with pytest.raises(ProcessFailed, match=r"ended with 1:(?s:.)*no-such-option"):
        await processes.hosp("--no-such-option")


@pytest_twisted.ensureDeferred
async def test_forked_processes_share_no_descriptor_and_nothing_of_their_server(processes: Processes) -> None:
    processes.forks = True
    hosp, other = await processes.hosp(), await processes.hosp()
    server = parent_of(hosp.pid)
    assert not opened(hosp.pid) & opened(other.pid)
    assert not opened(hosp.pid) & opened(server)
    assert os.readlink(f"/proc/{hosp.pid}/cwd") == str(processes.folder)


def parent_of(pid: int) -> int:
    """Process id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def opened(pid: int) -> set[str]:
    """The sockets and pipes that a process has open."""
    links = (os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith(("socket:", "pipe:"))}

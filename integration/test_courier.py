"""The courier process: killed under load, orphaned, alone on its machine, and unable to start."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any, cast

import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from hospproxy.courier.process import NAME

from .http_client import ask
from .http_receiver import Receiver
from .indexed_lines import indexed
from .ports import free_port
from .processes import Processes, Proxy
from .response_recorder import Notes, NotingClient
from .test_audit_kill import unrecorded
from .test_writers_http import judge, lines, options, receiver, requests, until_well  # noqa: F401 - a fixture
from .worker_processes import WITH_REDIS, alive, until

KILLS = 5


def couriers_of(proxy: Proxy) -> list[int]:
    """Process ids of the couriers below a proxy, also of one that a worker has started."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[1-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            name = (folder / "comm").read_text().strip()
        except (OSError, ValueError):
            continue
        parents[int(folder.name)] = parent
        if name == NAME:
            found.append(int(folder.name))
    below = {proxy.pid}
    for _ in range(3):
        below |= {pid for pid, parent in parents.items() if parent in below}
    return [pid for pid in found if pid in below and alive([pid])]


async def courier_of(proxy: Proxy, earlier: int = 0) -> int:
    """Wait until a proxy has a courier that follows the journal, and is not an earlier one."""
    [pid] = await until(
        lambda: [
            each for each in couriers_of(proxy) if each != earlier and f"trail (pid={each})" in proxy.log
        ]
    )
    return cast(int, pid)


def kill(pid: int) -> None:
    """kill -9 of one process."""
    os.kill(pid, signal.SIGKILL)


@pytest_twisted.ensureDeferred
async def test_killed_under_load_it_loses_no_record(
    processes: Processes,
    receiver: Receiver,  # noqa: F811
) -> None:
    from twisted.internet import reactor

    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    hosp = await processes.hosp("--delay", "uniform:0.002:0.02")
    redirecting = free_port()
    listener = f'[[listeners]]\nurl = "http://127.0.0.1:{redirecting}"\nplain = "redirect"\n'
    more = f"{listener}[audit]\nrotate_bytes = 65536\n"
    proxy = await processes.proxy(hosp.url, options=options(processes.folder, receiver, more))
    notes = Notes()
    clients = [NotingClient(proxy, notes, chance.getrandbits(32), redirecting) for _ in range(4)]
    running = gatherResults([deferToThread(client.run) for client in clients], consumeErrors=True)
    pid = 0
    for _ in range(KILLS):
        pid = await courier_of(proxy, pid)
        await task.deferLater(cast(Any, reactor), chance.random(), lambda: None)
        kill(pid)
    await courier_of(proxy, pid)
    answered = len(notes.found)
    await until(lambda: len(notes.found) > answered + 50)
    assert (await ask(proxy.admin_url, "GET", "/ready")).status == 200
    assert await proxy.stop() == 0
    await running
    # Without load: the courier gives way to requests, and may be far behind.
    again = await processes.proxy(
        hosp.url, options=options(processes.folder, receiver, more), state=proxy.state
    )
    await requests(again, 1)
    for writer in ("http", "database", "alert-rules"):
        await until_well(again, writer)
    assert await again.stop() == 0
    assert "Traceback" not in proxy.log
    judge(receiver, proxy)
    assert [line for *_, line in indexed(proxy.state)] == lines(proxy)
    records = [record for record in proxy.records() if record["kind"] == "request"]
    assert unrecorded(notes.found, records) == []


@pytest_twisted.ensureDeferred
async def test_when_the_service_is_killed_it_ends_and_the_next_start_has_one(processes: Processes) -> None:
    hosp = await processes.hosp()
    first = await processes.proxy(hosp.url)
    pid = await courier_of(first)
    first.signal("KILL")
    await first.exit_status()
    await until(lambda: not alive([pid]))
    second = await processes.proxy(hosp.url, state=first.state)
    successor = await courier_of(second)
    assert couriers_of(second) == [successor]
    second.signal("INT")
    assert await second.exit_status() == 0
    assert not alive([successor])


@pytest_twisted.ensureDeferred
async def test_four_workers_have_one_that_delivers_the_records_of_all(
    processes: Processes,
    receiver: Receiver,  # noqa: F811
) -> None:
    hosp = await processes.hosp()
    redis = await processes.redis()
    given = options(processes.folder, receiver, WITH_REDIS.format(port=redis.port))
    proxy = await processes.proxy(hosp.url, top="workers = 4\n", options=given)
    await until(lambda: proxy.log.count("Audit records go to") == 4)
    pid = await courier_of(proxy)
    await requests(proxy, 40)
    assert couriers_of(proxy) == [pid]
    asked = {record["request_id"] for record in proxy.records() if record["kind"] == "request"}
    assert len(asked) == 40
    assert await proxy.stop() == 0
    assert not alive([pid])
    seen = b"\n".join(line for batch in receiver.taken for line in batch.lines)
    assert [each for each in asked if each.encode() not in seen] == []
    assert all(batch.genuine for batch in receiver.taken)
    closed = {batch.journal for batch in receiver.taken if b'"closing":true' in batch.lines[-1]}
    assert closed == {"w0", "w1", "w2", "w3"}


@pytest_twisted.ensureDeferred
async def test_while_it_cannot_start_requests_are_served_and_the_log_says_why(processes: Processes) -> None:
    hosp = await processes.hosp()
    state = processes.folder / "state"
    (state / "audit").mkdir(mode=0o700, parents=True)
    state.chmod(0o700)
    in_its_way = state / "audit" / "positions"
    in_its_way.write_text("")
    proxy = await processes.proxy(hosp.url, state=state)
    await requests(proxy, 3)
    await proxy.until_said("courier: it cannot start")
    await proxy.until_said("audit records wait in the journal. Starting another in 0.5 s")
    assert (await ask(proxy.admin_url, "GET", "/ready")).status == 200
    metrics = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    assert "hospproxy_courier_up 0.0" in metrics
    in_its_way.unlink()
    await courier_of(proxy)
    await until_well(proxy, "database")
    assert await proxy.stop() == 0
    assert [line for *_, line in indexed(proxy.state)] == lines(proxy)


@pytest_twisted.ensureDeferred
async def test_it_gives_way_to_requests(processes: Processes) -> None:
    proxy = await processes.proxy((await processes.hosp()).url)
    pid = await courier_of(proxy)
    ours, theirs = (os.getpriority(os.PRIO_PROCESS, each) for each in (proxy.pid, pid))
    assert theirs == min(19, ours + 10)
    assert await proxy.stop() == 0

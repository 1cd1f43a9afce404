"""The whole proxy is killed under load, again and again, on one state folder: no response without its record.

In every other round a thread writes the records. AUDIT_KILLS sets the number of rounds.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from .journal_files import content, journal_files
from .ports import free_port
from .processes import Processes, Proxy
from .response_recorder import KINDS, Noted, Notes, NotingClient
from .test_audit_trail import verified

KILLS = int(os.environ.get("AUDIT_KILLS", "8"))
CLIENTS = 8
SMALL_FILES = "[audit]\nrotate_bytes = 262144\n"
BY_THREAD = 'commit = "thread"\n'


async def until_killed(proxy: Proxy, redirecting: int, chance: random.Random) -> list[Noted]:
    """Load the proxy, kill it under load, and return what the clients noted."""
    from twisted.internet import reactor

    notes, goal = Notes(), chance.randint(100, 400)
    clients = [NotingClient(proxy, notes, chance.getrandbits(32), redirecting) for _ in range(CLIENTS)]
    running = gatherResults([deferToThread(client.run) for client in clients], consumeErrors=True)
    while len(notes.found) < goal and not running.called:
        await task.deferLater(cast(Any, reactor), 0.002 * chance.random(), lambda: None)
    proxy.signal("KILL")
    await running
    assert await proxy.exit_status() == -9
    return notes.found


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Every complete record of the journal, in order, including those about the journal itself."""
    found: list[dict[str, Any]] = []
    for file in journal_files(folder):
        found += [json.loads(line) for line in content(file).split(b"\n")[:-1]]
    return found


@pytest_twisted.ensureDeferred
async def test_every_answer_has_its_record_however_often_it_is_killed(processes: Processes) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    hosp = await processes.hosp("--delay", "uniform:0.002:0.02", "--faults", "error_before=0.05")
    noted: list[Noted] = []
    state = None
    for number in range(KILLS):
        redirecting = free_port()
        listener = f'[[listeners]]\nurl = "http://127.0.0.1:{redirecting}"\nplain = "redirect"\n'
        options = listener + SMALL_FILES + (BY_THREAD if number % 2 else "")
        proxy = await processes.proxy(hosp.url, options=options, state=state)
        state = proxy.state
        noted += await until_killed(proxy, redirecting, chance)
    verified(proxy)
    judge(noted, lines_of(proxy.state / "audit"))


def unrecorded(noted: list[Noted], lines: list[dict[str, Any]]) -> list[tuple[Noted, object]]:
    """Responses without a record, or with a record that contradicts them."""
    records = {line["request_id"]: line["status"] for line in lines if line["kind"] == "request"}
    found = [(each, records.get(each.id, "no record")) for each in noted]
    return [(each, status) for each, status in found if status != each.status]


def judge(noted: list[Noted], lines: list[dict[str, Any]]) -> None:
    assert unrecorded(noted, lines) == []
    assert len({each.id for each in noted}) == len(noted)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    kinds = Counter((each.kind, each.status) for each in noted)
    assert {kind for kind, _ in kinds} >= set(KINDS) | {"redirect"}
    of_kind = Counter(line["kind"] for line in lines)
    print(
        f"{KILLS} kills, {len(noted)} answers, {len(lines)} records, {of_kind['request']} of them of requests,"
        f" {of_kind['begin']} files"
    )
    print("; ".join(f"{kind} {status}: {count}" for (kind, status), count in sorted(kinds.items())))

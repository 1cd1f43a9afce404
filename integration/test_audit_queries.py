"""``hospproxy-audit search`` and ``export`` on a trail of the running proxy, while it continues to write."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest_twisted
from fhir.resources.R4B.auditevent import AuditEvent
from twisted.internet.threads import deferToThread

from hospproxy.process.clocks import wall
from hospproxy.record.columns import upkeep
from hospproxy.record.columns.engine import Engine
from hospproxy.record.columns.trail_files import TrailFolder
from hospproxy.record.columns.upkeep import IndexUpkeep
from hospproxy.record.trail.identity import trail_id
from tests.record.export.balp import problems

from .http_client import ask
from .processes import Processes, Proxy
from .test_guarantees import NOTE
from .test_writers_http import until_well


async def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    def run() -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "hospproxy.record.commands.cli", *map(str, arguments)]
        return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=60)

    return await deferToThread(run)


async def asked(processes: Processes) -> Proxy:
    """A proxy that has served some requests."""
    proxy = await processes.proxy((await processes.hosp()).url)
    for method, path, body, user in (
        ("GET", "/patients/1", None, "staff1"),
        ("GET", "/notes?patient_id=1", None, "staff1"),
        ("POST", "/notes", NOTE, "staff1"),
        ("GET", "/patients/2", None, "staff2"),
        ("GET", "/patients/1", None, "nobody"),
    ):
        await ask(proxy.plain_url, method, path, body, user=user)
    return proxy


async def found(source: str | Path, *arguments: str) -> list[dict[str, Any]]:
    done = await command("search", source, "--format", "jsonl", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest_twisted.ensureDeferred
async def test_who_did_what_is_found_and_the_look_is_part_of_the_trail(processes: Processes) -> None:
    proxy = await asked(processes)
    trail = proxy.state / "audit"
    records = await found(trail, "--kind", "request")
    assert sorted(map(str, records)) == sorted(
        str(each) for each in proxy.records() if each["kind"] == "request"
    )
    assert [each["seq"] for each in records] == sorted((each["seq"] for each in records), reverse=True)
    one = await found(trail, "--patient", "1", "--action", "read", "--outcome", "success")
    assert [(each["route"], each["who"]["name"]) for each in one] == [("/patients/{id}", "staff1")]
    refused = await found(trail, "--trouble")
    assert [each["status"] for each in refused] == [401]
    table = await command("search", trail, "--staff", "staff2")
    assert "staff2" in table.stdout
    assert "staff1" not in table.stdout
    looks = await found(trail, "--kind", "look")
    assert [each["filters"] for each in looks][::-1] == [
        {"kind": "request"},
        {"patient": "1", "action": "read", "outcome": "success"},
        {"trouble": "true"},
        {"staff": "staff2"},
    ]
    await ask(proxy.plain_url, "GET", "/patients/2", user="staff2")
    assert await proxy.stop() == 0
    done = await command("verify", trail, "--public-key", proxy.state / "audit-signing.pub")
    assert done.returncode == 0, done.stdout
    again = await processes.proxy((await processes.hosp()).url, state=proxy.state)
    await ask(again.plain_url, "GET", "/patients/2", user="staff2")
    assert len(await found(trail, "--kind", "look")) == 5


@pytest_twisted.ensureDeferred
async def test_exports_are_what_their_readers_expect(processes: Processes, tmp_path: Path) -> None:
    proxy = await asked(processes)
    trail = proxy.state / "audit"
    records = {each["request_id"]: each for each in proxy.records() if each["kind"] == "request"}
    target = tmp_path / "out.csv"
    done = await command("export", trail, "--kind", "request", "--format", "csv", "--output", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    read = list(csv.DictReader(io.StringIO(target.read_text(), newline="")))
    assert {each["request_id"]: each["route"] for each in read} == {
        name: record["route"] for name, record in records.items()
    }
    done = await command("export", trail, "--format", "fhir", "--own")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) > len(records)
    for event in events:
        AuditEvent.model_validate_json(json.dumps(event))
        assert problems(event) == []
    profiles = {each["meta"]["profile"][0].rpartition(".")[2] for each in events if "meta" in each}
    assert profiles >= {"PatientRead", "PatientQuery", "PatientCreate"}
    assert len({each["id"] for each in events}) == len(events)


@pytest_twisted.ensureDeferred
async def test_an_index_answers_as_the_files_do(processes: Processes, tmp_path: Path) -> None:
    proxy = await asked(processes)
    await until_well(proxy, "database")
    assert await proxy.stop() == 0
    trail, index = proxy.state / "audit", proxy.state / "audit-index"
    folder = TrailFolder(trail)
    with mock.patch.object(upkeep, "TAIL_BYTES", 1):
        IndexUpkeep(index, folder, lambda: trail_id(trail), Engine(index), wall).run()
    alone = tmp_path / "alone" / "audit"
    shutil.copytree(trail, alone)
    for arguments in ((), ("--patient", "1"), ("--trouble",), ("--own", "--staff", "staff1")):
        more = ("--signing-key", "none", *arguments)
        expected = await found(alone, *more)
        assert await found(trail, *more) == expected
        assert await found(alone, "--index", index, *more) == expected
    exported = [
        (await command("export", each, "--format", "fhir", "--signing-key", "none")).stdout.splitlines()
        for each in (trail, alone)
    ]
    assert len(exported[0]) == len(exported[1]) > 0
    for path in index.glob("*.parquet"):
        path.unlink()
    broken = await command("search", trail, "--signing-key", "none", "--format", "jsonl")
    assert "every file is read instead" in broken.stderr
    assert (
        broken.stdout.splitlines()
        == (await command("search", alone, "--signing-key", "none", "--format", "jsonl")).stdout.splitlines()
    )
    old = tmp_path / "audit.sqlite"
    old.write_bytes(b"SQLite format 3\0")
    refused = await command("search", old)
    assert refused.returncode == 2 and "no longer used" in refused.stderr

"""A backup under load, restored elsewhere: earlier promises are still kept, and the trail continues."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from hospproxy.state import manifest

from .http_client import Answer, ask, journal
from .processes import Processes, Proxy
from .test_alerts import until
from .test_audit_trail import verified
from .test_running import NOTE


def state(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hospproxy.state.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(proxy: Proxy, number: int) -> Deferred[Answer]:
    """Write a note with its own idempotency key."""
    document = NOTE | {"title": f"Visit {number}"}
    headers = {"Idempotency-Key": f'"note-{number}"'}
    return ask(proxy.plain_url, "POST", "/notes", document, user="staff1", headers=headers)


def anchors(backup: Path) -> list[str]:
    """The chain heads that a backup lists."""
    return [each["head"] for each in json.loads((backup / "backup.json").read_text())["journals"]]


def evolved(backup: Path) -> bytes:
    """The list of a backup's files, computed again from the files as they are now."""
    found = manifest.read(backup)
    return msgspec.json.encode(msgspec.structs.replace(found, files=manifest.measured(backup / "state")))


@pytest.mark.parametrize("more", [[], ["--same-trail"]])
@pytest_twisted.ensureDeferred
async def test_a_backup_under_load_starts_elsewhere(
    processes: Processes, tmp_path: Path, more: list[str]
) -> None:
    hosp = await processes.hosp()
    options = "[audit]\nrotate_bytes = 65536\n"  # files are closed while they are copied
    proxy = await processes.proxy(hosp.url, options=options)
    before = await gatherResults([write(proxy, number) for number in range(40)])
    assert {answer.status for answer in before} == {201}
    going = True
    count = 0

    async def load() -> None:
        nonlocal count
        while going:
            count += 1
            await write(proxy, 1000 + count)

    clients = [Deferred.fromCoroutine(load()) for _ in range(4)]
    await until(lambda: count > 20)
    made: Any = await deferToThread(state, "backup", "--state", proxy.state, tmp_path / "backup")
    going = False
    await gatherResults(clients)
    assert made.returncode == 0, made.stderr
    proxy.signal("KILL")
    await proxy.exit_status()
    stored = len(await journal(hosp.control_url, "stored", "notes"))

    elsewhere = tmp_path / "elsewhere" / "state"
    elsewhere.parent.mkdir()
    done = state("restore", *more, tmp_path / "backup", elsewhere)
    assert done.returncode == 0, done.stderr
    assert [path for path in elsewhere.rglob("*") if path.stat().st_mode & 0o077] == []
    again = await processes.proxy(hosp.url, options=options, state=elsewhere)
    answers = await gatherResults([write(again, number) for number in range(40)])
    assert [answer.json()["id"] for answer in answers] == [answer.json()["id"] for answer in before]
    assert len(await journal(hosp.control_url, "stored", "notes")) == stored
    assert await again.stop() == 0
    verified(again)
    verified(again, *anchors(tmp_path / "backup"))
    kept = {record["request_id"] for record in again.records() if record["kind"] == "request"}
    assert {answer.field("x-request-id") for answer in (*before, *answers)} <= kept


@pytest_twisted.ensureDeferred
async def test_a_backup_that_was_changed_is_not_restored(processes: Processes, tmp_path: Path) -> None:
    proxy = await processes.proxy((await processes.hosp()).url)
    assert (await write(proxy, 1)).status == 201
    assert state("backup", "--state", proxy.state, tmp_path / "b").returncode == 0
    assert state("backup", "--state", proxy.state, tmp_path / "b").returncode == 1  # it exists
    assert state("check", tmp_path / "b").returncode == 0
    assert "is not empty" in state("restore", tmp_path / "b", proxy.state).stderr
    await proxy.stop()
    content = tmp_path / "b" / "state"
    trail = next((content / "audit").glob("*.jsonl"))
    for path, words in ((trail, "is not what it was"), (content / "master.key", "is not what it was")):
        good = path.read_bytes()
        path.write_bytes(good[:-9] + b"x" + good[-8:])
        done = state("restore", tmp_path / "b", tmp_path / "new")
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        path.write_bytes(good)
    # If the list is changed as well, the signatures show it.
    good, listed = trail.read_bytes(), (tmp_path / "b" / "backup.json").read_bytes()
    trail.write_bytes(good.replace(b'"status":201', b'"status":200'))
    (tmp_path / "b" / "backup.json").write_bytes(evolved(tmp_path / "b"))
    assert state("check", tmp_path / "b").returncode == 1
    trail.write_bytes(good)
    (tmp_path / "b" / "backup.json").write_bytes(listed)
    (content / "ledger" / "ledger.sqlite").rename(content / "gone")
    done = state("check", tmp_path / "b")
    assert "ledger/ledger.sqlite is missing" in done.stderr and "gone is not in the list" in done.stderr
    (tmp_path / "b" / "backup.json").unlink()
    assert "holds no whole backup" in state("restore", tmp_path / "b", tmp_path / "new").stderr
    assert not (tmp_path / "new").exists()

"""Another version takes over: one refusal, and one replacement while clients write, an idle one at the worst moment."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from threading import Event

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from benchmarks.replacements.clients import Busy, Idle, Seen
from benchmarks.replacements.site import install

from .http_client import journal
from .processes import Processes, Proxy, Running
from .worker_processes import alive, until


async def ctl(processes: Processes, proxy: Proxy, *arguments: str) -> Running:
    command = [sys.executable, "-m", "hospproxy.control.cli", "--state", str(proxy.state), *arguments]
    return await processes.run("hospproxyctl", *command)


@pytest_twisted.ensureDeferred
async def test_it_takes_over_without_a_failed_request(processes: Processes, tmp_path: Path) -> None:
    hosp = await processes.hosp("--delay", "uniform:0.01:0.1")
    proxy = await processes.proxy(hosp.url)
    python = install(tmp_path) / "1.1" / "bin" / "python"

    # A folder that the other version cannot read: nothing changes.
    formats = proxy.state / "formats.json"
    await until(formats.exists)
    good = formats.read_bytes()
    formats.write_text(json.dumps({**json.loads(good), "ledger": "9"}))
    refused = await ctl(processes, proxy, "upgrade", "--python", str(python))
    assert refused.status == 1
    assert "has format 9, and this version reads 1" in refused.log
    assert "serves as before" in refused.log
    formats.write_bytes(good)

    seen = Seen()
    busy = await deferToThread(Busy, proxy.port, seen, 2)
    idle = await deferToThread(Idle, proxy.port, seen, 2)
    replacing = Deferred.fromCoroutine(ctl(processes, proxy, "upgrade", "--python", str(python)))
    before, turn = proxy.pid, Event()

    def moment(number: int) -> None:
        """When the new version is prepared, and when the state folder has no owner."""
        while ("is prepared", "the state folder is closed")[number] not in proxy.log:
            turn.wait(0.005)

    idle.write(moment)
    replaced = await replacing
    assert replaced.status == 0, replaced.log + proxy.log
    after = int((proxy.state / "lock").read_text().split()[0])
    try:
        assert after != before
        await deferToThread(idle.join)
        await deferToThread(busy.stop)
        assert (seen.broken, seen.statuses) == ([], [])
        await until(lambda: not alive([before]))  # it has no connections left
        shown = await ctl(processes, proxy, "versions")
        assert f"({python})" in shown.log.splitlines()[0]
    finally:
        os.kill(after, signal.SIGTERM)
        await until(lambda: not alive([after]))
    assert await proxy.exit_status() == 0
    stored = sorted(entry["fields"]["body"] for entry in await journal(hosp.control_url, "stored", "notes"))
    assert stored == sorted(seen.stored)
    recorded = {record.get("request_id") for record in proxy.records()}
    assert set(seen.ids) <= recorded

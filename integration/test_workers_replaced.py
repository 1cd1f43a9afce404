"""Two workers are replaced by another version: first one of its workers dies, then it takes over without a failure."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Event

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from benchmarks.replacements.clients import Busy, Idle, Seen
from benchmarks.replacements.site import install, name_of, parent_of

from .http_client import journal
from .processes import Processes, Proxy
from .test_replacement import ctl
from .worker_processes import alive, start_workers, until


def holder(proxy: Proxy) -> int:
    """The process that the lock of the state folder names."""
    return int((proxy.state / "lock").read_text().split()[0])


def new_workers(proxy: Proxy) -> list[int]:
    """Workers of a successor of the proxy's supervisor."""
    everybody = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]
    workers = [each for each in everybody if name_of(each).startswith("hosp-worker")]
    return [each for each in workers if parent_of(parent_of(each)) == proxy.pid]


@pytest_twisted.ensureDeferred
async def test_they_are_replaced_together_or_not_at_all(processes: Processes, tmp_path: Path) -> None:
    hosp = await processes.hosp("--delay", "uniform:0.01:0.1")
    proxy = await start_workers(processes, hosp.url)
    python = str(install(tmp_path) / "1.1" / "bin" / "python")
    seen = Seen()
    busy = await deferToThread(Busy, proxy.port, seen, 2)
    idle = await deferToThread(Idle, proxy.port, seen, 3)

    # A worker of the new version dies before it serves: nothing changes.
    refusing = Deferred.fromCoroutine(ctl(processes, proxy, "upgrade", "--python", python))
    os.kill((await until(lambda: new_workers(proxy)))[0], signal.SIGKILL)
    refused = await refusing
    assert refused.status == 1
    assert "worker 0 exited by signal 9" in refused.log
    assert "serves as before" in refused.log
    assert holder(proxy) == proxy.pid

    replacing = Deferred.fromCoroutine(ctl(processes, proxy, "upgrade", "--python", python))
    before, turn = proxy.pid, Event()

    def moment(number: int) -> None:
        """When the new version is prepared, when the state folder has no owner, and when the new one serves."""
        while ("is prepared", "the state folder is closed", "serves; this one ends")[number] not in proxy.log:
            turn.wait(0.005)

    idle.write(moment)
    replaced = await replacing
    assert replaced.status == 0, replaced.log + proxy.log
    after = holder(proxy)
    try:
        assert after != before
        await deferToThread(idle.join)
        await deferToThread(busy.stop)
        assert (seen.broken, seen.statuses) == ([], [])
        await until(lambda: not alive([before]))  # its workers have no connections left
    finally:
        os.kill(after, signal.SIGTERM)
        await until(lambda: not alive([after]))
    stored = sorted(entry["fields"]["body"] for entry in await journal(hosp.control_url, "stored", "notes"))
    assert stored == sorted(seen.stored)
    assert set(seen.ids) <= {record.get("request_id") for record in proxy.records()}

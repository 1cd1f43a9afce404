"""The audit trail of a whole proxy on a full disk."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import task

from .http_client import Answer, ask
from .processes import Processes, Proxy
from .test_guarantees import NOTE

KILOBYTES = 1024
ROOM = 100 * KILOBYTES
FULL = f"[audit]\nreserve_bytes = {128 * KILOBYTES}\n"


def verified(proxy: Proxy, *anchors: str, folder: Path | None = None) -> None:
    """:param folder: path by which the test reaches the records, if the proxy uses another."""
    folder = folder or proxy.state / "audit"
    command = [sys.executable, "-m", "hospproxy.record.commands.cli", "verify", str(folder)]
    noted = [word for anchor in anchors for word in ("--anchor", anchor)]
    done = subprocess.run(
        [*command, "--public-key", str(proxy.state / "audit-signing.pub"), *noted],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def get(proxy: Proxy) -> Answer:
    return cast(Answer, await ask(proxy.plain_url, "GET", "/hospitals", user="staff1"))


async def post(proxy: Proxy) -> Answer:
    return cast(Answer, await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1"))


@pytest.mark.parametrize("commit", ["auto", "thread"])
@pytest_twisted.ensureDeferred
async def test_a_full_disk_refuses_writes_serves_reads_and_answers_nothing_unrecorded(
    processes: Processes, commit: str
) -> None:
    from twisted.internet import reactor

    proxy = await processes.proxy((await processes.hosp()).url, options=f'{FULL}commit = "{commit}"\n')
    answers = [await get(proxy)]
    journal = max((proxy.state / "audit").glob("*.jsonl"))
    while journal.stat().st_size < ROOM:
        answers.append(await get(proxy))
    # No file may grow beyond this: the journal has no space, but the reserve has.
    resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
    answers += [await get(proxy), refused := await post(proxy), await get(proxy)]
    assert [answer.status for answer in answers[-3:]] == [200, 503, 200]
    assert b"could not be recorded" in refused.body
    assert "hospproxy_record_disk_full 1.0" in await metrics(proxy)
    assert await fill(proxy, answers)
    resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    latest = cast(Any, reactor).seconds() + 30
    while True:
        try:
            answers.append(await post(proxy))
        except OSError:
            assert cast(Any, reactor).seconds() < latest
        if answers[-1].status == 201:
            break
        assert cast(Any, reactor).seconds() < latest
        await task.deferLater(cast(Any, reactor), 0.5, lambda: None)
    assert "hospproxy_record_disk_full 0.0" in await metrics(proxy)
    assert await proxy.stop() == 0
    records = {record.get("request_id"): record for record in proxy.records() if record["kind"] == "request"}
    assert {answer.field("x-request-id") for answer in answers} <= set(records)
    assert records[refused.field("x-request-id")]["outcome"] == "not recorded"
    verified(proxy)


async def metrics(proxy: Proxy) -> str:
    return cast(str, (await ask(proxy.admin_url, "GET", "/metrics")).body.decode())


async def fill(proxy: Proxy, answers: list[Answer]) -> bool:
    """Send requests until the reserve is full, too, and a connection ends without a response."""
    for _ in range(1000):
        try:
            answers.append(await get(proxy))
        except OSError:  # http.client's RemoteDisconnected is one
            return True
    return False

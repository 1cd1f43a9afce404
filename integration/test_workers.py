"""Several workers under the real ``twistd``: they share the ports, are replaced, and end together."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from hospproxy.keys.secrets import MasterKey
from hospproxy.keys.signing_key import PublicKeys
from hospproxy.record.trail.verify import verify

from .http_client import ask
from .processes import Processes, Proxy
from .test_privileges import status
from .worker_processes import alive, begin, environment_of, start_workers, until, workers_of

pytestmark = pytest.mark.real_start

KEY = "5e" * 32
NOBODY = 65534


def journals(proxy: Proxy) -> set[str]:
    """Journals that have records of requests."""
    names = (proxy.state / "audit").glob("audit-*.jsonl")
    return {name.name.split("-")[1] for name in names if b'"kind":"request"' in name.read_bytes()}


async def numbers(proxy: Proxy) -> dict[str, float]:
    """Samples of /metrics by name and worker."""
    text = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = f"{sample.name}@{sample.labels['worker']}" if "worker" in sample.labels else sample.name
            found[name] = found.get(name, 0.0) + sample.value
    return found


async def numbers_of_both(proxy: Proxy) -> dict[str, float]:
    """The same, once both workers have responded within their second (the machine may be busy)."""

    async def both() -> dict[str, float] | None:
        found = await numbers(proxy)
        return found if found["hospproxy_workers_running"] == 2 else None

    found: dict[str, float] = await until(both)
    return found


async def all_are_ready(proxy: Proxy) -> bool:
    """Whether every worker is ready."""
    answer = await ask(proxy.admin_url, "GET", "/ready")
    assert answer.status == 200
    return bool(answer.json() == {"ready": True, "reasons": {}, "missing": {}})


class Load:
    """Clients that send one request after the other, each on a new connection."""

    def __init__(self, proxy: Proxy, clients: int) -> None:
        self._proxy = proxy
        self.over = False
        self.begun_after_end = False
        self.answered = 0
        self.failed: list[tuple[bool, Exception]] = []
        self._clients = [Deferred.fromCoroutine(self._client(number)) for number in range(clients)]

    async def _client(self, number: int) -> None:
        while not self.over:
            late = self.begun_after_end
            try:
                answer = await ask(self._proxy.plain_url, "GET", f"/patients/{number + 1}", user="staff1")
            except OSError as error:
                self.failed.append((late, error))
            except Exception as error:  # http.client's own
                self.failed.append((late, error))
            else:
                assert answer.status == 200
                self.answered += 1

    async def end(self) -> None:
        self.over = True
        await gatherResults(self._clients)


@pytest.mark.alone
@pytest_twisted.ensureDeferred
async def test_a_worker_that_dies_under_load_is_replaced_and_nobody_is_refused(
    processes: Processes, tmp_path: Path
) -> None:
    os.environ["WORKERS_KEY"] = KEY
    try:
        proxy = await start_workers(
            processes, (await processes.hosp()).url, top='master_key_env = "WORKERS_KEY"\n'
        )
    finally:
        del os.environ["WORKERS_KEY"]
    load = Load(proxy, 6)
    await until(lambda: journals(proxy) == {"w0", "w1"})
    before = await numbers_of_both(proxy)
    assert before["process_resident_memory_bytes@0"] > 0 < before["process_resident_memory_bytes@1"]
    first = workers_of(proxy)
    os.kill(first[1], signal.SIGKILL)
    await proxy.until_said("worker 1 exited by signal 9")
    load.begun_after_end = True
    await until(lambda: workers_of(proxy)[1] != first[1])
    done = load.answered
    await until(lambda: load.answered > done + 50)
    await load.end()
    # Its requests in flight break. No connection is refused, and no later request fails.
    assert [error for late, error in load.failed if late or isinstance(error, ConnectionRefusedError)] == []
    after = await numbers_of_both(proxy)
    assert after["hospproxy_worker_restarts_total@1"] == 1
    assert after["hospproxy_requests_total"] > before["hospproxy_requests_total"]
    for pid in (proxy.pid, *workers_of(proxy).values()):
        assert KEY.encode() not in environment_of(pid) or pid == proxy.pid
    assert await until(lambda: all_are_ready(proxy))
    proxy.signal("HUP")
    for slot in (0, 1):
        await proxy.until_said(f"worker {slot}: certificates reloaded for clients")
    assert (proxy.state / "cache" / "answers-1.sqlite").exists()
    assert not (proxy.state / "master.key").exists()
    pids = workers_of(proxy).values()
    assert await proxy.stop() == 0
    assert alive(pids) == []
    keys = PublicKeys.read([proxy.state / "audit-signing.pub"])
    assert list((await deferToThread(verify, proxy.state / "audit", keys)).problems) == []
    assert "Traceback" not in proxy.log and KEY not in proxy.log


@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_answer_is_left_out_and_said(processes: Processes) -> None:
    proxy = await start_workers(processes, (await processes.hosp()).url)
    pid = workers_of(proxy)[1]
    os.kill(pid, signal.SIGSTOP)
    ready = await ask(proxy.admin_url, "GET", "/ready")
    assert (ready.status, ready.json()["missing"]) == (200, {"worker 1": "it does not answer"})
    found = await numbers(proxy)
    assert (found["hospproxy_worker_up@1"], found["hospproxy_worker_up@0"]) == (0, 1)
    assert found["hospproxy_worker_scrape_failed_total@1"] >= 2
    os.kill(pid, signal.SIGCONT)
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_workers_are_who_the_supervisor_becomes(processes: Processes, tmp_path: Path) -> None:
    """Only as root: no other user can change to another user."""
    if os.geteuid() != 0:
        return
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o711 | stat.S_IMODE(parent.stat().st_mode))
    key = tmp_path / "root-only.key"
    MasterKey.load_or_create(key)
    flags = ("--uid", str(NOBODY), "--gid", str(NOBODY))
    refused = begin(processes, tmp_path, *flags, top=f'master_key_file = "{key}"\n')
    assert await refused.exit_status() == 1
    assert f"{key} cannot be read: Permission denied" in refused.log
    proxy = begin(processes, tmp_path, *flags)
    await proxy.until_said("hospproxy admin on")
    for pid in workers_of(proxy).values():
        assert status(pid, "Uid").split() == [str(NOBODY)] * 4
    assert {path.lstat().st_uid for path in proxy.state.rglob("*")} == {NOBODY}
    assert await proxy.stop() == 0
    assert "Traceback" not in proxy.log

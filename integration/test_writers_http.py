"""The trail of a whole proxy, posted to a receiver that comes and goes: nothing missing, nothing out of order."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor, task

from .http_client import ask
from .http_receiver import SECRET, Receiver
from .journal_files import content, journal_files
from .processes import Processes, Proxy, proxy_options, twistd_command
from .sink_carrier import PATIENCE_S, until


@pytest_twisted.async_yield_fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    made.listen()
    yield made
    await made.stop()


def options(folder: Path, receiver: Receiver, more: str = "") -> str:
    secret = folder / "secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    return (
        f'[audit_http]\nenabled = true\nurl = "http://127.0.0.1:{receiver.port}/in?x=1"\n'
        f"secret_file = {json.dumps(str(secret))}\n{more}"
    )


async def requests(proxy: Proxy, count: int) -> None:
    for _ in range(count):
        answer = await ask(proxy.plain_url, "GET", "/hospitals", user="staff1")
        assert answer.status == 200


def lines(proxy: Proxy) -> list[bytes]:
    """Every line of the journal on disk."""
    found: list[bytes] = []
    for file in journal_files(proxy.state / "audit", "audit-w0-*"):
        found += content(file).splitlines()
    return found


def judge(receiver: Receiver, proxy: Proxy) -> None:
    """Check that all lines arrived in order; duplicates are equal and form a run that started again."""
    known: dict[int, bytes] = {}
    last = 0
    for batch in receiver.taken:
        assert batch.genuine
        assert batch.seqs == list(range(batch.first_seq, batch.first_seq + len(batch.lines)))
        assert batch.first_seq <= last + 1, f"records are missing before {batch.first_seq}"
        for seq, line in zip(batch.seqs, batch.lines, strict=True):
            assert known.setdefault(seq, line) == line
        last = max(last, batch.seqs[-1])
        head = sha256(batch.lines[-1]).hexdigest()
        assert batch.key == f'"{batch.trail}-{batch.journal}-{batch.first_seq}-{head}"'
    assert [known[seq] for seq in sorted(known)] == lines(proxy)
    assert {batch.trail for batch in receiver.taken} == {
        (proxy.state / "audit" / "trail-id").read_text().strip()
    }


async def metric(proxy: Proxy, name: str, writer: str = "http") -> float:
    answer = await ask(proxy.admin_url, "GET", "/metrics")
    found = f'hospproxy_record_writer_{name}{{writer="{writer}"}} '
    # A metric that never counted is absent.
    return float(
        next((line for line in answer.body.decode().splitlines() if line.startswith(found)), "0").split()[-1]
    )


async def until_well(proxy: Proxy, writer: str = "http") -> None:
    """Wait until a sink is up and has delivered something; the pause after each failure in a row is longer.

    Before its first delivery a sink does not know yet that it is behind. (A bucket and an index in columns have
    nothing to carry before a file is closed.)
    """
    clock = cast(Any, reactor)
    latest = clock.seconds() + PATIENCE_S
    while (
        await metric(proxy, "up", writer) != 1
        or (writer not in ("bucket", "database") and not await metric(proxy, "carried_total", writer))
        or await metric(proxy, "behind_records", writer)
    ):
        assert clock.seconds() < latest, f"{writer} did not carry records on again"
        await task.deferLater(clock, 0.05, lambda: None)


@pytest_twisted.ensureDeferred
async def test_all_of_it_is_posted_the_end_at_the_stop_too(processes: Processes, receiver: Receiver) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=options(processes.folder, receiver))
    await proxy.until_said("The courier follows")
    await requests(proxy, 20)
    assert await proxy.stop() == 0
    judge(receiver, proxy)
    assert len(receiver.seqs) == len(set(receiver.seqs)), "nothing failed, and yet something came twice"
    assert json.loads(receiver.taken[-1].lines[-1])["closing"] is True


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_is_away_slow_and_full(processes: Processes, receiver: Receiver) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=options(processes.folder, receiver, "timeout_s = 1\n"))
    await requests(proxy, 5)
    await receiver.stop()
    await requests(proxy, 5)
    await proxy.until_said("Audit sink http is failing")
    assert await metric(proxy, "up") == 0
    assert await metric(proxy, "behind_records") > 0
    assert (await ask(proxy.admin_url, "GET", "/ready")).status == 200
    receiver.listen()
    await until_well(proxy)
    receiver.silent = True  # it takes them, and sends no response
    before = len(receiver.taken)
    await requests(proxy, 5)
    await until(lambda: len(receiver.taken) > before + 1, "what got no answer was never sent again")
    receiver.silent = False
    await until_well(proxy)
    for status in (507, 503, 401):
        receiver.status, refused = status, receiver.refused
        await requests(proxy, 3)
        await until(lambda refused=refused: receiver.refused > refused, f"nothing was refused: {status}")  # type: ignore[misc]
        receiver.status = 200
        await until_well(proxy)
    assert "the server responded with 401" in proxy.log
    assert await proxy.stop() == 0
    judge(receiver, proxy)
    assert len(receiver.seqs) > len(set(receiver.seqs)), "what got no answer has to have come twice"


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_is_killed_goes_on_where_it_was(processes: Processes, receiver: Receiver) -> None:
    hosp = await processes.hosp()
    written = options(processes.folder, receiver, "[audit]\nrotate_bytes = 65536\n")
    proxy = await processes.proxy(hosp.url, options=written)
    for _ in range(3):
        await requests(proxy, 10)
        receiver.status = 503
        await requests(proxy, 10)
        proxy.signal("KILL")
        await proxy.exit_status()
        receiver.status = 200
        proxy = await processes.proxy(hosp.url, options=written, state=proxy.state)
    await proxy.until_said("The courier follows")
    await requests(proxy, 3)
    assert await proxy.stop() == 0
    judge(receiver, proxy)


PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from hospproxy.interfaces import IAuditWriter, IAuditWriterMaker

@implementer(IAuditWriter)
class ToFile:
    def __init__(self, name, path):
        self.name, self.path = name, path
    async def open(self):
        pass
    async def write(self, batch):
        with open(self.path, "ab") as file:
            file.write(b"".join(line + b"\\n" for line in batch.lines))
    async def close(self):
        pass

@implementer(IPlugin, IAuditWriterMaker)
class Maker:
    kind = "to_file"
    def make(self, name, options, reactor):
        if set(options) != {"path"}:
            raise ValueError("path is all there is")
        return ToFile(name, options["path"])

maker = Maker()
"""


@pytest.mark.real_start  # the fork server has looked for plugins already
@pytest_twisted.ensureDeferred
async def test_a_plugin_of_somebody_else(processes: Processes, monkeypatch: Any) -> None:
    plugins = processes.folder / "site" / "hospproxy_plugins"
    plugins.mkdir(parents=True)
    (plugins / "to_file.py").write_text(PLUGIN)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(plugins.parent), os.environ.get("PYTHONPATH", "")]))
    )
    target = processes.folder / "copy.jsonl"
    entry = '[[audit_plugins]]\nname = "copy"\nkind = "to_file"\noptions = {{ {} = {} }}\n'
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=entry.format("path", json.dumps(str(target))))
    await proxy.until_said("The courier follows")
    await requests(proxy, 3)
    assert await proxy.stop() == 0
    assert target.read_bytes().splitlines() == lines(proxy)
    wrong = await processes.run(
        "hospproxy",
        *twistd_command(),
        "hospproxy",
        "--config",
        str(written(processes.folder, hosp.url, entry.format("pth", "1"))),
    )
    assert wrong.status == 1
    assert "audit_plugins[0].options: path is all there is" in wrong.log


def written(folder: Path, upstream: str, tables: str) -> Path:
    """Write an options file for a proxy that will not be started."""
    file = folder / "wrong.toml"
    file.write_text(proxy_options(Proxy("wrong", state=folder / "wrong"), upstream, options=tables))
    return file

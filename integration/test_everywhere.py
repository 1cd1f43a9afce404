"""The running proxy with every sink at once; each destination goes away in turn, and the proxy is killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define
from sqlalchemy import select
from twisted.internet.threads import deferToThread

from hospproxy.record.database.schema import CHAINS, LINES, place_of
from hospproxy.record.database.sink import DatabaseSink

from .http_client import ask
from .http_receiver import SECRET, Receiver
from .indexed_lines import indexed
from .journal_files import journal_files
from .postgresql import PostgreSQL
from .processes import Processes, Proxy
from .rsyslog import Rsyslog
from .test_database import access_for
from .test_writers_bucket import FullRelay, Moto, refusal
from .test_writers_http import judge, lines, metric, until_well
from .test_writers_syslog import all_there

WRITERS = ("database", "syslog", "http", "bucket")


@define(eq=False)
class Everywhere:
    """Every destination.

    :param server: None for SQLite.
    :param relay: in front of the bucket, which loses everything when it ends.
    """

    processes: Processes
    server: PostgreSQL | None
    rsyslog: Rsyslog
    receiver: Receiver
    moto: Moto
    relay: FullRelay
    state: Path

    @property
    def index(self) -> Path:
        return self.state / "audit-index"

    def access(self) -> Any:
        assert self.server is not None
        return access_for(self.server.url(), read_only=True)

    def options(self) -> str:
        secret = self.processes.folder / "posting"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        url = f"url = {json.dumps(self.server.url())}\n" if self.server else ""
        return f"""
[audit]
rotate_bytes = 65536
[audit_database]
connect_timeout_s = 1
{url}
[audit_syslog]
enabled = true
url = "{self.rsyslog.url}"
[audit_http]
enabled = true
url = "http://127.0.0.1:{self.receiver.port}/"
secret_file = {json.dumps(str(secret))}
[audit_bucket]
enabled = true
endpoint_url = "{self.relay.url}"
bucket = "trails"
access_key_id = "k"
secret_access_key_file = {json.dumps(str(self.moto.folder / "secret"))}
path_style = true
"""

    async def take_away(self, writer: str) -> None:
        if writer == "syslog":
            await self.rsyslog.kill()
        elif writer == "http":
            await self.receiver.stop()
        elif writer == "bucket":
            self.relay.answer = refusal(b"503 Slow Down", b"SlowDown")
        elif self.server is not None:
            self.server.kill()
        else:
            if self.index.exists():  # only once a file was closed
                self.index.rename(self.state / "away")
            self.index.write_text("in the way")

    async def bring_back(self, writer: str) -> None:
        if writer == "syslog":
            await self.rsyslog.start()
        elif writer == "http":
            self.receiver.listen()
        elif writer == "bucket":
            self.relay.answer = None
        elif self.server is not None:
            await self.server.start()
        else:
            self.index.unlink()
            if (self.state / "away").exists():
                (self.state / "away").rename(self.index)


@pytest_twisted.async_yield_fixture(params=["columns", "postgresql"])
async def everywhere(request: Any, processes: Processes, tmp_path: Path) -> AsyncIterator[Everywhere]:
    """Start every destination."""
    server = PostgreSQL() if request.param == "postgresql" else None
    if server is not None:
        await server.start()
    (tmp_path / "rsyslog").mkdir()
    rsyslog, receiver, moto = Rsyslog(processes, tmp_path / "rsyslog"), Receiver(), Moto(processes, tmp_path)
    await rsyslog.start()
    receiver.listen()
    await moto.start()
    relay = FullRelay(moto.port)
    relay.start()
    yield Everywhere(processes, server, rsyslog, receiver, moto, relay, tmp_path / "state")
    await relay.stop()
    await receiver.stop()
    if server is not None:
        server.remove()


async def requests(proxy: Proxy) -> None:
    for path in ("/hospitals", "/patients/7", "/notes?patient_id=7", "/patients", "/nowhere") * 2:
        await ask(proxy.plain_url, "GET", path, user="staff1")


async def begun(place: Everywhere, upstream: str) -> Proxy:
    return await place.processes.proxy(upstream, options=place.options(), state=place.state)


async def lives(place: Everywhere) -> Proxy:
    """Stop and restart each destination, kill the proxy in between, and at last stop it cleanly."""
    hosp = await place.processes.hosp()
    proxy = await begun(place, hosp.url)
    await requests(proxy)
    for writer in WRITERS:
        for each in WRITERS:
            await until_well(proxy, each)
        await place.take_away(writer)
        await requests(proxy)
        proxy.signal("KILL")
        await proxy.exit_status()
        proxy = await begun(place, hosp.url)
        await requests(proxy)
        await proxy.until_said(f"Audit sink {writer} is failing")
        for each in WRITERS:
            assert each == writer or await metric(proxy, "up", each) == 1
        assert (await ask(proxy.admin_url, "GET", "/ready")).status == 200
        await place.bring_back(writer)
        await requests(proxy)
    for each in WRITERS:
        await until_well(proxy, each)
    assert await proxy.stop() == 0
    return proxy


async def in_database(place: Everywhere) -> list[tuple[str, str, int, bytes]]:
    """Trail, journal, seq and line, in the order of their numbers."""
    if place.server is None:
        return indexed(place.state)
    access = place.access()

    def read(connection: Any) -> list[tuple[str, str, int, bytes]]:
        chains = {row.chain_no: (row.trail, row.journal) for row in connection.execute(select(CHAINS))}
        rows = connection.execute(select(LINES.c.id, LINES.c.line).order_by(LINES.c.id))
        return [(*chains[place_of(number)[0]], place_of(number)[1], bytes(line)) for number, line in rows]

    found = await access.run(read)
    await access.close()
    return list(found)


async def verify(folder: Path, proxy: Proxy, anchor: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hospproxy.record.commands.cli", "verify", str(folder)]
    more = ["--public-key", str(proxy.state / "audit-signing.pub"), "--anchor", anchor]
    return await deferToThread(subprocess.run, [*command, *more], capture_output=True, text=True, check=False)


@pytest_twisted.ensureDeferred
async def test_every_destination_holds_the_journal_and_nothing_else(everywhere: Everywhere) -> None:
    place = everywhere
    proxy = await lives(place)
    written, audit = lines(proxy), proxy.state / "audit"
    trail = (audit / "trail-id").read_text().strip()
    assert len(written) > 100
    assert await in_database(place) == [(trail, "w0", seq, line) for seq, line in enumerate(written, 1)]
    all_there(place.rsyslog.received(), trail, written)
    judge(place.receiver, proxy)
    await bucket_holds(place, proxy, trail)
    await anchored(place, proxy)


async def bucket_holds(place: Everywhere, proxy: Proxy, trail: str) -> None:
    """Check that the bucket has every file except the last, which is not closed yet."""
    found = journal_files(proxy.state / "audit", "audit-w0-*")
    files = [path.name.removesuffix(".gz") for path in found]
    assert len(files) > len(WRITERS)
    assert place.moto.objects() == [f"hospproxy/{trail}/{name}.gz" for name in files[:-1]]
    back = place.processes.folder / "back" / "audit"
    back.parent.mkdir()
    heads = await deferToThread(place.moto.download, back)
    for path in (proxy.state / "audit").glob(f"{files[-1]}*"):
        shutil.copy(path, back)
    assert (await verify(back, proxy, heads[-1])).returncode == 0
    there = Proxy("back", state=back.parent)
    assert lines(there) == lines(proxy)


async def anchored(place: Everywhere, proxy: Proxy) -> None:
    """Check that the head in the database reveals a truncated trail, although the rest is a valid chain."""
    if place.server is None:
        return
    access = place.access()
    [anchor] = await DatabaseSink(access).anchors()
    await access.close()
    audit, cut = proxy.state / "audit", place.processes.folder / "cut"
    assert (await verify(audit, proxy, anchor.head)).returncode == 0
    shutil.copytree(audit, cut)
    newest = max(cut.glob("audit-w0-*.jsonl"))
    kept = newest.read_bytes().splitlines(keepends=True)[:-2]
    newest.write_bytes(b"".join(kept))
    done = await verify(cut, proxy, anchor.head)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "anchor" in done.stdout

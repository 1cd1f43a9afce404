"""Every command of every runbook, run beside a proxy that has the fault which the page is about.

The pages are tried at one time, each with processes of its own: most of the time they wait.
"""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, gatherResults
from twisted.internet.threads import deferToThread

from hospproxy.watch.status.history import VERSION
from tests.arrival.certificates import TestAuthority
from tests.handbook_pages import RUNBOOKS

from .handbook_site import Site
from .http_client import basic, control, script, unverified
from .machines import QUICK, key_file
from .postgresql import PostgreSQL
from .processes import Processes
from .small_disk import small_disk
from .test_fates import until
from .test_guarantees import NOTE

AT_ONE_TIME = 4
SEE, SAFE, DO, OVER, AFTER = (
    "What you see",
    "What is safe now",
    "What to do",
    "How to know that it is over",
    "Afterwards",
)


async def hosp_down(processes: Processes) -> Site:
    site = await Site.open(
        RUNBOOKS / "hosp-down.md", processes, options="[cache.lifetimes]\nlistHospitals = 0.1\n"
    )
    assert (await site.ask("GET", "/hospitals")).status == 200
    await control(site.hosp.control_url, "POST", "/offline", {"offline": True})

    async def away() -> bool:
        await gatherResults([site.ask("GET", f"/patients/{number}") for number in range(1, 4)])
        return await site.gauge("hospproxy_breaker_open 1")

    await until(away, "the breaker opens")
    await site.run(SEE, SAFE, DO)
    await control(site.hosp.control_url, "POST", "/offline", {"offline": False})
    await site.until_gauge("hospproxy_breaker_open 0")
    await site.proxy.until_said("to closed")
    await site.run(OVER, AFTER)
    return site


async def hosp_slow(processes: Processes) -> Site:
    slow = ("--delay", "fixed:1.5", "--places", "1")
    top, options = "deadline_s = 4.0\n", "[gate]\nconcurrency = 1\nslow_s = 3.0\n"
    site = await Site.open(RUNBOOKS / "hosp-slow.md", processes, *slow, top=top, options=options)
    site.values["CONFIG"] = str(site.proxy.config)
    asked = [site.ask("GET", f"/patients/{number}") for number in range(1, 13)]
    await site.proxy.until_said("for want of a slot")
    await site.run(SEE, SAFE, DO)
    await gatherResults(asked)
    await site.until_gauge("hospproxy_gate_waiting 0")
    await site.run(OVER, AFTER)
    return site


def _learnt(state: Path) -> None:
    """Leave figures as of a moment ago: usual is one request a second."""
    state.mkdir(mode=0o700)
    usual = {"traffic": [300.0, 300.0, 1.0, 1000.0]}
    saved = {"v": VERSION, "at": time.time(), "rings": {}, "usual": usual}
    (state / "status.json").write_text(json.dumps(saved))


async def surge(processes: Processes) -> Site:
    state = processes.folder / "surge"
    _learnt(state)
    site = await Site.open(RUNBOOKS / "surge.md", processes, state=state)
    going = True

    def load() -> None:
        """Some eight requests a second on one connection."""
        connection = http.client.HTTPSConnection("127.0.0.1", site.proxy.port, context=unverified())
        with contextlib.closing(connection):
            while going:
                connection.request("GET", "/hospitals", headers={"Authorization": basic("staff1")})
                connection.getresponse().read()
                time.sleep(0.12)

    loading = deferToThread(load)
    try:
        await site.proxy.until_said("surge begins (traffic)")
    finally:
        going = False
    await loading
    await site.run(SEE, SAFE, DO)
    await site.proxy.until_said("surge ends (traffic)")
    await site.run(OVER, AFTER)
    return site


async def disk_full(processes: Processes) -> Site:
    state = processes.folder / "disk-full"
    disk = await small_disk(processes, state / "audit")
    options = f"[audit]\nreserve_bytes = {256 << 10}\n"
    site = await Site.open(
        RUNBOOKS / "disk-full.md", processes, options=options, state=state, within=disk.within
    )
    site.within = tuple(disk.within)
    garbage = state / "audit" / "filler"
    site.values["GARBAGE"] = str(garbage)
    disk.fill(site.proxy)
    if not disk.within:
        garbage.touch()

    async def full() -> bool:
        answer = await site.ask("POST", "/notes", NOTE)
        return answer.status == 503 and await site.gauge("hospproxy_record_disk_full 1")

    await until(full, "the disk is full")
    await site.run(SEE, SAFE, DO)
    if not disk.within:
        disk.free(site.proxy)
    await site.run(OVER, AFTER)
    return site


async def redis_gone(processes: Processes) -> Site:
    redis = await processes.redis()

    async def service(_: str) -> None:
        await redis.start()

    site = await Site.open(RUNBOOKS / "redis-gone.md", processes, options=redis.section(QUICK))
    site.values["REDIS"] = redis.url
    site.services["redis-server"] = service
    await site.until_gauge("hospproxy_redis_up 1")
    redis.kill()
    await site.until_gauge("hospproxy_redis_up 0")
    await site.run(SEE, SAFE, DO, OVER, AFTER)
    return site


async def postgresql_gone(processes: Processes) -> Site:
    server = await deferToThread(PostgreSQL)
    try:
        await server.start()

        async def service(_: str) -> None:
            await server.start()

        options = f'[audit_database]\nurl = "{server.url()}"\n'
        site = await Site.open(RUNBOOKS / "postgresql-gone.md", processes, options=options)
        site.values["DATABASE"] = server.url().replace("+psycopg", "")
        site.services["postgresql"] = service
        await site.until_gauge('hospproxy_record_writer_up{writer="database"} 1')
        server.kill()
        assert (await site.ask("GET", "/hospitals")).status == 200
        await site.until_gauge('hospproxy_record_writer_up{writer="database"} 0')
        await site.run(SEE, SAFE, DO, OVER, AFTER)
        await site.proxy.stop()
    finally:
        server.remove()
    return site


async def certificate_expiring(processes: Processes) -> Site:
    authority = TestAuthority()
    place = processes.folder / "certificates"
    old, key = authority.issue("hosp.example.org", days=3).write(place, "hosp")
    new = authority.issue("hosp.example.org", days=90).write(place / "new", "hosp")
    options = f'certificate_file = "{old}"\nprivate_key_file = "{key}"\n'
    site = await Site.open(RUNBOOKS / "certificate-expiring.md", processes, listener=options)
    site.values |= {
        "PROXY": f"127.0.0.1:{site.proxy.port}",
        "CERTIFICATE": str(old),
        "KEY": str(key),
        "NEW_CERTIFICATE": str(new[0]),
        "NEW_KEY": str(new[1]),
    }
    await site.run(SEE, SAFE, DO, OVER, AFTER)
    return site


async def breach_suspected(processes: Processes) -> Site:
    site = await Site.open(RUNBOOKS / "breach-suspected.md", processes)
    site.values |= {
        "EVIDENCE": str(processes.folder / "evidence"),
        "SINCE": site.values["BEGAN"],
        "SUSPECT": "staff2",
        "SUSPECT_ID": "2",
        "ADDRESS": "127.0.0.1",
        "NEW_PASSWORD": "long-and-new",
    }
    assert (await site.ask("GET", "/patients/7", user="staff2")).status == 200
    for _ in range(10):
        answer = await site.ask("GET", "/hospitals", user="staff3", password="guess")
        assert answer.status in (401, 429)
    await site.proxy.until_said("alert failed-logins-name")
    await site.run(SEE, SAFE, DO, OVER, AFTER)
    return site


async def outcome_unknown(processes: Processes) -> Site:
    site = await Site.open(RUNBOOKS / "outcome-unknown.md", processes, top="deadline_s = 3.5\n")
    await site.ask("GET", "/patients/7")
    await script(site.hosp.control_url, "reset_after", method="POST")
    reads = {"error_before": 1.0, "only_methods": ["GET"], "only_paths": ["/notes"]}
    await control(site.hosp.control_url, "POST", "/faults", reads)
    told = await site.ask("POST", "/notes", NOTE)
    assert told.json()["outcome"] == "unknown", told
    site.values |= {"REFERENCE": told.json()["reference"], "PATIENT": "7"}
    await site.run(SEE, SAFE)
    await control(site.hosp.control_url, "POST", "/faults", {})
    await site.run(DO, OVER, AFTER)
    return site


async def restore_from_backup(processes: Processes) -> Site:
    site = await Site.open(RUNBOOKS / "restore-from-backup.md", processes)
    backup = processes.folder / "backup"
    site.values |= {"BACKUP": str(backup), "SERVICE_USER": getpass.getuser()}
    assert (await site.ask("POST", "/notes", NOTE)).status == 201
    made = await processes.run(
        "backup",
        sys.executable,
        "-m",
        "hospproxy.state.cli",
        "backup",
        "--state",
        str(site.proxy.state),
        str(backup),
    )
    assert made.status == 0, made.log
    site.proxy.signal("KILL")
    await site.proxy.exit_status()
    shutil.rmtree(site.proxy.state)
    await site.run(SEE, SAFE, DO, OVER, AFTER)
    return site


async def machine_lost(processes: Processes) -> Site:
    redis = await processes.redis()
    top, options = key_file(processes.folder), redis.section(QUICK + "vanished_s = 8.0\n")
    site = await Site.open(RUNBOOKS / "machine-lost.md", processes, top=top, options=options)
    lost = await processes.proxy(site.hosp.url, top=top, options=options)
    await site.until_gauge('hospproxy_sharing_members{state="live"} 2')

    async def service(_: str) -> None:
        await processes.proxy(site.hosp.url, top=top, options=options, admin_port=lost.admin_port)

    site.services["hospproxy"] = service
    site.values["NEW_ADMIN"] = lost.admin_url
    lost.signal("KILL")
    await lost.exit_status()
    await site.until_gauge('hospproxy_sharing_members{state="vanished"} 1')
    await site.run(SEE, SAFE, DO, OVER, AFTER)
    return site


PAGES: dict[str, Callable[[Processes], Awaitable[Site]]] = {
    "surge": surge,
    "postgresql-gone": postgresql_gone,
    "machine-lost": machine_lost,
    "hosp-slow": hosp_slow,
    "outcome-unknown": outcome_unknown,
    "disk-full": disk_full,
    "hosp-down": hosp_down,
    "redis-gone": redis_gone,
    "restore-from-backup": restore_from_backup,
    "breach-suspected": breach_suspected,
    "certificate-expiring": certificate_expiring,
}
"""The page → what makes its fault and runs its commands. Those that wait longest come first."""


async def _tried(name: str, folder: Path) -> None:
    processes = Processes(folder)
    try:
        (await PAGES[name](processes)).end()
    finally:
        await processes.end_all()


@pytest_twisted.async_yield_fixture(scope="module")
async def tried(
    request: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Deferred[None]]]:
    """Starts to try the pages of the selected tests, and ends what a failed run has not finished."""
    folder = tmp_path_factory.mktemp("runbooks")
    places = DeferredSemaphore(AT_ONE_TIME)
    mine = [item for item in request.session.items if item.module is request.module]
    names = [item.callspec.params["name"] for item in mine if hasattr(item, "callspec")]
    for name in names:
        (folder / name).mkdir()

    def begun(name: str) -> Deferred[None]:
        return places.run(lambda: Deferred.fromCoroutine(_tried(name, folder / name)))

    trials = {name: begun(name) for name in names}
    yield trials
    for trial in trials.values():
        trial.cancel()
    await DeferredList(list(trials.values()), consumeErrors=True)


@pytest.mark.parametrize("name", PAGES)
@pytest_twisted.ensureDeferred
async def test_every_command_of(name: str, tried: dict[str, Deferred[None]]) -> None:
    await tried[name]


def test_every_runbook_is_tried() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == set(PAGES)

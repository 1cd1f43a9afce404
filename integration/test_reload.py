"""Options that change while clients are served: nothing fails, and a broken file changes nothing."""

from __future__ import annotations

import http.client
import os
import sys
import threading
from pathlib import Path

import pytest_twisted
from attrs import define, field
from twisted.internet.threads import deferToThread

from .http_client import ask, basic
from .processes import Processes, Proxy, Running
from .worker_processes import start_workers, until

CLIENTS = 4
RELOADS = 20


@define
class Load:
    """Clients that keep their connections, and now and then write; any failure is noted."""

    proxy: Proxy
    done: threading.Event = field(factory=threading.Event)
    answered: list[int] = field(factory=list)
    failed: list[str] = field(factory=list)
    wrote: list[str] = field(factory=list)
    threads: list[threading.Thread] = field(factory=list)

    def begin(self) -> None:
        for number in range(CLIENTS):
            self.threads.append(threading.Thread(target=self._ask, args=(number,), daemon=True))
            self.threads[-1].start()

    async def end(self) -> None:
        self.done.set()
        for thread in self.threads:
            await deferToThread(thread.join)

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.plain_port, timeout=40)
        fields = {"Authorization": basic(f"staff{number + 1}"), "Content-Type": "application/json"}
        count = 0
        while not self.done.is_set():
            count += 1
            try:
                if count % 10:
                    connection.request("GET", f"/patients/{count % 50 + 1}", headers=fields)
                else:
                    title = f"visit {number}-{count}"
                    body = f'{{"title": "{title}", "body": "b", "patient_id": 7}}'
                    connection.request("POST", "/notes", body, fields)
                answer = connection.getresponse()
                content = answer.read()
            except Exception as error:
                self.failed.append(repr(error))
                return
            if answer.status >= 400:
                self.failed.append(f"{answer.status} {content[:200]!r}")
            elif not count % 10:
                self.wrote.append(title)
            self.answered.append(answer.status)


def options_file(processes: Processes) -> Path:
    [file] = processes.folder.glob("hospproxy-*.toml")
    return file


async def ctl(processes: Processes, proxy: Proxy, *command: str) -> Running:
    arguments = ("-m", "hospproxy.control.cli", "--state", str(proxy.state), *command)
    return await processes.run("hospproxyctl", sys.executable, *arguments, cwd=Path(__file__).parent.parent)


def administration(proxy: Proxy) -> list[tuple[str, str, str, int | None]]:
    """What the audit trail says of what was done to the proxy itself: action, outcome, way and user id."""
    records = [record for record in proxy.records(besides=()) if record["kind"] == "admin"]
    return [
        (each["action"], each["outcome"], each["operator"]["way"], each["operator"]["uid"])
        for each in records
    ]


@pytest_twisted.ensureDeferred
async def test_reloads_under_load(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options="[gate]\nconcurrency = 5\n")
    await proxy.until_said("hospproxy admin on")
    file = options_file(processes)
    good = file.read_text()
    load = Load(proxy)
    load.begin()
    for number in range(1, RELOADS + 1):
        mode = "report" if number % 2 else "enforce"
        changed = f"concurrency = {number % 5 + 1}\n[retry]\nmax_attempts = {number % 7 + 2}\n"
        rest = f'[validation]\nmode = "{mode}"\n[cache]\nshortcuts = {number * 10}\n[ownership]\nmode = "{mode}"\n'
        file.write_text(good.replace("concurrency = 5\n", changed + rest))
        before = len(load.answered)
        proxy.signal("HUP")
        await proxy.until_said(f"(generation {number})")
        await until(lambda before=before: len(load.answered) > before + 20)
    file.write_text(good.replace("concurrency = 5\n", "concurrency = 5\nwrong = 1\n"))
    line = 1 + good[: good.index("concurrency")].count("\n") + 1
    refused = await ctl(processes, proxy, "reload")
    assert refused.status == 1
    assert f"{file}:{line}: gate.wrong: unknown key" in refused.log
    shown = await ctl(processes, proxy, "config", "--changed")
    assert f"= {RELOADS % 7 + 2} " in next(
        row for row in shown.log.splitlines() if "retry.max_attempts" in row
    )
    undone = await ctl(processes, proxy, "undo")
    assert undone.status == 0 and "was not changed: it now differs" in undone.log
    file.write_text(good)
    applied = await ask(proxy.admin_url, "POST", "/reload", {})
    assert (applied.status, applied.json()["applied"]) == (200, True)
    assert applied.json()["lines"][-1].startswith("options reloaded: ")
    foreign = {"Origin": "https://elsewhere.example"}
    assert (await ask(proxy.admin_url, "POST", "/reload", {}, headers=foreign)).status == 403
    await load.end()
    assert load.failed == []
    assert await proxy.stop() == 0
    records = [record for record in proxy.records() if record["kind"] == "request"]
    assert len(records) == len(load.answered)
    assert len([record for record in records if record["status"] == 201]) == len(load.wrote) > 0
    assert "Traceback" not in proxy.log
    events = administration(proxy)
    signals = [("reload", "success", "signal", None)] * RELOADS
    assert events == [
        ("start", "success", "process", os.geteuid()), *signals,
        ("reload", "refused", "control socket", os.geteuid()),
        ("undo", "success", "control socket", os.geteuid()),
        ("reload", "success", "admin listener", None),
        ("stop", "success", "signal", None),
    ]  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_all_workers_or_none(processes: Processes, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("an-old-secret-0123456789")
    secret.chmod(0o600)
    hosp = await processes.hosp()
    proxy = await start_workers(processes, hosp.url)
    await until(lambda: "worker 1 is serving" in proxy.log)
    file = options_file(processes)
    good = file.read_text()
    load = Load(proxy)
    load.begin()
    for number in range(1, 4):
        file.write_text(good + f'[retry]\nmax_attempts = {number + 1}\n[validation]\nmode = "report"\n')
        assert (await ctl(processes, proxy, "reload")).status == 0
    file.write_text(good + "[retry]\nmax_attempts = 7\n")
    asked = await ask(proxy.admin_url, "POST", "/reload", {})
    assert asked.status == 200
    assert {each["key"] for each in asked.json()["changes"]} == {"retry.max_attempts", "validation.mode"}
    file.write_text(good + "[gate]\nconcurrency = 2\n")
    asked = await ask(proxy.admin_url, "POST", "/reload", {})
    assert asked.status == 409 and "gate.concurrency cannot change" in asked.json()["lines"][0]
    refused = await ctl(processes, proxy, "reload")
    assert refused.status == 1 and "gate.concurrency cannot change while the proxy runs" in refused.log
    await load.end()
    assert load.failed == []
    assert await proxy.stop() == 0
    assert "Traceback" not in proxy.log
    # The supervisor writes them to journals of its own, one file each.
    events = [(action, outcome) for action, outcome, *_ in administration(proxy)]
    reloads = [*[("reload", "success")] * 4, *[("reload", "refused")] * 2]
    assert sorted(events) == sorted([("start", "success"), *reloads, ("stop", "success")])

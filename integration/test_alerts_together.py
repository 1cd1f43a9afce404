"""What is counted over two machines raises one alert at the webhook, and what ends is told once too."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest_twisted
from twisted.internet import reactor, task
from twisted.web.server import Site

from hospproxy.watch.status.build_status import FILE
from hospproxy.watch.status.history import VERSION, Saved

from .http_client import ask
from .machines import machine
from .processes import Processes
from .redis_server import Redis
from .test_alerts import Receiver

LATEST_S = 150.0
USUAL = {"traffic": [150.0, 300.0, 1.0, 600.0]}
"""What a machine with one request in two seconds has learnt within ten minutes."""


async def until(found: Callable[[], bool], meanwhile: Callable[[], Awaitable[Any]]) -> None:
    """Do something again and again, until a function returns true."""
    clock: Any = reactor
    latest = clock.seconds() + LATEST_S
    while not found():
        assert clock.seconds() < latest, "it never came"
        await meanwhile()


async def pause() -> None:
    await task.deferLater(reactor, 0.2, lambda: None)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_one_alert_for_what_two_machines_count(processes: Processes, tmp_path: Path) -> None:
    receiver = Receiver(b"correct horse battery")
    port = reactor.listenTCP(0, Site(receiver), interface="127.0.0.1")  # type: ignore[attr-defined]
    secret = tmp_path / "secret"
    secret.write_bytes(receiver.secret + b"\n")
    secret.chmod(0o600)
    options = (
        f'[alerts]\nfailed_logins_by_name = 6\nwebhook_url = "http://127.0.0.1:{port.getHost().port}/"\n'
        f'webhook_secret_file = "{secret}"\n'
    )
    redis = Redis()
    await redis.start()

    def told() -> Counter[str]:
        """How often the webhook got what, without figures."""
        alerts = [alert for post in receiver.taken for alert in post["alerts"]]
        return Counter(
            alert["text"].partition(" (")[0] if alert["rule"] == "surge" else alert["rule"]
            for alert in alerts
        )

    try:
        hosp = await processes.hosp()
        machines = []
        for name in ("one", "two"):
            state = tmp_path / name
            state.mkdir(mode=0o700)
            learnt = Saved(VERSION, time.time(), {}, USUAL)
            (state / FILE).write_bytes(msgspec.json.encode(learnt))
            machines.append(
                await machine(processes, tmp_path, redis, hosp.url, workers=1, options=options, state=state)
            )
        for each in machines:
            await each.until_said("The courier follows")

        async def requests() -> None:
            for each in machines:
                await ask(each.plain_url, "GET", "/hospitals", user="staff1")

        async def wrong() -> None:
            for each in machines:
                await ask(each.plain_url, "GET", "/hospitals", user="staff2", password="no")

        for _ in range(3):  # below the limit on each machine, at the limit together
            await wrong()
        await until(lambda: told()["failed-logins-name"] > 0, pause)
        await until(lambda: told()["surge begins"] > 0, requests)
        for _ in range(3):
            await wrong()  # now each machine alone has reached the limit
        await until(lambda: told()["surge ends"] > 0, pause)
        for each in machines:
            await each.until_said("surge ends (traffic")
            assert await each.stop() == 0
        assert told() == {"failed-logins-name": 1, "surge begins": 1, "surge ends": 1}
        noted = [
            record["rule"] for each in machines for record in each.records() if record["kind"] == "alert"
        ]
        assert sorted(noted) == ["failed-logins-name", "surge", "surge"]
    finally:
        await port.stopListening()
        redis.end()

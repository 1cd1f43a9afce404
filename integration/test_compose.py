"""deploy/compose.yaml from a fresh clone: its services as plain processes, with its commands, options and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from .compose import Compose
from .http_client import ask, basic
from .processes import Processes
from .test_fates import until


@pytest.mark.real_start
@pytest_twisted.ensureDeferred
async def test_a_fresh_clone_serves_audits_and_is_scraped(processes: Processes, tmp_path: Path) -> None:
    site = Compose(processes, tmp_path / "site")
    try:
        await site.up()
        await _works(site)
        proxy = site.running["hospproxy"]
        assert await proxy.stop() == 0, proxy.log
    finally:
        site.down()


async def _works(site: Compose) -> None:
    url, admin = (f"https://127.0.0.1:{site.ports[port]}" for port in ("8443", "9443"))
    answer = await ask(url, "GET", "/hospitals", user="staff1")
    assert answer.status == 200, answer.body
    assert (await ask(admin, "GET", "/ready")).json() == {"ready": True}
    for path in ("/metrics", "/status", "/audit"):
        assert (await ask(admin, "GET", path)).status == 401, path
    token = (site.volume("secrets") / "scrape-token").read_text()

    async def scraped() -> bool:
        answer = await ask(admin, "GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status == 200
        return b"\nhospproxy_workers_running 2.0\n" in answer.body

    await until(scraped, "both workers run", 60.0)  # the first one makes the container healthy
    password = (site.volume("state") / "audit-page-password").read_text().strip()
    log_in = {"Authorization": basic("auditor", password)}
    assert (await ask(admin, "GET", "/status", headers=log_in)).status == 200

    async def indexed() -> bool:
        found: Any = await ask(admin, "GET", "/audit?resource=hospitals", headers=log_in)
        return found.status == 200 and b"staff1" in found.body

    await until(indexed, "the audit page finds the request in PostgreSQL", 30.0)

"""The commands of docs/install.md, migrate.md, keys.md and capacity.md, each page from its top to its end."""

from __future__ import annotations

import pytest_twisted

from tests.handbook_pages import ROOT

from .handbook_site import Site
from .http_client import ask
from .page_operator import operator_of
from .ports import free_port
from .processes import Processes, Proxy

DOCS = ROOT / "docs"
NAME = "hosp.example.org"


@pytest_twisted.ensureDeferred
async def test_install(processes: Processes) -> None:
    hosp = await processes.hosp()
    etc = processes.folder / "etc"
    etc.mkdir()
    proxy = Proxy("hospproxy", port=free_port(), admin_port=free_port(), state=processes.folder / "state")
    values = {
        "ETC": str(etc),
        "STATE": str(proxy.state),
        "NAME": NAME,
        "LISTEN": "127.0.0.1",
        "PORT": str(proxy.port),
        "ADMIN_PORT": str(proxy.admin_port),
        "HOSP": hosp.url,
    }

    async def service(verb: str) -> None:
        assert verb == "enable"
        processes.twistd(proxy, "hospproxy", "--config", str(etc / "hospproxy.toml"))

    page = DOCS / "install.md"
    operator = operator_of(page, processes, values, log=lambda: proxy.log, services={"hospproxy": service})
    for block in operator.page.blocks:
        await operator.run(block)
    operator.end()


@pytest_twisted.ensureDeferred
async def test_migrate(processes: Processes) -> None:
    modes = '[validation]\nmode = "report"\n[ownership]\nmode = "report"\n'
    site = await Site.open(DOCS / "migrate.md", processes, options=modes)
    site.values |= {
        "CONFIG": str(site.proxy.config),
        "PLAIN": site.proxy.plain_url,
        "SINCE": site.values["BEGAN"],
    }
    await ask(site.proxy.plain_url, "POST", "/notes", {"title": 7, "patient_id": "x"}, user="staff1")
    await site.run(*site.sections)
    site.end()


@pytest_twisted.ensureDeferred
async def test_keys(processes: Processes) -> None:
    etc = processes.folder / "etc"
    etc.mkdir()
    secret = etc / "origin-secret"
    secret.write_text("a secret of the gateway")
    secret.chmod(0o600)
    site = await Site.open(DOCS / "keys.md", processes, options=f'[origin]\nsecret_files = ["{secret}"]\n')
    site.values |= {"ETC": str(etc), "CONFIG": str(site.proxy.config)}
    await site.run(*site.sections)
    site.end()


@pytest_twisted.ensureDeferred
async def test_capacity(processes: Processes) -> None:
    site = await Site.open(DOCS / "capacity.md", processes)
    for path in ("/hospitals", "/patients/7", "/hospitals"):
        assert (await site.ask("GET", path)).status == 200

    async def counted() -> bool:
        told = (await ask(site.proxy.admin_url, "GET", "/status.json?window=1h")).json()
        return bool(told["totals"]["users"]["requests"])

    await site.until(counted)
    await site.run(*site.sections)
    site.end()

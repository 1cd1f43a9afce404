"""Where the commands of a page are tried: a stand-in HOSP, a proxy, and an operator with the page in hand."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from tests.handbook_pages import read

from .http_client import Answer, ask
from .page_operator import Operator, operator_of
from .processes import Hosp, Processes, Proxy
from .test_fates import until


@define(eq=False)
class Site:
    """A stand-in HOSP, a proxy in front of it that ``systemctl`` can stop and start, and an operator with a page.

    :ivar values: of the page's variables; those that many pages have are there already.
    :ivar services: the units that ``systemctl`` knows.
    :ivar before: the log of proxies that have ended.
    """

    page: Path
    processes: Processes
    hosp: Hosp
    proxy: Proxy
    values: dict[str, str] = field(factory=dict)
    services: dict[str, Any] = field(factory=dict)
    within: tuple[str, ...] = ()
    before: str = ""
    _operator: Operator | None = None

    @classmethod
    async def open(cls, page: Path, processes: Processes, *hosp_options: str, **options: Any) -> Site:
        """Start HOSP and the proxy."""
        hosp = await processes.hosp(*hosp_options)
        proxy = await processes.proxy(hosp.url, **options)
        await proxy.until_said("hospproxy serves")
        site = cls(page, processes, hosp, proxy)
        began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
        site.values = {
            "PROXY": proxy.url,
            "ADMIN": proxy.admin_url,
            "HOSP": hosp.url,
            "STATE": str(proxy.state),
            "LOGIN": "staff1:password1",
            "BEGAN": f"{began:%Y-%m-%d %H:%M}",
        }
        site.services["hospproxy"] = site.service
        return site

    @property
    def sections(self) -> list[str]:
        """The headings of the page below which there are commands, in order; "" for what stands above them."""
        return list(dict.fromkeys(block.section for block in read(self.page).blocks))

    async def run(self, *headings: str) -> None:
        """Run the commands below some headings of the page."""
        if self._operator is None:
            self._operator = operator_of(
                self.page,
                self.processes,
                self.values,
                log=lambda: self.before + self.proxy.log,
                services=self.services,
                within=self.within,
            )
        for heading in headings:
            await self._operator.section(heading)

    def end(self) -> None:
        """Check that no command of the page was left out."""
        assert self._operator is not None
        self._operator.end()

    async def service(self, verb: str) -> None:
        """Do to the proxy what ``systemctl`` was told."""
        if verb == "reload":
            self.proxy.signal("HUP")
            return
        if self.proxy.status is None:
            await self.proxy.stop()
        if verb in ("start", "restart"):
            self.before += self.proxy.log
            last = self.proxy
            ports = {"port": last.port, "plain_port": last.plain_port, "admin_port": last.admin_port}
            self.proxy = Proxy("hospproxy", state=last.state, config=last.config, **ports)
            self.processes.twistd(self.proxy, "hospproxy", "--config", str(last.config))
            await self.processes.until_open(self.proxy, *ports.values())

    def ask(
        self, method: str, path: str, *document: Any, user: str = "staff1", **more: Any
    ) -> Deferred[Answer]:
        return ask(self.proxy.url, method, path, *document, user=user, **more)

    async def gauge(self, line: str) -> bool:
        """Whether /metrics has a line that begins so."""
        told = (await ask(self.proxy.admin_url, "GET", "/metrics")).body.decode()
        return any(each.startswith(line) for each in told.splitlines())

    async def until(self, true: Any) -> None:
        """Wait until a function returns something true."""
        await until(true, str(true))

    async def until_gauge(self, line: str) -> None:
        await until(lambda: self.gauge(line), line)

"""A real HAProxy in front of the proxy, with one port for each way of naming the client."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from .http_client import PATIENCE_S, Answer, basic, unverified
from .ports import free_port
from .processes import Processes, Running

COMMAND = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
CLIENT = "127.0.0.5"
"""Source address of the tests' requests; HAProxy itself connects from 127.0.0.1."""


@frozen
class Way:
    """A port of HAProxy, and its configuration.

    :param target: the port that it connects to.
    :param server: options after the server's address.
    :param backend: lines of its `backend`.
    """

    mode: str
    port: int
    target: int
    server: str = ""
    backend: str = ""

    def lines(self) -> str:
        return f"""
frontend front-{self.port}
    mode {self.mode}
    bind 127.0.0.1:{self.port}
    default_backend back-{self.port}
backend back-{self.port}
    mode {self.mode}
    option log-health-checks
    {self.backend}
    server hospproxy 127.0.0.1:{self.target} {self.server}
"""


def way(mode: str, target: int, server: str = "", backend: str = "") -> Way:
    """A way on a free port."""
    return Way(mode, free_port(), target, server, backend)


async def haproxy(processes: Processes, folder: Path, *ways: Way) -> Running:
    """Start HAProxy with these ways, and wait until all ports are open."""
    assert COMMAND is not None, "haproxy is not installed"
    file = folder / "haproxy.cfg"
    head = """
global
    log stdout format raw local0 info
defaults
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    log global
"""
    file.write_text(head + "".join(each.lines() for each in ways))
    running = Running("haproxy")
    processes.start(running, [COMMAND, "-db", "-f", str(file)])
    await processes.until_open(running, *(each.port for each in ways))
    return running


def ask_from(
    source: str,
    port: int,
    method: str,
    path: str,
    *,
    secure: bool,
    host: str = "hosp.example",
    headers: Mapping[str, str] | None = None,
) -> Deferred[Answer]:
    """Send one request as staff1 from a given source address."""

    def work() -> Answer:
        # The annotations of http.client do not cover TLS connections.
        connection: http.client.HTTPConnection
        if secure:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=PATIENCE_S, source_address=(source, 0), context=unverified()
            )
        else:
            connection = http.client.HTTPConnection(
                "127.0.0.1", port, timeout=PATIENCE_S, source_address=(source, 0)
            )
        try:
            fields = {"Host": host, "Authorization": basic("staff1"), **(headers or {})}
            connection.request(method, path, headers=fields)
            answer = connection.getresponse()
            named = tuple((name.lower(), value) for name, value in answer.getheaders())
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    return deferToThread(work)

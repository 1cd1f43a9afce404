"""Traces of the running proxy, as a collector on a real socket gets them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest_twisted
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from .http_client import ask
from .processes import Processes
from .worker_processes import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(Resource):
    """Keeps every span that is posted."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.spans: list[Any] = []
        self.tokens: set[str | None] = set()
        self.connections: set[Any] = set()

    def render_POST(self, request: Request) -> bytes:
        body = request.content.read().decode()
        self.text += body
        self.connections.add(request.transport)
        self.tokens.add(request.getHeader("authorization"))
        assert (request.path, request.getHeader("content-type")) == (b"/v1/traces", "application/json")
        for resource in json.loads(body)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]
        return b"{}"


def attributes(span: Any) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


@pytest_twisted.ensureDeferred
async def test_spans_of_hits_misses_and_attempts(processes: Processes, tmp_path: Any) -> None:
    collector = Collector()
    site = Site(collector)
    site.noisy = False
    port = cast(Any, reactor).listenTCP(0, site, interface="127.0.0.1")
    (tmp_path / "headers").write_text("Authorization: Bearer t0ken\n")
    (tmp_path / "headers").chmod(0o600)
    hosp = await processes.hosp()
    options = f"""
[traces]
endpoint = "http://127.0.0.1:{port.getHost().port}/v1/traces"
sample = 0.0
follow_parent = true
headers_file = "{tmp_path}/headers"
"""
    proxy = await processes.proxy(hosp.url, options=options)
    await proxy.until_said("hospproxy serves")
    parent = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1"}
    for _ in range(3):  # a miss; a hit through the chain; a hit for which there is a shortcut
        assert (await ask(proxy.plain_url, "GET", "/patients/1", user="staff1", headers=parent)).status == 200
        assert (await ask(proxy.plain_url, "GET", "/patients/1", user="staff1")).status == 200
    found = await until(lambda: collector.spans if len(_servers(collector)) >= 3 else None)
    assert {span["traceId"] for span in found} == {TRACE}
    assert {span["traceState"] for span in found} == {"a=1"}
    servers = _servers(collector)
    assert len(servers) == 3
    assert {span["parentSpanId"] for span in servers} == {SPAN}
    assert [attributes(span)["hospproxy.cache"] for span in servers] == ["miss", "hit", "hit"]
    attempts = [span for span in found if span["kind"] == 3]
    assert {span["parentSpanId"] for span in attempts} == {servers[0]["spanId"]}
    assert "GET /patients/{id}" in {span["name"] for span in attempts}
    for word in ("/patients/1", "staff1", "password1", "127.0.0.1:"):
        assert word not in collector.text.replace(hosp.url, "")
    assert collector.tokens == {"Bearer t0ken"}
    # A collector that is away costs no request anything, and is named once.
    await port.stopListening()
    for connection in collector.connections:
        connection.abortConnection()
    assert (await ask(proxy.plain_url, "GET", "/patients/1", user="staff1", headers=parent)).status == 200
    assert await proxy.stop() == 0


def _servers(collector: Collector) -> list[Any]:
    return [span for span in collector.spans if span["kind"] == 2]

"""The upstream client with servers that break off, never end, send nothing or send nonsense."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.logger import LogLevel, globalLogPublisher

from hosp_standin import testing
from hospproxy.arrival.null_meter import NullMeter
from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call
from hospproxy.http.errors import BadAnswer, FailedAfterSending, NotSent
from hospproxy.http.messages import Client, Response
from hospproxy.options.sections import UpstreamSettings
from hospproxy.outward.upstream import Upstream

from .scripted_server import Misbehaving, certificate, server_tls

CONTRACT = load()
READ = Call(CONTRACT.operation("listHospitals"), accept="json")
WRITE = Call(CONTRACT.operation("createHospital"), document={"name": "Barn"})
CLIENT = Client(address="192.0.2.7", host="hosp.example", request_id="req-1")
HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\n{}"


class Rig:
    """Servers and clients of one test; they end with it."""

    def __init__(self) -> None:
        self.ports: list[Any] = []
        self.servers: list[Misbehaving] = []
        self.upstreams: list[Upstream] = []

    def listen(self, server: Misbehaving, tls: Any = None) -> str:
        where: Any = reactor
        port = (
            where.listenTCP(0, server, interface="127.0.0.1")
            if tls is None
            else where.listenSSL(0, server, tls, interface="127.0.0.1")
        )
        self.ports.append(port)
        self.servers.append(server)
        return f"{'http' if tls is None else 'https'}://127.0.0.1:{port.getHost().port}"

    def upstream(self, url: str, **options: Any) -> Upstream:
        made = Upstream(reactor, UpstreamSettings(url=url, **options), NullMeter(), kept_connections=5)
        self.upstreams.append(made)
        return made

    def to(self, *scripts: Any, **options: Any) -> tuple[Misbehaving, Upstream]:
        server = Misbehaving(*scripts)
        return server, self.upstream(self.listen(server), **options)

    async def end(self) -> None:
        await gatherResults([one.close() for one in self.upstreams])
        await gatherResults([maybeDeferred(port.stopListening) for port in self.ports])
        for server in self.servers:
            for connection, lost in zip(server.connections, server.lost, strict=True):
                if not lost.called:
                    connection.transport.abortConnection()  # type: ignore[union-attr]
            await gatherResults(server.lost)


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.end()


@pytest.fixture(autouse=True)
def _no_traceback() -> Any:
    """Whatever a server does, the proxy must not log a failure of its own."""
    seen: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_failure") is not None or event["log_level"] is LogLevel.critical:
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert not seen


def send(upstream: Upstream, call: Call = READ, timeout_s: float = 20.0, **more: Any) -> Deferred[Response]:
    return Deferred.fromCoroutine(upstream.send(call, CLIENT, timeout_s, **more))


BROKEN: dict[str, tuple[tuple[bytes | str, ...], int | None]] = {
    "reset before an answer": (("reset",), None),
    "closed before an answer": (("close",), None),
    "closed in the head": ((HEAD, "close"), None),
    "reset after the head": ((HEAD + b"Content-Length: 9\r\n\r\n", "reset"), 201),
    "length not reached": ((HEAD + b"Content-Length: 9\r\n\r\n{", "close"), 201),
    "cut between chunks": ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "close"), 201),
    "cut in a chunk": ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{", "close"), 201),
    "senseless chunk": ((HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{",), 201),
    "reset where the close is the end": ((HEAD + b"Connection: close\r\n\r\n{}", "reset"), 201),
    "garbage": ((b"\x00\x01\x02 220 ftp ready\r\n\r\n",), None),
    "another protocol": ((b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",), None),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest_twisted.ensureDeferred
async def test_broken(rig: Rig, name: str) -> None:
    script, head_status = BROKEN[name]
    server, upstream = rig.to(script)
    with pytest.raises(FailedAfterSending) as caught:
        await send(upstream, WRITE)
    assert (caught.value.head_status, caught.value.timed_out) == (head_status, False)
    assert len(server.requests) == 1


REFUSED: dict[str, tuple[tuple[bytes | str, ...], int | None]] = {
    "endless fields": ((HEAD, "endless X-More: 1\\r\\n"), None),
    "one endless field": ((HEAD + b"X-More: ", "endless more"), None),
    "endless interim answers": (("endless HTTP/1.1 102 Processing\\r\\n\\r\\n",), None),
    "endless chunks": ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", "endless 4\\r\\nmore\\r\\n"), 201),
    "endless until the close": ((HEAD + b"Connection: close\r\n\r\n", "endless more"), 201),
    "too long and says so": ((HEAD + b"Content-Length: 100001\r\n\r\n",), 201),
    "no length and no end": ((HEAD + b"\r\n{}", "close"), 201),
    "compressed": ((HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",), 201),
    "two lengths": ((HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",), 201),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest_twisted.ensureDeferred
async def test_refused(rig: Rig, name: str) -> None:
    """However much arrives, the proxy holds no more than its limits and cuts the connection."""
    script, head_status = REFUSED[name]
    server, upstream = rig.to(script, max_body_bytes=100_000)
    with pytest.raises(BadAnswer) as caught:
        await send(upstream, WRITE)
    assert caught.value.head_status == head_status
    await server.lost[0]


ODD = {
    "hundreds of fields": HEAD + b"X-More: 1\r\n" * 900 + b"Content-Length: 2\r\n\r\n{}",
    "continue first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + WHOLE,
    "no reason": b"HTTP/1.1 201 \r\nContent-Length: 2\r\n\r\n{}",
    "chunked with a trailer": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD)
@pytest_twisted.ensureDeferred
async def test_odd_but_whole(rig: Rig, name: str) -> None:
    _, upstream = rig.to((ODD[name],))
    answer = await send(upstream, WRITE)
    assert (answer.status, answer.body) == (201, b"{}")


@pytest_twisted.ensureDeferred
async def test_until_the_close(rig: Rig) -> None:
    _, upstream = rig.to((b"HTTP/1.0 200 OK\r\n\r\n[", b"1]", "close"))
    assert (await send(upstream)).body == b"[1]"


@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"])
@pytest_twisted.ensureDeferred
async def test_silence(rig: Rig, begun: bytes) -> None:
    server, upstream = rig.to((begun,))
    with pytest.raises(FailedAfterSending) as caught:
        await send(upstream, WRITE, 0.3)
    assert caught.value.timed_out
    assert caught.value.head_status == (201 if begun.endswith(b"{") else None)
    await server.lost[0]


@pytest_twisted.ensureDeferred
async def test_nobody_listens(rig: Rig) -> None:
    url = rig.listen(Misbehaving())
    await maybeDeferred(rig.ports.pop().stopListening)
    for call in (READ, WRITE):
        with pytest.raises(NotSent):
            await send(rig.upstream(url), call)
    with pytest.raises(NotSent):
        await send(rig.upstream("http://no-such-host.invalid:80"), WRITE)


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up(rig: Rig) -> None:
    url = rig.listen(Misbehaving((WHOLE,)))
    assert (await send(rig.upstream(url.replace("127.0.0.1", "localhost")), WRITE)).status == 201


@pytest_twisted.ensureDeferred
async def test_cancelling_reaches_the_server(rig: Rig) -> None:
    server, upstream = rig.to((b"",))
    arrived: Deferred[None] = Deferred()
    server.script = lambda: (arrived.callback(None), ())[1]  # type: ignore[method-assign]
    answer = send(upstream)
    await arrived
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    await server.lost[0]


@pytest_twisted.ensureDeferred
async def test_closed_just_when_it_is_used_again(rig: Rig) -> None:
    """A read may fail because of it; a write never does, because it uses a new connection."""
    server, upstream = rig.to((WHOLE,), ("reset",), (WHOLE,))
    await send(upstream)
    with pytest.raises(FailedAfterSending):
        await send(upstream)
    assert (len(server.connections), len(server.requests)) == (1, 2)
    await send(upstream)
    await send(upstream, WRITE)
    await send(upstream, WRITE)
    assert (len(server.connections), len(server.requests)) == (4, 5)


@pytest_twisted.ensureDeferred
async def test_a_late_answer_to_one_is_never_anothers(rig: Rig) -> None:
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nanother"
    server, upstream = rig.to((WHOLE + more,), (WHOLE,))
    assert (await send(upstream)).body == b"{}"
    assert (await send(upstream)).body == b"{}"  # in the same turn of the reactor
    assert (await send(upstream)).body == b"{}"
    assert len(server.connections) == 2


@pytest_twisted.ensureDeferred
async def test_many_at_once_on_few_connections(rig: Rig) -> None:
    server, upstream = rig.to((WHOLE,))
    for _ in range(10):
        await gatherResults([send(upstream) for _ in range(5)])
    assert (len(server.connections), len(server.requests)) == (5, 50)


class Secure:
    """Certificates of a test: its own CA, and server certificates signed by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = certificate(folder, "ca")

    def server(self, name: str) -> Any:
        return server_tls(certificate(self.folder, name, issuer=self.ca))


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
@pytest_twisted.ensureDeferred
async def test_tls(rig: Rig, tmp_path: Path, call: Call) -> None:
    secure = Secure(tmp_path)
    server = Misbehaving((WHOLE,))
    url = rig.listen(server, secure.server("127.0.0.1"))
    upstream = rig.upstream(url, ca_file=tmp_path / "ca.pem")
    sent: list[bool] = []
    for _ in range(3):
        assert (await send(upstream, call, on_sent=lambda: sent.append(True))).body == b"{}"
    assert len(sent) == 3
    assert len(server.connections) == (1 if call is READ else 3)


@pytest.mark.parametrize("wrong", ["name", "authority"])
@pytest_twisted.ensureDeferred
async def test_another_certificate_gets_no_byte(rig: Rig, tmp_path: Path, wrong: str) -> None:
    secure = Secure(tmp_path)
    server = Misbehaving((WHOLE,))
    url = rig.listen(server, secure.server("localhost" if wrong == "name" else "127.0.0.1"))
    ca_file = tmp_path / "ca.pem" if wrong == "name" else None
    sent: list[bool] = []
    with warnings_of("TLS with the upstream") as told, pytest.raises(NotSent):
        await send(rig.upstream(url, ca_file=ca_file), WRITE, on_sent=lambda: sent.append(True))
    await server.lost[0]
    assert (server.requests, sent, len(told)) == ([], [], 1)


@pytest_twisted.ensureDeferred
async def test_tls_with_one_that_does_not_speak_it(rig: Rig, tmp_path: Path) -> None:
    silent, talking = Misbehaving(), Misbehaving()
    talking.buildProtocol = lambda addr: greeting(Misbehaving.buildProtocol(talking, addr))  # type: ignore[method-assign]
    for server in (silent, talking):
        url = rig.listen(server).replace("http", "https")
        with pytest.raises(NotSent):
            await send(rig.upstream(url, connect_timeout_s=0.3), WRITE)
        await server.lost[0]


def greeting(connection: Any) -> Any:
    connection.connectionMade = lambda: connection.transport.write(b"220 ready\r\n")
    return connection


class warnings_of:
    """Collects logged warnings whose format contains some words."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.seen: list[Any] = []

    def __call__(self, event: Any) -> None:
        if event["log_level"] is LogLevel.warn and self.words in (event.get("log_format") or ""):
            self.seen.append(event)

    def __enter__(self) -> list[Any]:
        globalLogPublisher.addObserver(self)
        return self.seen

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self)


@pytest_twisted.ensureDeferred
async def test_the_stand_in(rig: Rig) -> None:
    """Addresses that HOSP builds from Host and X-Forwarded-Proto come back unchanged."""
    running = await testing.start(reactor, faults={})
    try:
        upstream = rig.upstream(running.url)
        call = Call(CONTRACT.operation("getStatus"), accept="html")
        answer = await send(upstream, call)
        assert (answer.status, answer.headers.get(b"x-request-id")) == (200, b"req-1")
        assert b"Server is online" in answer.body
        denied = await send(upstream, READ)
        assert (denied.status, denied.body) == (401, b"HTTP Basic: Access denied.\n")
        await upstream.close()
    finally:
        await running.stop()

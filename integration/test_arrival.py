"""Arrival on real sockets, with and without TLS."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionDone
from twisted.internet.threads import deferToThread

from hospproxy.http.messages import Request, Response
from tests.arrival.memory_transport import Recorder, read_answers
from tests.corpus import ALL, Case
from tests.corpus.case import get, post

from .arrival_server import ArrivalRig, patient

CLOSE = b"Connection: close"
LARGE = Response(200, body=bytes(range(256)) * 32 * 1024)
BATCH = 60
"""Connections at one time: on a busy machine more TLS handshakes than that take longer than the short clocks allow."""
both = pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])


@pytest_twisted.async_yield_fixture
async def make_rig(tmp_path: Path) -> AsyncIterator[Any]:
    """Makes rigs; each is closed after the test, and must have logged nothing."""
    made: list[ArrivalRig] = []

    def make(handler: Recorder | None = None, **limits: float) -> ArrivalRig:
        made.append(ArrivalRig(tmp_path / "state", handler, patient(**limits) if limits else None))
        return made[-1]

    yield make
    for rig in made:
        await rig.end()


async def run_case(rig: ArrivalRig, case: Case, secure: bool) -> str | None:
    """Run a case on a connection of its own; return what went wrong, or None."""
    data = await rig.converse(case.raw, secure=secure)
    answers = read_answers(data, [each.method for each in case.passed] + _refused_method(case))
    seen = [answer.status for answer in answers]
    return None if seen == case.statuses else f"{case.section} {case.name}: {seen}, not {case.statuses}"


def _refused_method(case: Case) -> list[str]:
    return ["HEAD"] if case.raw.startswith(b"HEAD") and not case.passed else []


def _target(request: Request) -> bytes:
    return request.path if request.query is None else request.path + b"?" + request.query


@both
@pytest_twisted.ensureDeferred
async def test_corpus(make_rig: Any, secure: bool) -> None:
    """No request gets two responses, waits beyond its limit, is forwarded wrongly, or is logged."""
    rig = make_rig()
    for start in range(0, len(ALL), BATCH):
        batch = ALL[start : start + BATCH]
        runs = [Deferred.fromCoroutine(run_case(rig, case, secure)) for case in batch]
        wrong = [each for each in await gatherResults(runs, consumeErrors=True) if each is not None]
        assert wrong == []
    passed = sorted((each.method, each.target, each.body or b"") for case in ALL for each in case.passed)
    handled = sorted(
        (r.method, r.path + (b"" if r.query is None else b"?" + r.query), r.body or b"")
        for r in rig.handler.handled
    )
    assert handled == passed
    await rig.until(lambda: len(rig.context.connections) == 0)
    assert rig.context.budget.used == 0


@both
@pytest_twisted.ensureDeferred
async def test_a_large_answer_and_the_end(make_rig: Any, secure: bool) -> None:
    """The close after a response does not overtake it."""
    rig = make_rig(Recorder(answer=lambda _: LARGE))
    data = await rig.converse(get(b"/", CLOSE), secure=secure)
    (answer,) = read_answers(data, ["GET"])
    assert answer.body == LARGE.body


@both
@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_a_client_that_still_sends(make_rig: Any, secure: bool) -> None:
    """RFC 9112 §9.6: closing with unread data would send a reset that overtakes the 413."""
    rig = make_rig()
    data = await rig.converse(post(b"x" * 3_000_000, b"Content-Length: 3000000"), secure=secure)
    assert [answer.status for answer in read_answers(data, ["POST"])] == [413]


@both
@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read(make_rig: Any, secure: bool) -> None:
    rig = make_rig(
        Recorder(answer=lambda asked: LARGE if asked.path == b"/2" else Response(200)), write_timeout_s=0.5
    )
    caller = await rig.call(secure=secure)
    caller.say(get(b"/1"))
    await rig.until(lambda: len(caller.received) > 0)
    caller.transport.pauseProducing()
    caller.say(get(b"/2"))
    await rig.until(lambda: rig.context.budget.used > 0)
    await rig.until(lambda: len(rig.context.connections) == 0)
    assert rig.context.budget.used == 0
    caller.transport.abortConnection()
    await caller.ended


@both
@pytest_twisted.ensureDeferred
async def test_silence(make_rig: Any, secure: bool) -> None:
    """A TCP connection without any bytes, not even a TLS hello."""
    rig = make_rig(header_timeout_s=0.3)
    port = rig.secure_port if secure else rig.plain_port

    def wait() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            try:
                return connection.recv(100)
            except ConnectionResetError:  # how Twisted ends a TLS connection before its handshake
                return b""

    assert await deferToThread(wait) == b""


@both
@pytest_twisted.ensureDeferred
async def test_a_client_that_goes(make_rig: Any, secure: bool) -> None:
    """Its request is cancelled."""
    cancelled: list[bool] = []

    def answer(_: Request) -> Deferred[Response]:
        return Deferred(lambda _: cancelled.append(True))

    rig = make_rig(Recorder(answer=answer))
    caller = await rig.call(secure=secure)
    caller.say(get())
    await rig.until(lambda: len(rig.handler.handled) == 1)
    caller.transport.abortConnection()
    await rig.until(lambda: cancelled == [True])
    await caller.ended


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes(make_rig: Any) -> None:
    rig = make_rig(Recorder(delay_s=0.2))

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", rig.plain_port), timeout=20) as connection:
            connection.sendall(get(b"/1") + get(b"/2"))
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    answers = read_answers(await deferToThread(talk), ["GET", "GET"])
    assert [answer.body for answer in answers] == [b"/1", b"/2"]


@pytest_twisted.ensureDeferred
async def test_a_client_that_resets(make_rig: Any) -> None:
    rig = make_rig()

    def talk() -> None:
        for data in (b"", b"GET", get(), post(b"x", b"Content-Length: 5")):
            with socket.create_connection(("127.0.0.1", rig.plain_port), timeout=20) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(data)

    await deferToThread(talk)
    await rig.until(lambda: len(rig.context.connections) == 0)


@pytest_twisted.ensureDeferred
async def test_plain_http_on_the_tls_port(make_rig: Any) -> None:
    rig = make_rig()

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", rig.secure_port), timeout=20) as connection:
            connection.sendall(get())
            return b"".join(iter(lambda: connection.recv(4096), b""))

    answer = await deferToThread(talk)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer
    assert rig.handler.handled == []


@both
@pytest_twisted.ensureDeferred
async def test_stopping(make_rig: Any, secure: bool) -> None:
    """Idle connections close, requests in flight get their responses, new connections are refused."""
    waiting: list[Deferred[Response]] = []

    def answer(_: Request) -> Deferred[Response]:
        waiting.append(Deferred())
        return waiting[-1]

    rig = make_rig(Recorder(answer=answer))
    idle, busy = await rig.call(secure=secure), await rig.call(secure=secure)
    busy.say(get())
    await rig.until(lambda: len(waiting) == 1)
    stopped = rig.listeners.stop(20)
    await idle.ended
    with pytest.raises(ConnectionRefusedError):
        await deferToThread(socket.create_connection, ("127.0.0.1", rig.plain_port), 5)
    assert not stopped.called
    waiting[0].callback(LARGE)
    await stopped
    assert await busy.ended is ConnectionDone
    (received,) = read_answers(bytes(busy.received), ["GET"])
    assert (received.body, received.headers["connection"]) == (LARGE.body, "close")


@both
@pytest_twisted.ensureDeferred
async def test_stopping_costs_no_client_its_first_request(make_rig: Any, secure: bool) -> None:
    rig = make_rig()
    fresh = await rig.call(secure=secure)
    await rig.until(lambda: len(rig.context.connections) == 1)
    stopped = rig.listeners.stop(20)
    await rig.until(lambda: rig.context.connections.draining)
    fresh.say(get())
    assert await fresh.ended is ConnectionDone
    (received,) = read_answers(bytes(fresh.received), ["GET"])
    assert (received.status, received.headers["connection"]) == (200, "close")
    await stopped


@both
@pytest_twisted.ensureDeferred
async def test_stopping_has_a_deadline(make_rig: Any, secure: bool) -> None:
    rig = make_rig(Recorder(answer=lambda _: Deferred(lambda _: None)))
    busy = await rig.call(secure=secure)
    busy.say(get())
    await rig.until(lambda: len(rig.handler.handled) == 1)
    await rig.listeners.stop(0.1)
    await busy.ended
    assert busy.received == b""


def _context(rig: ArrivalRig, **changes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(rig.state / "self-signed.crt"))
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def _handshake(
    rig: ArrivalRig, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> dict[str, Any]:
    """Connect, verify, send a request, and return what was negotiated."""
    with (
        socket.create_connection(("127.0.0.1", rig.secure_port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="localhost", session=session) as secured,
    ):
        secured.sendall(get(b"/", CLOSE))
        data = b"".join(iter(lambda: secured.recv(4096), b""))
        return {
            "version": secured.version(),
            "cipher": secured.cipher()[0],  # type: ignore[index]
            "alpn": secured.selected_alpn_protocol(),
            "compression": secured.compression(),
            "session": secured.session,
            "reused": secured.session_reused,
            "certificate": secured.getpeercert(binary_form=True),
            "data": data,
        }


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest_twisted.ensureDeferred
async def test_tls(make_rig: Any, version: ssl.TLSVersion) -> None:
    """The self-signed certificate verifies for localhost; sessions are resumed; ALPN is http/1.1."""
    rig = make_rig()
    context = _context(rig, minimum_version=version, maximum_version=version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    first = await deferToThread(_handshake, rig, context)
    assert first["version"] == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
    assert "GCM" in first["cipher"] or "CHACHA" in first["cipher"]
    assert (first["alpn"], first["compression"]) == ("http/1.1", None)
    assert first["data"].startswith(b"HTTP/1.1 200 OK\r\n")
    again = await deferToThread(_handshake, rig, context, first["session"])
    assert again["reused"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_tls_that_is_too_old(make_rig: Any) -> None:
    rig = make_rig()
    old = _context(rig, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = _context(rig, maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("AES128-SHA:AES128-GCM-SHA256")
    for context in (old, weak):
        with pytest.raises(ssl.SSLError):
            await deferToThread(_handshake, rig, context)
    assert rig.handler.handled == []


@pytest_twisted.ensureDeferred
async def test_certificates_are_exchanged_while_running(make_rig: Any) -> None:
    rig = make_rig()
    before = await deferToThread(_handshake, rig, _context(rig))
    (rig.state / "self-signed.key").unlink()
    rig.listeners.reload()
    after = await deferToThread(_handshake, rig, _context(rig))
    assert before["certificate"] != after["certificate"]

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

from hospproxy.messages import Request, Response
from tests.arrival.wire import Recorder, read_answers
from tests.corpus import ALL, Case
from tests.corpus.case import get, post

from .arrival_place import Place, patient

CLOSE = b"Connection: close"
LARGE = Response(200, body=bytes(range(256)) * 32 * 1024)
BATCH = 60
"""Connections at one time: on a busy machine more TLS handshakes than that take longer than the short clocks allow."""
both = pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])


@pytest_twisted.async_yield_fixture
async def places(tmp_path: Path) -> AsyncIterator[Any]:
    """Makes places; each is closed after the test, and must have logged nothing."""
    made: list[Place] = []

    def make(handler: Recorder | None = None, **limits: float) -> Place:
        made.append(Place(tmp_path / "state", handler, patient(**limits) if limits else None))
        return made[-1]

    yield make
    for place in made:
        await place.end()


async def run_case(place: Place, case: Case, secure: bool) -> str | None:
    """Run a case on a connection of its own; return what went wrong, or None."""
    data = await place.converse(case.raw, secure=secure)
    answers = read_answers(data, [each.method for each in case.passed] + _refused_method(case))
    seen = [answer.status for answer in answers]
    return None if seen == case.statuses else f"{case.section} {case.name}: {seen}, not {case.statuses}"


def _refused_method(case: Case) -> list[str]:
    return ["HEAD"] if case.raw.startswith(b"HEAD") and not case.passed else []


def _target(request: Request) -> bytes:
    return request.path if request.query is None else request.path + b"?" + request.query


@both
@pytest_twisted.ensureDeferred
async def test_corpus(places: Any, secure: bool) -> None:
    """No request gets two responses, waits beyond its limit, is forwarded wrongly, or is logged."""
    place = places()
    for start in range(0, len(ALL), BATCH):
        batch = ALL[start : start + BATCH]
        runs = [Deferred.fromCoroutine(run_case(place, case, secure)) for case in batch]
        wrong = [each for each in await gatherResults(runs, consumeErrors=True) if each is not None]
        assert wrong == []
    passed = sorted((each.method, each.target, each.body or b"") for case in ALL for each in case.passed)
    handled = sorted(
        (r.method, r.path + (b"" if r.query is None else b"?" + r.query), r.body or b"")
        for r in place.handler.handled
    )
    assert handled == passed
    await place.until(lambda: len(place.house.connections) == 0)
    assert place.house.budget.used == 0


@both
@pytest_twisted.ensureDeferred
async def test_a_large_answer_and_the_end(places: Any, secure: bool) -> None:
    """The close after a response does not overtake it."""
    place = places(Recorder(answer=lambda _: LARGE))
    data = await place.converse(get(b"/", CLOSE), secure=secure)
    (answer,) = read_answers(data, ["GET"])
    assert answer.body == LARGE.body


@both
@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_a_client_that_still_sends(places: Any, secure: bool) -> None:
    """RFC 9112 §9.6: closing with unread data would send a reset that overtakes the 413."""
    place = places()
    data = await place.converse(post(b"x" * 3_000_000, b"Content-Length: 3000000"), secure=secure)
    assert [answer.status for answer in read_answers(data, ["POST"])] == [413]


@both
@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read(places: Any, secure: bool) -> None:
    place = places(
        Recorder(answer=lambda asked: LARGE if asked.path == b"/2" else Response(200)), write_timeout_s=0.5
    )
    caller = await place.call(secure=secure)
    caller.say(get(b"/1"))
    await place.until(lambda: len(caller.received) > 0)
    caller.transport.pauseProducing()
    caller.say(get(b"/2"))
    await place.until(lambda: place.house.budget.used > 0)
    await place.until(lambda: len(place.house.connections) == 0)
    assert place.house.budget.used == 0
    caller.transport.abortConnection()
    await caller.ended


@both
@pytest_twisted.ensureDeferred
async def test_silence(places: Any, secure: bool) -> None:
    """A TCP connection without any bytes, not even a TLS hello."""
    place = places(header_timeout_s=0.3)
    port = place.secure_port if secure else place.plain_port

    def wait() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            try:
                return connection.recv(100)
            except ConnectionResetError:  # how Twisted ends a TLS connection before its handshake
                return b""

    assert await deferToThread(wait) == b""


@both
@pytest_twisted.ensureDeferred
async def test_a_client_that_goes(places: Any, secure: bool) -> None:
    """Its request is cancelled."""
    cancelled: list[bool] = []

    def answer(_: Request) -> Deferred[Response]:
        return Deferred(lambda _: cancelled.append(True))

    place = places(Recorder(answer=answer))
    caller = await place.call(secure=secure)
    caller.say(get())
    await place.until(lambda: len(place.handler.handled) == 1)
    caller.transport.abortConnection()
    await place.until(lambda: cancelled == [True])
    await caller.ended


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes(places: Any) -> None:
    place = places(Recorder(delay_s=0.2))

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", place.plain_port), timeout=20) as connection:
            connection.sendall(get(b"/1") + get(b"/2"))
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    answers = read_answers(await deferToThread(talk), ["GET", "GET"])
    assert [answer.body for answer in answers] == [b"/1", b"/2"]


@pytest_twisted.ensureDeferred
async def test_a_client_that_resets(places: Any) -> None:
    place = places()

    def talk() -> None:
        for data in (b"", b"GET", get(), post(b"x", b"Content-Length: 5")):
            with socket.create_connection(("127.0.0.1", place.plain_port), timeout=20) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(data)

    await deferToThread(talk)
    await place.until(lambda: len(place.house.connections) == 0)


@pytest_twisted.ensureDeferred
async def test_plain_http_on_the_tls_port(places: Any) -> None:
    place = places()

    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", place.secure_port), timeout=20) as connection:
            connection.sendall(get())
            return b"".join(iter(lambda: connection.recv(4096), b""))

    assert b"HTTP" not in await deferToThread(talk)
    assert place.handler.handled == []


@both
@pytest_twisted.ensureDeferred
async def test_stopping(places: Any, secure: bool) -> None:
    """Idle connections close, requests in flight get their responses, new connections are refused."""
    waiting: list[Deferred[Response]] = []

    def answer(_: Request) -> Deferred[Response]:
        waiting.append(Deferred())
        return waiting[-1]

    place = places(Recorder(answer=answer))
    idle, busy = await place.call(secure=secure), await place.call(secure=secure)
    busy.say(get())
    await place.until(lambda: len(waiting) == 1)
    stopped = place.listeners.stop(20)
    await idle.ended
    with pytest.raises(ConnectionRefusedError):
        await deferToThread(socket.create_connection, ("127.0.0.1", place.plain_port), 5)
    assert not stopped.called
    waiting[0].callback(LARGE)
    await stopped
    assert await busy.ended is ConnectionDone
    (received,) = read_answers(bytes(busy.received), ["GET"])
    assert (received.body, received.headers["connection"]) == (LARGE.body, "close")


@both
@pytest_twisted.ensureDeferred
async def test_stopping_costs_no_client_its_first_request(places: Any, secure: bool) -> None:
    place = places()
    fresh = await place.call(secure=secure)
    await place.until(lambda: len(place.house.connections) == 1)
    stopped = place.listeners.stop(20)
    await place.until(lambda: place.house.connections.draining)
    fresh.say(get())
    assert await fresh.ended is ConnectionDone
    (received,) = read_answers(bytes(fresh.received), ["GET"])
    assert (received.status, received.headers["connection"]) == (200, "close")
    await stopped


@both
@pytest_twisted.ensureDeferred
async def test_stopping_has_a_deadline(places: Any, secure: bool) -> None:
    place = places(Recorder(answer=lambda _: Deferred(lambda _: None)))
    busy = await place.call(secure=secure)
    busy.say(get())
    await place.until(lambda: len(place.handler.handled) == 1)
    await place.listeners.stop(0.1)
    await busy.ended
    assert busy.received == b""


def _context(place: Place, **changes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(place.state / "self-signed.crt"))
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def _handshake(
    place: Place, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> dict[str, Any]:
    """Connect, verify, send a request, and return what was negotiated."""
    with (
        socket.create_connection(("127.0.0.1", place.secure_port), timeout=20) as connection,
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
async def test_tls(places: Any, version: ssl.TLSVersion) -> None:
    """The self-signed certificate verifies for localhost; sessions are resumed; ALPN is http/1.1."""
    place = places()
    context = _context(place, minimum_version=version, maximum_version=version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    first = await deferToThread(_handshake, place, context)
    assert first["version"] == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
    assert "GCM" in first["cipher"] or "CHACHA" in first["cipher"]
    assert (first["alpn"], first["compression"]) == ("http/1.1", None)
    assert first["data"].startswith(b"HTTP/1.1 200 OK\r\n")
    again = await deferToThread(_handshake, place, context, first["session"])
    assert again["reused"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_tls_that_is_too_old(places: Any) -> None:
    place = places()
    old = _context(place, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = _context(place, maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("AES128-SHA:AES128-GCM-SHA256")
    for context in (old, weak):
        with pytest.raises(ssl.SSLError):
            await deferToThread(_handshake, place, context)
    assert place.handler.handled == []


@pytest_twisted.ensureDeferred
async def test_certificates_are_exchanged_while_running(places: Any) -> None:
    place = places()
    before = await deferToThread(_handshake, place, _context(place))
    (place.state / "self-signed.key").unlink()
    place.listeners.reload()
    after = await deferToThread(_handshake, place, _context(place))
    assert before["certificate"] != after["certificate"]

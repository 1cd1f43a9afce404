"""A HOSP that sends invalid responses, behind the running proxy: they are never passed on and never cached."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred

from .http_client import ask
from .processes import Processes
from .scripted_server import Misbehaving, Step

OPTIONS = "".join(f"[{name}]\nenabled = false\n" for name in ("identity", "ownership", "screening", "cache"))


def raw(body: bytes, *fields: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    date = b"Date: " + formatdate(usegmt=True).encode()
    lines = [
        b"HTTP/1.1 " + status,
        date,
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
        *fields,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class ByMethod(Misbehaving):
    """Responds to a write with one script, and to reads with the others in turn, or with what was written."""

    write: bytes | None = None
    written: bytes | None = None

    def script(self) -> Sequence[Step]:
        if self.write is not None and not self.requests[-1].startswith(b"GET"):
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            stored = {"id": 5, "name": "Barn", "created_at": now, "updated_at": now}
            self.written = raw(json.dumps([stored]).encode())
            return (self.write,)
        return super().script() if self.written is None else (self.written,)


class Hosp:
    """A port of ours that sends the n-th response to the n-th request."""

    def __init__(self) -> None:
        self.server = ByMethod((raw(b"[]"),))
        where: Any = reactor
        self.port = where.listenTCP(0, self.server, interface="127.0.0.1")
        self.authority = f"127.0.0.1:{self.port.getHost().port}"

    def answers(self, *scripts: bytes | str) -> None:
        self.server.requests.clear()
        self.server.scripts = [(one,) for one in scripts]

    async def end(self) -> None:
        await maybeDeferred(self.port.stopListening)
        for connection, lost in zip(self.server.connections, self.server.lost, strict=True):
            if not lost.called:
                connection.transport.abortConnection()  # type: ignore[union-attr]
            await lost


@pytest_twisted.async_yield_fixture
async def hosp() -> AsyncIterator[Hosp]:
    made = Hosp()
    yield made
    await made.end()


@pytest_twisted.ensureDeferred
async def test_bad_answers_are_read_again(processes: Processes, hosp: Hosp) -> None:
    proxy = await processes.proxy(f"http://{hosp.authority}", options=OPTIONS)
    good = raw(b'[{"id":1}]')
    for bad in (raw(b"<p>login</p>", kind=b"text/html"), raw(b'[{"id":1'), raw(b'{"id":1}')):
        hosp.answers(bad, good)
        answer = await ask(proxy.plain_url, "GET", "/hospitals", headers={"Accept": "application/json"})
        assert (answer.status, answer.json(), len(hosp.server.requests)) == (200, [{"id": 1}], 2)
    hosp.answers(raw(b"{}"))
    answer = await ask(proxy.plain_url, "GET", "/hospitals")
    assert (answer.status, answer.json()["error"]) == (502, "Bad Gateway")
    assert proxy.records()[-1]["outcome"] == "bad answer"


@pytest_twisted.ensureDeferred
async def test_a_write_with_abad_answer_is_looked_up(processes: Processes, hosp: Hosp) -> None:
    proxy = await processes.proxy(f"http://{hosp.authority}", options=OPTIONS)
    # The proxy learns HOSP's clock, which tells what is new, from each response: here from the first read.
    assert (await ask(proxy.plain_url, "GET", "/hospitals")).status == 200
    hosp.server.write = raw(b'{"id":', status=b"201 Created")
    answer = await ask(proxy.plain_url, "POST", "/hospitals", {"name": "Barn"})
    assert (answer.status, answer.json()["id"]) == (201, 5)
    assert len([one for one in hosp.server.requests if one.startswith(b"POST")]) == 1


@pytest_twisted.ensureDeferred
async def test_only_harmless_fields_and_its_own_addresses(processes: Processes, hosp: Hosp) -> None:
    proxy = await processes.proxy(f"http://{hosp.authority}", options=OPTIONS)
    record = {"id": 1, "name": "Barn", "url": f"http://{hosp.authority}/hospitals/1.json"}
    location = f"Location: http://{hosp.authority}/hospitals/1".encode()
    steering = (
        b"X-Accel-Redirect: /secret",
        b"Clear-Site-Data: *",
        b"Alt-Svc: h3=evil",
        b"Server: old",
        b"ETag: W/x",
    )
    hosp.server.write = raw(json.dumps(record).encode(), location, *steering, status=b"201 Created")
    answer = await ask(proxy.plain_url, "POST", "/hospitals", {"name": "Barn"})
    assert answer.json()["url"] == f"{proxy.plain_url}/hospitals/1.json"
    assert answer.field("location") == f"{proxy.plain_url}/hospitals/1"
    names = {name for name, _ in answer.fields}
    assert "etag" in names and not names & {"x-accel-redirect", "clear-site-data", "alt-svc", "server"}


@pytest_twisted.ensureDeferred
async def test_a_field_with_aline_end_is_no_field(processes: Processes, hosp: Hosp) -> None:
    proxy = await processes.proxy(f"http://{hosp.authority}", options=OPTIONS)
    for injected in (b"ETag: a\rX-Injected: b", b"ETag: a\nX-Injected: b", b"ETag: a\x00b", b"ETag: a\x0bb"):
        hosp.answers(raw(b"[]", injected))
        answer = await ask(proxy.plain_url, "GET", "/hospitals")
        assert (answer.status, answer.field("x-injected")) == (502, None)

"""Rules of RFC 9110, 9111 and 9211 for a proxy, on the wire: raw bytes from clients, and what HOSP receives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults, maybeDeferred

from .http_client import Answer, ask, basic, raw
from .processes import Processes, Proxy
from .scripted_server import Misbehaving, Step

WITHOUT_CACHE = "[cache]\nenabled = false\n"


class NoteHosp(Misbehaving):
    """Has one note and one member of staff, and sends no Date.

    :ivar fields: further header fields of each response.
    :ivar unasked: responses that are sent first, to any request for a note.
    """

    def __init__(self) -> None:
        super().__init__()
        self.note: dict[str, Any] = {
            "id": 7,
            "title": "a",
            "patient_id": 1,
            "staff_id": 1,
            "updated_at": stamp(1),
        }
        self.fields: tuple[bytes, ...] = (b'ETag: W/"hosp"', b"Accept-Ranges: bytes")
        self.unasked: list[bytes] = []

    def script(self) -> Sequence[Step]:
        line, _, rest = self.requests[-1].partition(b"\r\n")
        method, target, _ = line.split(b" ")
        if target == b"/staffs/me":
            return (self.answer({"id": 1, "name": "staff1"}),)
        if self.unasked:
            return (self.unasked.pop(0),)
        if target.startswith(b"/notes/7"):
            if method == b"PATCH":
                self.note |= json.loads(rest.partition(b"\r\n\r\n")[2])
                self.note["updated_at"] = stamp(len(self.requests))
            return (self.answer(self.note),)
        return (self.answer([self.note]),)

    def answer(self, document: Any, status: bytes = b"200 OK") -> bytes:
        body = json.dumps(document).encode()
        head = (
            b"HTTP/1.1 " + status,
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
            *self.fields,
        )
        return b"\r\n".join(head) + b"\r\n\r\n" + body

    def seen(self, start: bytes) -> list[bytes]:
        """The requests whose first bytes are these."""
        return [one for one in self.requests if one.startswith(start)]


def stamp(second: int) -> str:
    return f"2026-01-01T00:00:{second % 60:02d}.000Z"


class Rig:
    """A proxy in front of such a HOSP."""

    def __init__(self) -> None:
        self.server = NoteHosp()
        where: Any = reactor
        self.port = where.listenTCP(0, self.server, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        self.proxy: Proxy

    async def send(self, line: str, *fields: str, document: Any = None) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        lines = [f"{line} HTTP/1.1", "Host: proxy.test", f"Authorization: {basic('staff1')}", *fields]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return await raw(self.proxy.plain_url, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def end(self) -> None:
        await maybeDeferred(self.port.stopListening)
        for connection, lost in zip(self.server.connections, self.server.lost, strict=True):
            if not lost.called:
                connection.transport.abortConnection()  # type: ignore[union-attr]
        await gatherResults(self.server.lost)


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.end()


@pytest_twisted.ensureDeferred
async def test_hosp_learns_every_hop_and_aloop_ends(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url, options=WITHOUT_CACHE)
    await rig.send("GET /notes", "Via: 1.0 fred")
    (asked,) = rig.server.seen(b"GET /notes ")
    (via,) = [one[5:].decode() for one in asked.split(b"\r\n") if one.startswith(b"Via: ")]
    before, _, name = via.rpartition(" ")
    assert before == "1.0 fred, 1.1" and name.startswith("hospproxy-"), via
    looped = await rig.send("GET /notes", f"Via: {via}")
    assert (looped.status, len(rig.server.seen(b"GET /notes "))) == (508, 1)
    old = await raw(
        rig.proxy.plain_url, f"GET / HTTP/1.0\r\nAuthorization: {basic('staff1')}\r\n\r\n".encode()
    )
    assert old.status in (200, 502)
    assert any(f"Via: 1.0 {name}".encode() in one for one in rig.server.seen(b"GET / "))


@pytest_twisted.ensureDeferred
async def test_date_and_etag_of_ahit_are_those_of_the_first(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url)
    first = await rig.send("GET /notes/7", "Range: bytes=0-1", 'If-Range: W/"hosp"')
    date, tag = first.field("date"), first.field("etag") or ""
    assert first.status == 200 and date is not None and parsedate_to_datetime(date)
    assert tag.startswith('"') and first.field("accept-ranges") is None
    (asked,) = rig.server.seen(b"GET /notes/7 ")
    assert b"range" not in asked.lower()
    hit = await rig.send("GET /notes/7")
    assert (hit.field("date"), hit.field("etag"), hit.body) == (date, tag, first.body)
    assert (hit.field("cache-status") or "").startswith("hospproxy; hit; ttl=")
    known = await rig.send("GET /notes/7", f"If-None-Match: {tag}")
    assert (known.status, known.body, known.field("etag")) == (304, b"", tag)


@pytest_twisted.ensureDeferred
async def test_what_nobody_asked_for_is_no_answer(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url, options=WITHOUT_CACHE)
    not_modified = b'HTTP/1.1 304 Not Modified\r\nETag: W/"hosp"\r\n\r\n'
    part = rig.server.answer([], b"206 Partial Content")
    for unasked in (not_modified, part):
        rig.server.requests.clear()
        rig.server.unasked.append(unasked)
        answer = await rig.send("GET /notes")
        assert (answer.status, answer.json()[0]["id"], len(rig.server.seen(b"GET /notes "))) == (200, 7, 2)


@pytest_twisted.ensureDeferred
async def test_hosps_no_cache_is_honoured(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url)
    rig.server.fields = (b"Cache-Control: no-cache",)
    for _ in range(2):
        answer = await rig.send("GET /notes")
        assert (answer.field("cache-status") or "").endswith("detail=no-cache")
    rig.server.fields = (b"Cache-Control: max-age=0, private, must-revalidate",)
    await rig.send("GET /notes")
    assert (await rig.send("GET /notes")).field("age") is not None
    assert len(rig.server.seen(b"GET /notes ")) == 3


@pytest_twisted.ensureDeferred
async def test_filters_go_on_and_are_kept_apart(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url)
    for query in (
        "",
        "?staff_id=3",
        "?staff_id=4",
        "?page=2&staff_id=9&staff_id=03",
        "?patient_id=2&patient_id=3",
    ):
        assert (await rig.send(f"GET /notes{query}")).status == 200
    asked = [one.split(b" ")[1] for one in rig.server.seen(b"GET /notes")]
    assert asked == [b"/notes", b"/notes?staff_id=3", b"/notes?staff_id=4", b"/notes?patient_id=3"]
    wrong = await rig.send("GET /notes?staff_id=x")
    assert (wrong.status, wrong.json()["field"]) == (422, "staff_id")
    await rig.send("PATCH /notes/7?staff_id=2", document={"title": "b"})
    assert rig.server.seen(b"PATCH /notes/7 ")


@pytest_twisted.ensureDeferred
async def test_conditions_of_writes_hold_or_nothing_is_sent(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url)
    tag = (await rig.send("GET /notes/7")).field("etag")
    rig.server.note["title"] = "changed past the proxy"
    for line, fields, status in (
        ("PATCH /notes/7", [f"If-Match: {tag}"], 412),
        ("PATCH /notes/7", ['If-Match: W/"hosp"'], 412),
        ("PATCH /notes/7", ["If-Match: hosp"], 400),
        ("PATCH /notes/7", ["If-None-Match: *"], 412),
        ("PATCH /notes/7", ["If-Unmodified-Since: Wed, 31 Dec 2025 00:00:00 GMT"], 412),
        ("PATCH /notes/7", ["If-Unmodified-Since: yesterday"], 400),
        ("POST /notes", ["If-Match: *", 'If-None-Match: "x", *'], 400),
        ("POST /patients/1/screen", ["If-Match: *"], 400),
    ):
        document = {"images": ["x"]} if "screen" in line else {"title": "b", "patient_id": 1}
        answer = await rig.send(line, *fields, document=document)
        assert answer.status == status, (line, fields, answer)
    assert (await rig.send("DELETE /notes/7", f"If-Match: {tag}")).status == 412
    assert not [one for one in rig.server.requests if one.split(b" ")[0] in (b"PATCH", b"POST", b"DELETE")]
    tag = (await rig.send("GET /notes/7", "Cache-Control: no-cache")).field("etag")
    changed = await rig.send("PATCH /notes/7", f"If-Match: {tag}", document={"title": "b"})
    assert (changed.status, changed.json()["title"]) == (200, "b")
    # The response to a change has the ETag for the next change.
    again = await rig.send("PATCH /notes/7", f"If-Match: {changed.field('etag')}", document={"title": "c"})
    assert again.status == 200
    own = [record["own"] for record in rig.proxy.records() if record["kind"] == "own"]
    assert "condition" in own


@pytest_twisted.ensureDeferred
async def test_what_is_replayed_was_not_forwarded(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url)
    said = [
        (await rig.send("PATCH /notes/7", 'Idempotency-Key: "k"', document={"title": "b"})).field(
            "cache-status"
        )
        for _ in range(2)
    ]
    assert said == ["hospproxy; fwd=method; fwd-status=200", "hospproxy; hit; detail=replayed"]
    assert len(rig.server.seen(b"PATCH ")) == 1


@pytest_twisted.ensureDeferred
async def test_what_the_cache_did_is_counted_as_itself(processes: Processes, rig: Rig) -> None:
    rig.proxy = await processes.proxy(rig.url)
    await rig.send("GET /notes")
    await rig.send("GET /notes", "Cache-Control: no-cache")
    metrics = (await ask(rig.proxy.admin_url, "GET", "/metrics")).body.decode()
    assert 'cache="refresh"' in metrics and 'cache="other"' not in metrics

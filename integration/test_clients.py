"""Clients that cannot be updated keep working: their requests, through the proxy and directly to HOSP.

Each request goes to two stand-ins with the same start, to one of them through the proxy. Both responses must be the
same except for times, ids, and the public address in `url` and `Location`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen

from .http_client import Answer, basic, raw
from .processes import Hosp, Processes, Proxy

AUTH = basic("staff1")
NOTE = {"title": "Visit", "body": "Eats again.", "patient_id": 7, "staff_id": 1}
READ_ROUTES = (
    "/hospitals", "/hospitals/1", "/staffs", "/staffs/1", "/staffs/me", "/patients", "/patients/1",
    "/notes", "/notes/1",
)  # fmt: skip


@frozen
class Pair:
    """Two stand-ins with the same start."""

    straight: Hosp
    proxy: Proxy


@pytest_twisted.async_yield_fixture(scope="module")  # type: ignore[untyped-decorator]
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    processes = Processes(tmp_path_factory.mktemp("clients"))
    straight, behind = await processes.hosp(), await processes.hosp()
    # Ownership has its own tests. Without it, the two responses to a note without an author can be compared.
    yield Pair(straight, await processes.proxy(behind.url))
    await processes.end_all()


Sent = Callable[[str], bytes]
"""A request's bytes for a Host."""


def head(
    start: str, *fields: str, body: bytes = b"", auth: str | None = AUTH, host: bool = True
) -> Callable[[str], bytes]:
    """A request in bytes, with no other header fields than those given."""
    lines = [start]

    def sent(authority: str) -> bytes:
        first = [*lines, *([f"Host: {authority}"] if host else [])]
        first += [*([f"Authorization: {auth}"] if auth else []), *fields]
        return "\r\n".join(first).encode() + b"\r\n\r\n" + body

    return sent


def sized(start: str, body: bytes, *fields: str, auth: str | None = AUTH) -> Callable[[str], bytes]:
    """The same with a body of known length."""
    return head(start, *fields, f"Content-Length: {len(body)}", body=body, auth=auth)


async def both(
    pair: Pair, sent: Sent, *, then: bytes | None = None, method: str = "GET"
) -> tuple[Answer, Answer]:
    """The responses of HOSP directly, and through the proxy."""
    straight, public = pair.straight.url, pair.proxy.url
    answers = []
    for url in (straight, public):
        authority = url.rpartition("/")[2]
        answers.append(await raw(url, sent(authority), then=then, method=method))
    return answers[0], answers[1]


async def same(pair: Pair, sent: Sent, status: int, *, then: bytes | None = None, ids: bool = True) -> Any:
    """Assert that both responses agree; return the proxy's document (or text).

    :param ids: False if the two may have assigned different ids.
    """
    straight, ours = await both(pair, sent, then=then)
    assert (straight.status, ours.status) == (status, status), (straight, ours)
    assert ours.field("content-type") == straight.field("content-type")
    theirs = pair.straight.url, pair.proxy.url
    assert located(ours, theirs[1], ids) == located(straight, theirs[0], ids)
    assert plain(ours, theirs[1], ids) == plain(straight, theirs[0], ids)
    return ours.json() if "json" in (ours.field("content-type") or "") else ours.body.decode()


def located(answer: Answer, origin: str, ids: bool) -> str | None:
    """Location, without the parts that may differ."""
    location = answer.field("location")
    return None if location is None else without_ids(location.replace(origin, "ORIGIN"), ids)


def plain(answer: Answer, origin: str, ids: bool) -> Any:
    """A body, without the parts that may differ."""
    if "json" not in (answer.field("content-type") or ""):
        return answer.body
    return comparable(answer.json(), origin, ids)


def comparable(value: Any, origin: str, ids: bool) -> Any:
    if isinstance(value, list):
        return [comparable(each, origin, ids) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, inner in value.items():
        if name in ("created_at", "updated_at") and not ids:
            inner = re.sub(r"\d", "0", inner)
        elif name == "url":
            assert inner.startswith(origin + "/"), inner
            inner = without_ids(inner.replace(origin, "ORIGIN"), ids)
        elif name == "id" and not ids:
            inner = type(inner).__name__
        made[name] = comparable(inner, origin, ids)
    return made


def without_ids(text: str, ids: bool) -> str:
    return text if ids else re.sub(r"/\d+", "/N", text)


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


# Credentials


@pytest.mark.parametrize(
    "authorization",
    [
        AUTH,
        AUTH.replace("Basic", "basic"),
        AUTH.replace("Basic", "BASIC"),
        AUTH.rstrip("="),
        AUTH.replace("Basic ", "Basic  "),
    ],
    ids=["as usual", "lower case", "upper case", "unpadded", "two spaces"],
)
@pytest_twisted.ensureDeferred
async def test_credentials_however_they_are_spelt(pair: Pair, authorization: str) -> None:
    me = await same(pair, head("GET /staffs/me HTTP/1.1", auth=authorization), 200)
    assert me["name"] == "staff1"


@pytest_twisted.ensureDeferred
async def test_the_padding_that_a_client_leaves_off_was_there() -> None:
    assert AUTH.endswith("==")


@pytest.mark.parametrize(
    "authorization", [None, "Basic", "Basic !!!!", "Bearer abc", basic("staff1", "wrong")]
)
@pytest_twisted.ensureDeferred
async def test_no_credentials_get_the_answer_that_hosp_gives(pair: Pair, authorization: str | None) -> None:
    straight, ours = await both(pair, head("GET /hospitals HTTP/1.1", auth=authorization))
    assert (
        (ours.status, ours.body) == (straight.status, straight.body) == (401, b"HTTP Basic: Access denied.\n")
    )
    for name in ("www-authenticate", "content-type"):
        assert ours.field(name) == straight.field(name) is not None


# Bodies


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", None],
)
@pytest_twisted.ensureDeferred
async def test_json_under_any_of_its_types(pair: Pair, content_type: str | None) -> None:
    fields = [f"Content-Type: {content_type}"] if content_type else []
    body = as_json({**NOTE, "body": f"Frisst wieder – {content_type}"})
    made = await same(pair, sized("POST /notes HTTP/1.1", body, *fields), 201, ids=False)
    assert made["body"] == f"Frisst wieder – {content_type}"
    changes = as_json({"title": f"Second visit, {content_type}"})
    changed = await same(pair, sized("PATCH /notes/7 HTTP/1.1", changes, *fields), 200, ids=False)
    assert changed["title"] == f"Second visit, {content_type}"


@pytest_twisted.ensureDeferred
async def test_a_chunked_body(pair: Pair) -> None:
    body = as_json({**NOTE, "body": "In two pieces."})
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:9], body[9:])) + b"0\r\n\r\n"
    fields = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    made = await same(pair, head("POST /notes HTTP/1.1", *fields, body=chunks), 201, ids=False)
    assert made["body"] == "In two pieces."


@pytest_twisted.ensureDeferred
async def test_a_client_that_waits_for_100_continue(pair: Pair) -> None:
    body = as_json({**NOTE, "body": "After a pause."})
    fields = ["Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue"]
    made = await same(pair, head("POST /notes HTTP/1.1", *fields), 201, then=body, ids=False)
    assert made["body"] == "After a pause."


@pytest_twisted.ensureDeferred
async def test_unknown_fields_are_ignored(pair: Pair) -> None:
    body = as_json({**NOTE, "body": "More than HOSP knows.", "mood": "good", "device": {"os": 9}})
    made = await same(
        pair, sized("POST /notes HTTP/1.1", body, "Content-Type: application/json"), 201, ids=False
    )
    assert "mood" not in made
    changes = as_json({"name": "Nettle the Third", "colour": "red"})
    await same(
        pair, sized("PATCH /patients/9 HTTP/1.1", changes, "Content-Type: application/json"), 200, ids=False
    )


@pytest_twisted.ensureDeferred
async def test_a_note_without_an_author_is_taken(pair: Pair) -> None:
    """HOSP would store the note without an author; the proxy sets the caller."""
    body = as_json({"title": "Visit", "body": "Who wrote this?", "patient_id": 7})
    sent = sized("POST /notes HTTP/1.1", body, "Content-Type: application/json")
    straight, ours = await both(pair, sent)
    assert (straight.status, ours.status) == (201, 201)
    assert straight.json()["staff_id"] is None
    assert ours.json()["staff_id"] == 1
    assert ours.json()["body"] == "Who wrote this?"


@pytest_twisted.ensureDeferred
async def test_a_screening_of_no_images(pair: Pair) -> None:
    body = as_json({"images": []})
    answer = await same(
        pair, sized("POST /patients/3/screen HTTP/1.1", body, "Content-Type: application/json"), 200
    )
    assert answer["results"] == []


@pytest_twisted.ensureDeferred
async def test_a_screening_is_answered_as_hosp_does(pair: Pair) -> None:
    body = as_json({"images": ["first", "second"]})
    answer = await same(
        pair, sized("POST /patients/3/screen HTTP/1.1", body, "Content-Type: application/json"), 200
    )
    assert len(answer["results"]) == 2


# Versions and what surrounds a GET


@pytest.mark.parametrize("connection", [[], ["Connection: keep-alive"], ["Connection: close"]])
@pytest_twisted.ensureDeferred
async def test_http_1_0(pair: Pair, connection: list[str]) -> None:
    listed = await same(pair, head("GET /hospitals HTTP/1.0", *connection), 200)
    assert listed[0]["id"] == 9


@pytest_twisted.ensureDeferred
async def test_http_1_0_without_a_host(pair: Pair) -> None:
    straight, ours = await both(pair, head("GET /hospitals HTTP/1.0", host=False))
    assert (straight.status, ours.status) == (200, 200)
    assert [each["name"] for each in ours.json()] == [each["name"] for each in straight.json()]


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (["Content-Length: 0"], b""),
        (["Content-Length: 2"], b"{}"),
        (["Content-Type: application/json", "Content-Length: 16"], b'{"hospital_id":1'),
        (["Content-Type: application/x-www-form-urlencoded", "Content-Length: 3"], b"a=1"),
        (["Transfer-Encoding: chunked"], b"2\r\nhi\r\n0\r\n\r\n"),
    ],
    ids=["no content", "an object", "cut JSON", "a form", "chunked"],
)
@pytest_twisted.ensureDeferred
async def test_a_get_that_has_a_length_or_a_body(pair: Pair, fields: list[str], body: bytes) -> None:
    """HOSP reads the body of a GET as parameters and fails on truncated JSON; the proxy forwards no such body."""
    sent = head("GET /patients?hospital_id=2 HTTP/1.1", *fields, body=body)
    straight, ours = await both(pair, sent)
    assert ours.status == 200
    if straight.status == 200:
        assert plain(ours, pair.proxy.url, True) == plain(straight, pair.straight.url, True)
    assert {each["hospital_id"] for each in ours.json()} == {2}


# Paths and queries


@pytest.mark.parametrize("route", READ_ROUTES)
@pytest.mark.parametrize("spelling", ["{}", "{}.json", "{}/", "{}.json/", "/{}"])
@pytest_twisted.ensureDeferred
async def test_every_route_is_read_in_every_spelling(pair: Pair, route: str, spelling: str) -> None:
    straight, ours = await both(pair, head(f"GET {spelling.format(route)} HTTP/1.1"))
    assert (straight.status, ours.status) == (200, 200)
    assert ours.field("content-type") == straight.field("content-type")
    assert shape(ours, pair.proxy.url) == shape(straight, pair.straight.url)


def shape(answer: Answer, origin: str) -> Any:
    """The part of a response that does not depend on how many notes were created since."""
    value = comparable(answer.json(), origin, False)
    return value[-1] if isinstance(value, list) else value


@pytest.mark.parametrize("suffix", [".json", "/"])
@pytest_twisted.ensureDeferred
async def test_every_route_is_written_in_every_spelling(pair: Pair, suffix: str) -> None:
    typed = "Content-Type: application/json"
    new = {
        "hospitals": {"name": "Hill"},
        "staffs": {"name": f"new{len(suffix)}", "hospital_id": 1, "password": "secret"},
        "patients": {"name": "Moss", "hospital_id": 2, "birthdate": "2020-02-29"},
        "notes": NOTE,
    }
    for resource, document in new.items():
        start = f"POST /{resource}{suffix} HTTP/1.1"
        made = await same(pair, sized(start, as_json(document), typed), 201, ids=False)
        assert "password" not in made
    for resource, number in (("hospitals", 6), ("staffs", 13), ("patients", 12), ("notes", 12)):
        changes = {"title": "Changed"} if resource == "notes" else {"name": f"Changed {resource} {suffix}"}
        start = f"PATCH /{resource}/{number}{suffix} HTTP/1.1"
        await same(pair, sized(start, as_json(changes), typed), 200, ids=False)
    start = f"POST /patients/1/screen{suffix} HTTP/1.1"
    await same(pair, sized(start, as_json({"images": ["one"]}), typed), 200)
    gone = {".json": 20, "/": 21}[suffix]
    for resource, number in (("hospitals", 0), ("staffs", 0), ("patients", gone), ("notes", gone)):
        if number:
            await same(pair, head(f"DELETE /{resource}/{number}{suffix} HTTP/1.1"), 200)
            straight, ours = await both(
                pair, head(f"GET /{resource}/{number} HTTP/1.1", "Accept: application/json")
            )
            assert (straight.status, ours.status) == (404, 404)


@pytest_twisted.ensureDeferred
async def test_an_empty_filter_means_all(pair: Pair) -> None:
    for route in ("/patients?hospital_id=", "/notes?patient_id=", "/patients?"):
        straight, ours = await both(pair, head(f"GET {route} HTTP/1.1"))
        assert (straight.status, ours.status) == (200, 200)
        assert len(ours.json()) >= 100
        assert shape(ours, pair.proxy.url) == shape(straight, pair.straight.url)


@pytest_twisted.ensureDeferred
async def test_a_filter_filters(pair: Pair) -> None:
    """An earlier proxy dropped the query and served every hospital's patients."""
    listed = await same(pair, head("GET /patients?hospital_id=3 HTTP/1.1"), 200)
    assert {each["hospital_id"] for each in listed} == {3}


@pytest.mark.parametrize(
    "target",
    [
        "/h%6fspitals/2",
        "/h%6Fspitals/2",
        "/hospitals/%32",
        "/patients?hospital_id=%33",
        "/patients?hospital%5fid=3",
        "/patients?hospital%5Fid=3",
    ],
)
@pytest_twisted.ensureDeferred
async def test_percent_encoding_in_either_case(pair: Pair, target: str) -> None:
    await same(pair, head(f"GET {target} HTTP/1.1"), 200)


@pytest_twisted.ensureDeferred
async def test_errors_are_in_hosps_shape(pair: Pair) -> None:
    for accept in ("application/json", "*/*", "text/html,application/xhtml+xml"):
        straight, ours = await both(pair, head("GET /patients/999999 HTTP/1.1", f"Accept: {accept}"))
        assert (straight.status, ours.status) == (404, 404)
        assert (ours.field("content-type") or "")[:12] == (straight.field("content-type") or "")[:12]
    assert (await both(pair, head("GET /nowhere HTTP/1.1", "Accept: application/json")))[1].json() == {
        "status": 404,
        "error": "Not Found",
        "detail": "There is nothing at this path.",
    }


@pytest_twisted.ensureDeferred
async def test_head_has_no_body_and_the_length_of_gets(pair: Pair) -> None:
    sent = head("HEAD /hospitals HTTP/1.1", "Connection: close")
    straight, ours = await both(pair, sent, method="HEAD")
    assert (straight.status, ours.status, ours.body) == (200, 200, b"")
    whole = (await both(pair, head("GET /hospitals HTTP/1.1")))[1]
    assert ours.field("content-length") == str(len(whole.body))


@pytest_twisted.ensureDeferred
async def test_the_public_page_needs_no_credentials(pair: Pair) -> None:
    said = await same(pair, head("GET / HTTP/1.1", auth=None), 200)
    assert "Server is online" in said

"""What an operator relies on: clear failures, a record of each response without secrets, a stop that cuts none off."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from .http_client import ask, basic, control, journal, raw, script
from .ports import free_port
from .processes import Processes, is_open
from .relay import Relay
from .test_fates import until

NOTE = {"title": "Visit", "body": "The cat is called Secretissima.", "patient_id": 7}

# HOSP fails


@pytest_twisted.ensureDeferred
async def test_a_failure_of_who_am_i_is_never_a_401(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    for fault in ("error_before", "reset_before", "truncated", "busy", "bad_gateway"):
        await script(hosp.control_url, fault, method="GET", path="/staffs/me")
        user = f"staff{len(fault)}"
        assert (await ask(proxy.url, "GET", "/hospitals", user=user)).status == 200, fault
    for fault in ("error_before", "reset_before", "truncated", "busy"):
        await control(hosp.control_url, "POST", "/faults", {fault: 1, "only_paths": ["/staffs/me"]})
        for path in ("/hospitals", "/staffs/me"):
            answer = await ask(proxy.url, "GET", path, user="staff1")
            assert answer.status in (500, 502, 503), (fault, path, answer)
            assert answer.field("www-authenticate") is None
        assert (await ask(proxy.url, "POST", "/notes", NOTE, user="staff1")).status in (500, 502, 503)
    assert await journal(hosp.control_url, "stored") == []


@pytest_twisted.ensureDeferred
async def test_with_hosp_away_memory_still_answers_and_the_rest_is_told(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    kept = await ask(proxy.url, "GET", "/hospitals", user="staff1")
    await control(hosp.control_url, "POST", "/offline", {"offline": True})
    assert not is_open(hosp.port)
    again = await ask(proxy.url, "GET", "/hospitals", user="staff1")
    assert (again.status, again.json()) == (200, kept.json())
    for method, path, *document in (
        ("GET", "/patients"),
        ("POST", "/notes", NOTE),
        ("PATCH", "/notes/5", {"title": "x"}),
        ("DELETE", "/notes/5"),
        ("POST", "/patients/3/screen", {"images": []}),
    ):
        answer = await ask(proxy.url, method, path, *document, user="staff1")
        assert answer.status in (502, 503), (method, path, answer)
        assert answer.json()["error"] in ("Bad Gateway", "Service Unavailable")
        # Nothing was sent, so nothing is in doubt.
        assert "outcome" not in answer.json()
    await control(hosp.control_url, "POST", "/offline", {"offline": False})

    async def back() -> bool:
        return (await ask(proxy.url, "GET", "/patients", user="staff1")).status == 200

    await until(back, "HOSP is found to be back", 90.0)
    assert (await ask(proxy.url, "POST", "/notes", NOTE, user="staff1")).status == 201
    assert len(await journal(hosp.control_url, "stored")) == 1


@pytest_twisted.ensureDeferred
async def test_with_identity_switched_off_hosp_alone_judges_credentials(processes: Processes) -> None:
    """The records then name no user: the credentials of a request are only claimed, even if HOSP accepted them."""
    hosp = await processes.hosp()
    off = "".join(f"[{name}]\nenabled = false\n" for name in ("identity", "ownership", "screening", "cache"))
    proxy = await processes.proxy(hosp.url, options=off)
    straight = await ask(hosp.url, "GET", "/hospitals", user="staff1")
    ours = await ask(proxy.url, "GET", "/hospitals", user="staff1")
    assert [each["id"] for each in ours.json()] == [each["id"] for each in straight.json()]
    for more in ({"user": "staff1", "password": "wrong"}, {}):
        refused = await ask(proxy.url, "GET", "/hospitals", **more)
        assert (refused.status, refused.body) == (401, b"HTTP Basic: Access denied.\n")
    assert (await ask(proxy.url, "GET", "/")).status == 200
    for user in ("staff1", "staff2"):
        await script(hosp.control_url, "error_after", method="POST")
        made = await ask(proxy.url, "POST", "/notes", {**NOTE, "staff_id": 9}, user=user)
        assert (made.status, made.json()["staff_id"]) == (201, 9)
    stored = await journal(hosp.control_url, "stored", "notes")
    assert [entry["staff_name"] for entry in stored] == ["staff1", "staff2"]
    who = [line["who"] for line in proxy.records() if line["kind"] == "request"]
    assert [each["certainty"] for each in who] == ["claimed", "claimed", "none", "none", "claimed", "claimed"]
    assert {(each.get("id"), each.get("name")) for each in who} == {(None, None)}


# The record


@pytest_twisted.ensureDeferred
async def test_every_answer_has_its_line(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    host = proxy.url.rpartition("/")[2]
    given: Counter[tuple[str, int]] = Counter()

    async def one(method: str, path: str, *document: Any, **more: Any) -> None:
        given[method, (await ask(proxy.url, method, path, *document, **more)).status] += 1

    for user in ("staff1", "staff2"):
        for path in ("/hospitals", "/hospitals", "/patients?hospital_id=2", "/staffs/me", "/notes/999999"):
            await one("GET", path, user=user)
        await one("POST", "/notes", NOTE, user=user)
        await one("POST", "/patients/3/screen", {"images": ["one"]}, user=user)
        await one("POST", "/notes", {"title": 3}, user=user)
        await one("PUT", "/notes/1", NOTE, user=user)
    await one("PATCH", "/notes/5", {"title": "x"}, user="staff1")
    await one("DELETE", "/notes/5", user="staff1")
    await one("GET", "/hospitals")
    await one("GET", "/hospitals", user="staff1", password="wrong")
    await one("GET", "/nowhere", user="staff1")
    await one("OPTIONS", "/notes")
    await one("GET", "/")
    malformed = {
        "GET /hospitals HTTP/1.1\r\n\r\n": 400,
        f"GET /hospitals HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n": 400,
        f"POST /notes HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999\r\n\r\n": 413,
        f"GET /{'x' * 9000} HTTP/1.1\r\nHost: {host}\r\n\r\n": 414,
        f"GET / HTTP/1.1\r\nHost: {host}\r\nX: {'x' * 20000}\r\n\r\n": 431,
    }
    refused = [(await raw(proxy.url, sent.encode())).status for sent in malformed]
    assert refused == list(malformed.values())
    assert await proxy.stop() == 0
    lines = [line for line in proxy.records() if line["kind"] == "request"]
    by_method = Counter((line["method"], line["status"]) for line in lines if line["status"] not in refused)
    assert by_method == Counter({pair: times for pair, times in given.items() if pair[1] not in refused})
    by_status = Counter(status for _, status in given.elements()) + Counter(refused)
    assert Counter(line["status"] for line in lines) == by_status
    assert len({line["request_id"] for line in lines}) == len(lines)


@pytest_twisted.ensureDeferred
async def test_a_line_says_who_did_what_to_whom_and_a_write_is_announced(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    for _ in range(2):
        await ask(proxy.url, "GET", "/patients/3", user="staff4")
    await ask(proxy.url, "POST", "/notes", {**NOTE, "staff_id": 9}, user="staff4")
    lines = proxy.records()
    first, second, made = [line for line in lines if line["kind"] == "request"]
    for line in (first, second, made):
        assert line["who"] == {"id": 4, "name": "staff4", "certainty": "verified"}
        assert line["client"]["address"] == "127.0.0.1"
    assert (first["action"], first["resource"], first["patient_id"]) == ("read", "patients", "3")
    assert (first["cache"], second["cache"], second["attempts"]) == ("miss", "hit", 0)
    assert (made["action"], made["patient_id"], made["record_id"], made["status"]) == (
        "create",
        "7",
        "301",
        201,
    )
    assert made["rule_hits"] == ["ownership:assign:staff_id"]
    [intent] = [line for line in lines if line["kind"] == "intent"]
    assert (intent["request_id"], intent["who"]) == (made["request_id"], made["who"])
    assert lines.index(intent) < lines.index(made)
    [asked] = [line for line in lines if line["kind"] == "own" and line["own"] == "identity"]
    # HOSP has not confirmed the name yet, so the record has only its HMAC.
    assert asked["on_behalf_of"]["certainty"] == "claimed"
    assert re.fullmatch("[0-9a-f]{64}", asked["on_behalf_of"]["name_hmac"])


@pytest_twisted.ensureDeferred
async def test_no_secret_and_no_body_stands_in_any_file_or_log(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    password = "Tr0ub4dor-and-3"
    await ask(proxy.url, "PATCH", "/staffs/2", {"password": password}, user="staff1")
    for name in ("staff2", "staff77", password):
        for given in (password, "wr0ng-passw0rd"):
            await ask(proxy.url, "GET", "/hospitals", user=name, password=given)
            await ask(proxy.url, "POST", "/notes", NOTE, user=name, password=given)
    await script(hosp.control_url, "error_after", "error_before", method="POST")
    await ask(proxy.url, "POST", "/notes", NOTE, user="staff2", password=password)
    await ask(proxy.url, "POST", "/notes", {**NOTE, "staff_id": "x"}, user="staff2", password=password)
    await ask(
        proxy.url,
        "POST",
        "/patients/3/screen",
        {"images": ["Secretissima"]},
        user="staff2",
        password=password,
    )
    await ask(proxy.url, "GET", "/notes?patient_id=7&note=Secretissima", user="staff2", password=password)
    await ask(proxy.url, "GET", f"/{password}/Secretissima", user="staff2", password=password)
    host = proxy.url.rpartition("/")[2]
    bad = f"GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic('staff2', password)}\r\n: Secretissima\r\n\r\n"
    assert (await raw(proxy.url, bad.encode())).status == 400
    assert await proxy.stop() == 0
    secrets = [
        *(password, "wr0ng-passw0rd", "Secretissima", "password1"),
        *(
            basic(name, given).split()[1]
            for name in ("staff2", "staff77")
            for given in (password, "wr0ng-passw0rd")
        ),
        base64.b64encode(password.encode()).decode()[:-4],
    ]
    files = [file for file in proxy.state.rglob("*") if file.is_file()]
    assert len(proxy.records()) >= 15
    for name, text in [("log", proxy.log), *((str(file), read(file)) for file in files)]:
        assert [secret for secret in secrets if secret in text] == [], name
        assert "Traceback" not in text
    # The records describe the requests. A log that grows with them would be one more file to manage.
    assert "HTTP11ClientFactory" not in proxy.log


def read(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "replace")


# Stopping


@pytest_twisted.ensureDeferred
async def test_a_stop_answers_what_is_under_way(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "fixed:1.5")
    proxy = await processes.proxy(hosp.url)
    under_way = [
        ask(proxy.url, "GET", "/hospitals", user="staff1"),
        ask(proxy.url, "POST", "/notes", NOTE, user="staff2"),
        ask(proxy.plain_url, "GET", "/patients", user="staff3"),
    ]
    # Each begins with an identity lookup. The responses take three seconds; a stop may come at any time of them.
    while len(await journal(hosp.control_url, "request")) < 3:
        pass
    proxy.signal("TERM")
    answers = [await each for each in under_way]
    assert [answer.status for answer in answers] == [200, 201, 200]
    assert await proxy.exit_status() == 0
    assert not is_open(proxy.port)
    assert sorted(line["status"] for line in proxy.records() if line["kind"] == "request") == [200, 200, 201]


# Proxies in front


@pytest.mark.parametrize("plain", ["reject", "redirect", "serve"])
@pytest_twisted.ensureDeferred
async def test_a_plain_port_does_as_its_policy_says(processes: Processes, plain: str) -> None:
    hosp, port = await processes.hosp(), free_port()
    listener = f'[[listeners]]\nurl = "http://127.0.0.1:{port}"\nplain = "{plain}"\n'
    proxy = await processes.proxy(hosp.url, options=listener)
    url = f"http://127.0.0.1:{port}"
    got = await ask(url, "GET", "/patients?hospital_id=2", user="staff1")
    made = await ask(url, "POST", "/notes", NOTE, user="staff1")
    asked = await journal(hosp.control_url, "request")
    if plain == "serve":
        assert (got.status, made.status) == (200, 201)
        assert got.json()[0]["url"].startswith(f"{url}/patients/")
        return
    assert (got.status, made.status) == ({"reject": 403, "redirect": 308}[plain], 403)
    assert asked == []
    assert got.field("location") == ({"redirect": f"{proxy.url}/patients?hospital_id=2"}.get(plain))
    assert [line["status"] for line in proxy.records()] == [got.status, 403]


FORWARDED = {
    "X-Forwarded-For": "198.51.100.7, 203.0.113.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Request-Id": "gateway-42",
    "X-Real-Ip": "198.51.100.7",
    "Connection": "close, X-Hop",
    "X-Hop": "only this one",
    "Cookie": "session=1",
    "Origin": "https://evil.example",
}


@pytest_twisted.ensureDeferred
async def test_hosp_learns_the_client_from_us_alone(processes: Processes) -> None:
    relay = Relay((await processes.hosp()).port)
    relay.start()
    proxy = await processes.proxy(relay.url)
    await ask(proxy.url, "GET", "/hospitals", user="staff1", headers=FORWARDED)
    assert relay.requests == ["GET /staffs/me", "GET /hospitals"]
    for head in map(fields, relay.heads):
        assert head["host"] == [proxy.url.rpartition("/")[2]]
        assert (head["x-forwarded-for"], head["x-forwarded-proto"]) == (["127.0.0.1"], ["https"])
        assert head["x-request-id"] != ["gateway-42"]
        assert head["authorization"] == [basic("staff1")]
        assert set(head) <= SENT_ON
    recorded = [line["request_id"] for line in proxy.records() if line["kind"] == "request"]
    assert recorded == fields(relay.heads[-1])["x-request-id"]
    await relay.stop()


@pytest_twisted.ensureDeferred
async def test_a_listed_proxy_in_front_is_believed(processes: Processes) -> None:
    relay = Relay((await processes.hosp()).port)
    relay.start()
    proxy = await processes.proxy(relay.url, top='trusted_proxies = ["127.0.0.1"]')
    answer = await ask(proxy.url, "GET", "/hospitals", user="staff1", headers=FORWARDED)
    head = fields(relay.heads[-1])
    # An unlisted peer may have forged the addresses before its own.
    assert head["x-forwarded-for"] == ["203.0.113.9, 127.0.0.1"]
    assert (head["x-forwarded-proto"], head["x-request-id"]) == (["http"], ["gateway-42"])
    assert head["host"] == [proxy.url.rpartition("/")[2]]
    assert set(head) <= SENT_ON
    assert answer.json()[0]["url"].startswith(proxy.url.replace("https", "http") + "/hospitals/")
    [line] = [line for line in proxy.records() if line["kind"] == "request"]
    assert (line["request_id"], line["client"]["address"]) == ("gateway-42", "203.0.113.9")
    await relay.stop()


SENT_ON = {
    "host", "user-agent", "accept", "accept-encoding", "x-forwarded-for", "x-forwarded-proto", "x-request-id",
    "authorization", "connection", "content-type", "content-length", "via",
}  # fmt: skip


def fields(head: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


@pytest_twisted.ensureDeferred
async def test_public_hosts_name_who_is_served(processes: Processes) -> None:
    hosp, port = await processes.hosp(), free_port()
    proxy = await processes.proxy(hosp.url, top=f'public_hosts = ["hosp.example:{port}"]', port=port)
    refused = await ask(proxy.url, "GET", "/hospitals", user="staff1")
    assert refused.status == 421
    served = await ask(
        proxy.url, "GET", "/hospitals", user="staff1", headers={"Host": f"hosp.example:{port}"}
    )
    assert served.status == 200
    assert re.fullmatch(rf"https://hosp\.example:{port}/hospitals/9\.json", served.json()[0]["url"])
    assert {json.dumps(line["status"]) for line in proxy.records() if line["kind"] == "request"} == {
        "421",
        "200",
    }

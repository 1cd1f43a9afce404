"""Proxies in front: a real HAProxy, with a PROXY header or with HTTP headers; and the secret of an origin."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest_twisted

from .haproxy import CLIENT, ask_from, haproxy, way
from .http_client import Answer, ask, unverified
from .ports import free_port
from .processes import Processes, Proxy

LISTED = 'trusted_proxies = ["127.0.0.1"]\n'
RECORDED = {
    "address": CLIENT,
    "peer": "127.0.0.1",
    "chain": ["127.0.0.1"],
    "scheme": "https",
    "certificate": None,
}
FORGED = {
    "X-Forwarded-For": "198.51.100.7",
    "Forwarded": "for=198.51.100.7;proto=https",
    "X-Forwarded-Proto": "https",
}


def requests(proxy: Proxy) -> list[dict[str, Any]]:
    return [record for record in proxy.records() if record["kind"] == "request"]


def url_of(answer: Answer) -> str:
    url: str = answer.json()[0]["url"]
    return url


async def metric(proxy: Proxy, name: str) -> float:
    text = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"hospproxy_{name} ")]
    return float(found[0]) if found else 0.0


@pytest_twisted.ensureDeferred
async def test_proxy_headers_before_tls(processes: Processes, tmp_path: Path) -> None:
    """Both versions, with TLS passed through and health checks (LOCAL) in between; the record names the client."""
    announced = free_port()
    listener = f'[[listeners]]\nurl = "https://127.0.0.1:{announced}"\nproxy_protocol = true\n'
    proxy = await processes.proxy((await processes.hosp()).url, top=LISTED, options=listener)
    ways = [
        way("tcp", announced, "send-proxy"),
        way("tcp", announced, "send-proxy-v2"),
        way(
            "tcp",
            announced,
            "send-proxy-v2 proxy-v2-options crc32c,unique-id check check-ssl verify none inter 5s",
        ),
    ]
    balancer = await haproxy(processes, tmp_path, *ways)
    for each in ways:
        answer = await ask_from(CLIENT, each.port, "GET", "/hospitals", secure=True, headers=FORGED)
        assert answer.status == 200
        assert url_of(answer).startswith("https://hosp.example/hospitals/")
    assert [record["client"] for record in requests(proxy)] == [RECORDED] * 3
    # A check with LOCAL succeeded, so it came through TLS.
    await balancer.until_said("hospproxy succeeded")
    assert await metric(proxy, 'proxy_protocol_refused_total{reason="malformed"}') == 0
    assert "failed" not in balancer.log


@pytest_twisted.ensureDeferred
async def test_proxy_headers_from_nobody_else(processes: Processes) -> None:
    """Unlisted peers, and listed ones without a header, get no response; both are counted, the listener continues."""
    announced = free_port()
    listener = (
        f'[[listeners]]\nurl = "https://127.0.0.1:{announced}"\nproxy_protocol = true\n'
        'proxy_protocol_from = ["127.0.0.7"]\n'
    )
    proxy = await processes.proxy((await processes.hosp()).url, options=listener)
    for source, reason in (("127.0.0.1", "unlisted"), ("127.0.0.7", "malformed")):
        before = await metric(proxy, f'proxy_protocol_refused_total{{reason="{reason}"}}')
        assert await closed_without_answer(source, announced)
        name = f'proxy_protocol_refused_total{{reason="{reason}"}}'
        assert await metric(proxy, name) == before + 1
    answer = await announcing("127.0.0.7", announced)
    assert answer.startswith(b"HTTP/1.1 200")
    assert [record["client"]["address"] for record in requests(proxy)] == ["203.0.113.9"]
    assert "does not begin with a PROXY header" in proxy.log


def closed_without_answer(source: str, port: int) -> Any:
    """Whether TLS without a PROXY header, or with one from an unlisted peer, is closed without a byte."""
    from twisted.internet.threads import deferToThread

    def work() -> bool:
        with socket.create_connection(("127.0.0.1", port), 30, (source, 0)) as line:
            try:
                line.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
                return line.recv(100) == b""
            except ConnectionError:
                return True

    return deferToThread(work)


def announcing(source: str, port: int) -> Any:
    """The response to a request whose PROXY header arrives byte by byte."""
    from twisted.internet.threads import deferToThread

    def work() -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30, (source, 0)) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"PROXY TCP4 203.0.113.9 198.51.100.1 1 443\r\n":
                line.sendall(bytes([byte]))
            with unverified().wrap_socket(line, server_hostname="h") as secure:
                secure.sendall(b"GET /hospitals HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                               b"Authorization: Basic c3RhZmYxOnBhc3N3b3JkMQ==\r\n\r\n")  # fmt: skip
                answer = b""
                while piece := secure.recv(65536):
                    answer += piece
                return answer

    return deferToThread(work)


@pytest_twisted.ensureDeferred
async def test_fields_of_http(processes: Processes, tmp_path: Path) -> None:
    """HAProxy ends TLS and opens a new TLS connection; fields that clients forge are ignored."""
    proxies = {}
    hosp = await processes.hosp()
    for name in ("x-forwarded-for", "forwarded"):
        section = f'[front]\nforwarded_header = "{name}"\nrequire_https = "redirect"\n'
        proxies[name] = await processes.proxy(hosp.url, top=LISTED, options=section)
    # Here HAProxy sets the scheme by the client's address, so that both can be tested without TLS.
    said = "http-request set-header X-Forwarded-Proto https if { src 127.0.0.5 }\n    "
    said += "http-request set-header X-Forwarded-Proto http if !{ src 127.0.0.5 }"
    listed = way("http", proxies["x-forwarded-for"].port, "ssl verify none", f"option forwardfor\n    {said}")
    said = "http-request set-header Forwarded for=%[src];proto=https"
    named = way("http", proxies["forwarded"].port, "ssl verify none", said)
    ways = [listed, named]
    await haproxy(processes, tmp_path, *ways)
    for each, proxy in zip(ways, proxies.values(), strict=True):
        answer = await ask_from(CLIENT, each.port, "GET", "/hospitals", secure=False, headers=FORGED)
        assert (answer.status, url_of(answer)[:31]) == (200, "https://hosp.example/hospitals/")
        assert requests(proxy)[-1]["client"] == RECORDED
    plain = await ask_from("127.0.0.6", listed.port, "GET", "/hospitals?a=b", secure=False, headers=FORGED)
    assert (plain.status, plain.field("location")) == (308, "https://hosp.example/hospitals?a=b")
    plain = await ask_from("127.0.0.6", listed.port, "DELETE", "/notes/1", secure=False, headers=FORGED)
    assert (plain.status, plain.field("location")) == (403, None)
    refused = requests(proxies["x-forwarded-for"])[-2:]
    assert [record["rule_hits"] for record in refused] == [["https:required"]] * 2
    assert {record["client"]["address"] for record in refused} == {"127.0.0.6"}


@pytest_twisted.ensureDeferred
async def test_haproxys_own_forwarded(processes: Processes, tmp_path: Path) -> None:
    """`option forwarded`, behind a PROXY header of another HAProxy: the chain of trust continues."""
    announced = free_port()
    options = (
        '[front]\nforwarded_header = "forwarded"\n'
        f'[[listeners]]\nurl = "http://127.0.0.1:{announced}"\nplain = "serve"\nproxy_protocol = true\n'
    )
    proxy = await processes.proxy((await processes.hosp()).url, top=LISTED, options=options)
    inner = way("tcp", announced, "send-proxy-v2")
    outer = way("http", inner.port, "", "option forwarded proto for")
    await haproxy(processes, tmp_path, inner, outer)
    answer = await ask_from(CLIENT, outer.port, "GET", "/hospitals", secure=False, headers=FORGED)
    assert (answer.status, url_of(answer)[:7]) == (200, "http://")
    [record] = requests(proxy)
    assert record["client"]["address"] == CLIENT
    assert record["client"]["chain"] == ["127.0.0.1", "127.0.0.1"]


@pytest_twisted.ensureDeferred
async def test_the_origins_secret(processes: Processes, tmp_path: Path) -> None:
    """Required on all listeners except admin, replaced by SIGHUP, and never logged or recorded."""
    files = [tmp_path / "old", tmp_path / "new"]
    old, new, third = "an-old-secret-0123456789", "a-new-secret-0123456789", "a-third-secret-0123456789"
    for file, secret in zip(files, (old, new), strict=True):
        file.write_text(secret + "\n")
        file.chmod(0o600)
    hosp = await processes.hosp()
    section = f"[origin]\nsecret_files = {json.dumps([str(file) for file in files])}\n"
    proxy = await processes.proxy(hosp.url, options=section)

    async def status(secret: str | None, path: str = "/hospitals") -> int:
        headers = {} if secret is None else {"X-Origin-Verify": secret}
        return (await ask(proxy.url, "GET", path, user="staff1", headers=headers)).status

    assert [await status(secret) for secret in (old, new, third, None)] == [200, 200, 403, 403]
    assert await status(None, "/no/such/route") == 403, "a stranger learns nothing of what there is"
    assert (await ask(proxy.admin_url, "GET", "/live")).status == 200
    files[0].write_text(third)
    proxy.signal("HUP")
    await proxy.until_said("[origin] secrets reloaded")
    assert [await status(secret) for secret in (old, new, third)] == [403, 200, 200]
    files[0].write_text("short")
    proxy.signal("HUP")
    await proxy.until_said("[origin] secrets not reloaded")
    assert [await status(secret) for secret in (new, third)] == [200, 200]
    rules = [tuple(record["rule_hits"]) for record in requests(proxy) if record["rule_hits"]]
    wrong, missing = ("origin:wrong",), ("origin:missing",)
    assert rules == [wrong, missing, missing, wrong]
    assert await proxy.stop() == 0
    kept = b"".join(file.read_bytes() for file in proxy.state.rglob("*") if file.is_file())
    for secret in (old, new, third):
        assert secret.encode() not in kept
        assert secret not in proxy.log
    assert b"origin-verify" not in kept.lower()

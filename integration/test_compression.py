"""Compressed responses over TLS, as curl and a Python client get them: from HOSP, from the cache, by a shortcut."""

from __future__ import annotations

import gzip
import subprocess

import pytest_twisted
from twisted.internet.threads import deferToThread

from .http_client import ask, basic
from .processes import Processes

OPTIONS = '[compression]\nenabled = true\nmin_bytes = 200\n[access_log]\nformat = "json"\n'
GZIP = {"Accept-Encoding": "br, gzip;q=0.8"}


@pytest_twisted.ensureDeferred
async def test_clients_that_accept_it_get_the_same_content(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "none", "--places", "0")
    proxy = await processes.proxy(hosp.url, top="publish_contract = true", options=OPTIONS)

    def curl(path: str) -> tuple[bytes, str]:
        command = [
            "curl",
            "--silent",
            "--insecure",
            "--compressed",
            "--header",
            f"Authorization: {basic('staff1')}",
        ]
        said = ["--write-out", "\n%{size_download} %header{content-encoding}"]
        made = subprocess.run(
            [*command, *said, proxy.url + path], stdout=subprocess.PIPE, check=True, timeout=30
        )
        content, _, told = made.stdout.rpartition(b"\n")
        return content, told.decode()

    for path in ("/hospitals", "/openapi.json", "/openapi"):
        plain = await ask(proxy.url, "GET", path, user="staff1")
        assert plain.field("Content-Encoding") is None
        assert "Accept-Encoding" in (plain.field("Vary") or "")
        answers = [await ask(proxy.url, "GET", path, user="staff1", headers=GZIP) for _ in range(3)]
        for answer in answers:
            assert answer.field("Content-Encoding") == "gzip"
            assert gzip.decompress(answer.body) == plain.body
            assert answer.field("Content-Length") == str(len(answer.body))
        assert len({answer.body for answer in answers}) == 1
        head = await ask(proxy.url, "HEAD", path, user="staff1", headers=GZIP)
        assert (head.field("Content-Length"), head.body) == (str(len(answers[0].body)), b"")
        content, told = await deferToThread(curl, path)
        assert content == plain.body
        assert told == f"{len(answers[0].body)} gzip"

    for path in ("/patients", "/notes", "/staffs"):
        assert (await ask(proxy.url, "GET", path, user="staff1", headers=GZIP)).field(
            "Content-Encoding"
        ) is None

    metrics = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    assert 'hospproxy_compressions_total{coding="gzip"} 3.0' in metrics
    sent = [record["http"]["sent"] for record in proxy.records() if record.get("route") == "/hospitals"]
    assert len(set(sent)) == 3  # as it is, compressed, and nothing to HEAD

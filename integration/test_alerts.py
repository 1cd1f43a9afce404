"""Alerts through the running proxy: from requests to the record, the metric and the state kept over a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor, task
from twisted.web.resource import Resource
from twisted.web.server import Site

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.options.alerts_section import AlertsSettings
from hospproxy.record.alerts.webhook import writer_for
from hospproxy.record.trail.follower import Batch, Cursor
from hospproxy.record.trail.record_line import encode_record

from .http_client import ask
from .processes import START_S, Processes, Proxy


def alerts(proxy: Proxy) -> list[dict[str, Any]]:
    return [record for record in proxy.records() if record["kind"] == "alert"]


async def until(found: Callable[[], Any]) -> Any:
    """Wait until a function returns something true, and return it."""
    clock: Any = reactor
    latest = clock.seconds() + START_S
    while not (result := found()):
        assert clock.seconds() < latest, "it never came"
        await task.deferLater(clock, 0.05, lambda: None)
    return result


@pytest_twisted.ensureDeferred
async def test_wrong_passwords(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    for number in range(20):
        assert (await ask(proxy.plain_url, "GET", "/hospitals", user="staff1", password="no")).status == 401
        if number < 9:
            assert alerts(proxy) == []
    await until(lambda: len(alerts(proxy)) == 2)
    by_name, by_address = alerts(proxy)
    assert (by_name["rule"], by_name["count"], by_name["client"]) == (
        "failed-logins-name",
        10,
        {"address": "127.0.0.1"},
    )
    assert by_name["who"]["certainty"] == "claimed" and len(by_name["who"]["name_hmac"]) == 64
    assert (by_address["rule"], by_address["who"]) == ("failed-logins-address", None)
    assert by_address["text"] == "20 failed log-ins from 127.0.0.1 within 5 minutes."
    requests = [record["request_id"] for record in proxy.records() if record["kind"] == "request"]
    assert (by_name["request_id"], by_address["request_id"]) == (requests[9], requests[19])
    metrics = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    assert 'hospproxy_alerts_total{rule="failed-logins-address"} 1.0' in metrics
    assert "hospproxy_alerts_recent 2.0" in metrics
    assert "alert failed-logins-address: 20 failed log-ins from 127.0.0.1" in proxy.log
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_what_is_switched_off_is_not_noticed(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options="[alerts]\nfailed_logins_by_address = 0\n")
    await proxy.until_said("The courier follows")
    for _ in range(20):
        await ask(proxy.plain_url, "GET", "/hospitals", user="staff1", password="no")
    await proxy.stop()
    assert [alert["rule"] for alert in alerts(proxy)] == ["failed-logins-name"]


@pytest_twisted.ensureDeferred
async def test_a_note_in_anothers_name_and_many_patients(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options="[alerts]\npatients = 2\n")
    await proxy.until_said("The courier follows")
    patients = (await ask(proxy.plain_url, "GET", "/patients", user="staff1")).json()
    me = (await ask(proxy.plain_url, "GET", "/staffs/me", user="staff1")).json()
    note = {"patient_id": patients[0]["id"], "content": "x", "staff_id": me["id"] + 1}
    assert (await ask(proxy.plain_url, "POST", "/notes", note, user="staff1")).status == 201
    assert (await ask(proxy.plain_url, "GET", f"/patients/{patients[1]['id']}", user="staff1")).status == 200
    await proxy.stop()
    found = {alert["rule"]: alert["who"] for alert in alerts(proxy)}
    who = {"id": me["id"], "name": "staff1", "certainty": "verified"}
    assert found == {"anothers-name": who, "many-patients": who}


@pytest_twisted.ensureDeferred
async def test_what_is_learnt_outlives_a_restart(processes: Processes) -> None:
    hosp = await processes.hosp()
    first = await processes.proxy(hosp.url)
    await first.until_said("The courier follows")
    await ask(first.plain_url, "GET", "/hospitals", user="staff1")
    assert await first.stop() == 0
    file = first.state / "noticing.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    learnt = json.loads(file.read_text())
    assert [each["days"] for each in learnt["hours"]] == [1]
    second = await processes.proxy(hosp.url, state=first.state)
    await second.until_said("Audit records go to")  # it handles signals from now on
    assert await second.stop() == 0
    assert json.loads(file.read_text()) == learnt

    file.write_text("{")
    third = await processes.proxy(hosp.url, state=first.state)
    await third.until_said("The courier follows")
    assert (await ask(third.plain_url, "GET", "/hospitals", user="staff1")).status == 200
    assert await third.stop() == 0
    assert "Alert rules start learning again" in third.log


class Receiver(Resource):
    """Checks signatures as docs/alerts.md describes, and accepts genuine ones unless it is away."""

    isLeaf = True

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self.secret = secret
        self.taken: list[Any] = []
        self.away = False
        self.refused = 0

    def render_POST(self, request: Any) -> bytes:
        body = request.content.read()
        timestamp = request.getHeader("x-hospproxy-timestamp")
        expected = hmac.new(self.secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest("sha256=" + expected, request.getHeader("x-hospproxy-signature"))
        if self.away or not genuine:
            self.refused += 1
            request.setResponseCode(503 if self.away else 403)
        else:
            self.taken.append(json.loads(body))
        return b""


@pytest_twisted.ensureDeferred
async def test_the_webhook_gets_what_is_signed_and_the_carrier_hears_of_a_failure(tmp_path: Path) -> None:
    receiver = Receiver(b"correct horse battery")
    port = reactor.listenTCP(0, Site(receiver), interface="127.0.0.1")  # type: ignore[attr-defined]
    secret = tmp_path / "secret"
    secret.write_bytes(b"correct horse battery\n")
    secret.chmod(0o600)
    given = AlertsSettings(
        webhook_url=f"http://127.0.0.1:{port.getHost().port}/hook", webhook_secret_file=secret
    )
    settings = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:3000"), alerts=given)
    writer = writer_for(settings, reactor)
    assert writer is not None
    lines = (
        encode_record({"kind": "alert", "text": "20 failed log-ins"}),
        encode_record({"kind": "request"}),
    )
    batch = Batch(lines, "f" * 64, Cursor("w0", 1, 10, 2))
    try:
        receiver.away = True
        with pytest.raises(Exception, match="503"):
            await writer.write(batch)
        receiver.away = False
        await writer.write(batch)
        [taken] = receiver.taken
        assert (taken["text"], len(taken["alerts"])) == ("hospproxy: 20 failed log-ins", 1)
        receiver.secret = b"another"
        with pytest.raises(Exception, match="403"):
            await writer.write(batch)
        assert len(receiver.taken) == 1
    finally:
        await writer.close()
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_webhook_that_was_away_gets_every_alert_after_a_restart(processes: Processes) -> None:
    receiver = Receiver(b"correct horse battery")
    receiver.away = True
    port = reactor.listenTCP(0, Site(receiver), interface="127.0.0.1")  # type: ignore[attr-defined]
    secret = processes.folder / "secret"
    secret.write_bytes(b"correct horse battery\n")
    secret.chmod(0o600)
    url = f"http://127.0.0.1:{port.getHost().port}/hook"
    options = (
        f'[alerts]\nfailed_logins_by_name = 3\nwebhook_url = "{url}"\nwebhook_secret_file = "{secret}"\n'
    )
    try:
        hosp = await processes.hosp()
        first = await processes.proxy(hosp.url, options=options)
        for _ in range(3):
            await ask(first.plain_url, "GET", "/hospitals", user="staff1", password="no")
        await until(lambda: receiver.refused)
        assert await first.stop() == 0
        receiver.away = False
        await processes.proxy(hosp.url, options=options, state=first.state)
        await until(lambda: receiver.taken)
        [alert] = receiver.taken[0]["alerts"]
        [kept] = alerts(first)
        assert {name: value for name, value in alert.items() if name != "id"} == kept
        assert receiver.taken[0]["text"].startswith("hospproxy: 3 failed log-ins for ")
    finally:
        await port.stopListening()

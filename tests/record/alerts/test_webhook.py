from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.interfaces import IAuditWriter
from hospproxy.options.alerts_section import AlertsSettings
from hospproxy.record.alerts.webhook import MOST, Webhook, writer_for
from hospproxy.record.trail.follower import Batch, Cursor
from hospproxy.record.trail.record_line import encode_record


class FakePoster:
    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.headers: list[Mapping[str, str]] = []
        self.away = False
        self.closed = 0

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        if self.away:
            raise ConnectionError
        self.posted.append(json.loads(body))
        self.headers.append(headers)

    async def close(self) -> None:
        self.closed += 1


def alert(text: str = "20 failed log-ins", **more: Any) -> bytes:
    return encode_record({"v": 1, "kind": "alert", "rule": "many-patients", "text": text, **more})


def batch(*lines: bytes) -> Batch:
    return Batch(lines, "f" * 64, Cursor("w0", 1, 100, len(lines)))


class Posting(SynchronousTestCase):
    def setUp(self) -> None:
        self.poster = FakePoster()
        self.webhook = Webhook(self.poster)
        verifyObject(IAuditWriter, self.webhook)

    def write(self, *lines: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(self.webhook.write(batch(*lines)))

    def test_people_and_programs_can_read_it(self) -> None:
        line = alert(count=20)
        self.successResultOf(self.write(line))
        [posted] = self.poster.posted
        self.assertEqual(posted["text"], "hospproxy: 20 failed log-ins")
        [given] = posted["alerts"]
        self.assertEqual(given, {"id": sha256(line).hexdigest(), **json.loads(line)})
        self.assertEqual(self.poster.headers, [{"Content-Type": "application/json"}])

    def test_other_records_do_not_leave(self) -> None:
        other = encode_record({"kind": "request", "text": '"kind":"alert"', "own": {"kind": "alert"}})
        self.successResultOf(self.write(other))
        self.assertEqual(self.poster.posted, [])

    def test_a_damaged_line_keeps_no_other_back(self) -> None:
        self.successResultOf(self.write(alert()[:-1], b'{"kind":"alert"}', alert()))
        [posted] = self.poster.posted
        self.assertEqual([each.get("text") for each in posted["alerts"]], [None, "20 failed log-ins"])

    def test_what_was_not_taken_is_a_failure(self) -> None:
        self.poster.away = True
        self.failureResultOf(self.write(alert()), ConnectionError)

    def test_many_are_posted_in_turn_and_the_text_stays_short(self) -> None:
        self.successResultOf(self.write(*(alert(f"number {number}") for number in range(MOST + 3))))
        first, second = self.poster.posted
        self.assertEqual((len(first["alerts"]), len(second["alerts"])), (MOST, 3))
        self.assertEqual(
            first["text"].splitlines()[9:], ["hospproxy: number 9", "hospproxy: and 40 more alerts."]
        )
        self.assertEqual(second["alerts"][-1]["text"], f"number {MOST + 2}")

    def test_a_name_calls_nobody_and_is_no_link(self) -> None:
        self.successResultOf(self.write(alert("<!channel> @here [x](http://y) `z` & opened 9")))
        [posted] = self.poster.posted
        self.assertEqual(
            posted["text"], "hospproxy: &lt;!channel&gt; (at)here (x)(http: //y) 'z' &amp; opened 9"
        )
        self.assertTrue(posted["alerts"][0]["text"].startswith("<!channel> @here"))

    def test_open_and_close(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.webhook.open()))
        self.successResultOf(Deferred.fromCoroutine(self.webhook.close()))
        self.assertEqual(self.poster.closed, 1)


class FromTheSettings(SynchronousTestCase):
    def settings(self, **alerts: Any) -> Settings:
        upstream = UpstreamSettings(url="http://127.0.0.1:3000")
        return Settings(upstream=upstream, alerts=evolve(AlertsSettings(), **alerts))

    def test_only_if_there_is_an_address(self) -> None:
        self.assertIsNone(writer_for(self.settings(), Clock()))
        off = self.settings(enabled=False, webhook_url="http://127.0.0.1:1/hook")
        self.assertIsNone(writer_for(off, Clock()))

    def test_with_its_secret(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"correct horse battery\n")
            file.flush()
            given = self.settings(webhook_url="http://127.0.0.1:1/hook", webhook_secret_file=Path(file.name))
            writer = writer_for(given, Clock())
        assert isinstance(writer, Webhook)
        self.assertEqual(writer._poster._secret, b"correct horse battery")  # type: ignore[attr-defined]
        self.assertEqual(writer.name, "webhook")

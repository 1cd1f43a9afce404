from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Client, Request, Response
from hospproxy.watch.admin import Admin
from hospproxy.watch.health import Health
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status.document import About
from hospproxy.watch.status.status_page import PATHS, StatusPage

from .samples import attempted, served
from .test_recorder import NOW, Case

ABOUT = About("1.2", 1, 5, 512, False, max_connections=10_000)


class Page(Case):
    def setUp(self) -> None:
        super().setUp()
        self.health = Health()
        self.recorder = self.begin()
        page = StatusPage(self.recorder, ABOUT, self.health.reasons, lambda: NOW + self.clock.seconds())
        self.admin = Admin(self.health, self.meter, status=page)

    def ask(
        self, path: bytes, query: bytes | None = None, method: str = "GET", host: str = "127.0.0.1"
    ) -> Response:
        answer = self.admin.handle(Request(method, path, query, client=Client(host=host)))
        found: Response = self.successResultOf(answer)
        return found

    def read(self, window: str = "5m") -> Any:
        return msgspec.json.decode(self.ask(b"/status.json", b"window=" + window.encode()).body)

    def test_figures_are_those_that_were_counted(self) -> None:
        served(self.meter, 80, cache="hit")
        served(self.meter, 15, "4xx")
        served(self.meter, 5, "5xx")
        attempted(self.meter, 18)
        attempted(self.meter, 2, "bad answer")
        self.meter.count("gate_refused_total", 3.0, reason="full")
        self.pass_time(5)
        for window in ("5m", "1h", "1d", "1w"):
            totals = self.read(window)["totals"]
            self.assertEqual((totals["users"]["requests"], totals["users"]["success"]), (100, 0.95), window)
            self.assertEqual((totals["hosp"]["attempts"], totals["hosp"]["success"]), (20, 0.9), window)
            self.assertEqual((totals["refused"], totals["cache"]["hit_rate"]), ({"full": 3}, 0.8), window)

    def test_before_the_first_sample_and_without_any_gauge(self) -> None:
        told = self.read()
        self.assertEqual((told["ready"], told["totals"]["users"]["requests"]), (True, 0))

    def test_how_long_hosp_was_away_and_how_high_it_went(self) -> None:
        gauges = {
            "breaker_open": 1.0,
            "gate_in_flight": 5.0,
            "gate_waiting": 40.0,
            "arrival_connections": 300.0,
        }
        for name in gauges:
            self.meter.gauge(name, lambda name=name: gauges[name])
        self.pass_time(10)
        gauges.update(breaker_open=0.0, gate_waiting=0.0, arrival_connections=20.0)
        self.pass_time(20)
        for window in ("5m", "1w"):
            told = self.read(window)
            self.assertEqual(told["totals"]["away_s"], 10)
            self.assertEqual(
                told["totals"]["highest"],
                {"gate_waiting": 40.0, "arrival_connections": 300.0},
            )
            self.assertEqual((told["now"]["connections"], told["now"]["max_connections"]), (20.0, 10_000))

    def test_a_surge_is_shown(self) -> None:
        self.pass_time(600, 10)
        self.pass_time(15, 300)
        told = self.read()
        self.assertEqual([each["signal"] for each in told["surges"]["active"]], ["traffic"])
        self.assertEqual(told["surges"]["recent"][0]["began"], True)

    def test_reasons_against_being_ready(self) -> None:
        self.health.checks["journal"] = lambda: "full"
        self.assertEqual((self.read()["ready"], self.read()["reasons"]), (False, {"journal": "full"}))

    def test_certificates_by_name_and_not_by_path(self) -> None:
        self.meter.gauge("certificate_expiry_seconds", lambda: 86400.0, file="/etc/keys/site.pem")
        self.pass_time(5)
        self.assertEqual(self.read()["certificates"][0]["file"], "site.pem")

    def test_windows_that_do_not_exist(self) -> None:
        for query in (b"window=2h", b"window=", b"window=%ff", b"window=5m&window=x"):
            self.assertIn(self.ask(b"/status.json", query).status, (200, 400), query)
        self.assertEqual(self.ask(b"/status.json", b"window=2h").status, 400)
        self.assertEqual(self.ask(b"/status.json", b"&" * 8000).status, 200)

    def test_every_file_is_there_with_astrict_policy(self) -> None:
        for path in PATHS:
            answer = self.ask(path)
            policy = answer.headers.get(b"content-security-policy") or b""
            self.assertEqual(answer.status, 200, path)
            self.assertIn(b"default-src 'none'", policy)
            self.assertNotIn(b"unsafe", policy)
            self.assertEqual(answer.headers.get(b"x-content-type-options"), b"nosniff")

    def test_only_here_and_only_read(self) -> None:
        for path in PATHS:
            self.assertEqual(self.ask(path, host="evil.example").status, 421)
            self.assertEqual(self.ask(path, method="POST").status, 405)

    def test_switched_off(self) -> None:
        self.admin = Admin(self.health, self.meter)
        for path in PATHS:
            self.assertEqual(self.ask(path).status, 404)
        self.assertNotIn(b"/status", self.ask(b"/").body)

    def test_the_index_leads_to_it(self) -> None:
        self.assertIn(b'href="/status"', self.ask(b"/").body)

    def test_stops_with_a_look_in_progress(self) -> None:
        waiting: Deferred[Any] = Deferred()

        async def read() -> Any:
            return await waiting

        self.patch(self.recorder, "_read", read)
        self.clock.advance(5)
        self.successResultOf(Deferred.fromCoroutine(self.recorder.stop()))


class Files(SynchronousTestCase):
    def text(self, name: str) -> str:
        return files("hospproxy.watch").joinpath("static", name).read_text()

    def test_nothing_comes_from_another_host(self) -> None:
        for name in ("status.html", "status.css", "status.js", "charts.js"):
            self.assertEqual(re.findall(r"https?://|//[a-z]+\.", self.text(name)), [], name)

    def test_the_page_needs_no_inline_script_or_style(self) -> None:
        page = self.text("status.html")
        self.assertEqual(re.findall(r"<script(?! src=)|<style| style=| on[a-z]+=", page), [])

    def test_text_is_never_markup(self) -> None:
        for name in ("status.js", "charts.js"):
            self.assertEqual(
                re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", self.text(name)),
                [],
            )

    def test_the_library_has_its_licence(self) -> None:
        self.assertIn("MIT", self.text("uplot/LICENSE"))
        self.assertIn("1.6.32", self.text("uplot/uPlot.iife.min.js")[:300])

    def test_metrics_are_read_whole_and_in_part(self) -> None:
        meter = Metrics(strict=True)
        self.assertEqual(len(meter.snapshot({}, ["requests_total"]).families), 1)
        self.assertGreater(len(meter.snapshot({}).families), 50)

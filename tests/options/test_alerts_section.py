"""The section [alerts]: what it accepts, and which options go together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.checks import check
from hospproxy.config import AuditSettings, ConfigError, Settings, UpstreamSettings, load
from hospproxy.options.alerts_section import AlertsSettings

SECRET = b"correct horse battery"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Reading(Case):
    def read(self, text: str) -> AlertsSettings:
        file = self.folder / "hospproxy.toml"
        file.write_text(f'[upstream]\nurl = "http://127.0.0.1:3000"\n[alerts]\n{text}\n')
        return load(file).alerts

    def problem(self, text: str) -> str:
        [problem] = self.assertRaises(ConfigError, self.read, text).problems
        return problem

    def test_quiet_hours(self) -> None:
        spans = self.read('quiet_hours = ["22:00-05:30", "12:00-24:00"]').quiet_hours
        self.assertEqual(spans, ((1320, 330), (720, 1440)))
        for bad in ("22-5", "24:00-05:00", "12:00-24:30", "12:00-12:00", "7:00-8:00", "12:60-13:00"):
            self.assertIn("alerts.quiet_hours[0]: expected times", self.problem(f'quiet_hours = ["{bad}"]'))

    def test_time_zones(self) -> None:
        self.assertEqual(self.read('time_zone = "Europe/Berlin"').time_zone, "Europe/Berlin")
        self.assertEqual(self.read('time_zone = "UTC"').time_zone, "UTC")
        for bad in ("Mars/Olympus", "../etc/passwd", "/etc/passwd", "europe"):
            self.assertIn("knows no such time zone", self.problem(f'time_zone = "{bad}"'))

    def test_webhook_addresses(self) -> None:
        for good in ("https://chat.example/hooks/x?y=1", "http://127.0.0.1:8065/hooks/x"):
            self.assertEqual(self.read(f'webhook_url = "{good}"').webhook_url, good)
        for bad in (
            "ftp://x/",
            "chat.example",
            "https:///x",
            "https://x/#y",
            "https://x/ö",
            "https://x:99999/",
        ):
            self.assertIn("alerts.webhook_url: expected", self.problem(f'webhook_url = "{bad}"'))


class Combinations(Case):
    def findings(self, audit: Any = None, **alerts: Any) -> tuple[list[str], list[str]]:
        settings = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:3000"),
            state_dir=self.folder / "state",
            alerts=AlertsSettings(**alerts),
        )
        if audit is not None:
            settings = evolve(settings, audit=audit)
        found = check(settings)
        paths = [[line.split(": ")[0] for line in lines] for lines in (found.errors, found.warnings)]
        return paths[0], paths[1]

    def file(self, content: bytes, mode: int = 0o600) -> Path:
        path = self.folder / "file"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def test_a_good_one(self) -> None:
        secret = self.file(SECRET)
        self.assertEqual(
            self.findings(webhook_url="https://chat.example/x", webhook_secret_file=secret), ([], [])
        )
        self.assertEqual(self.findings(), ([], []))

    def test_without_a_secret_or_in_the_clear(self) -> None:
        url = "alerts.webhook_url"
        self.assertEqual(self.findings(webhook_url="https://chat.example/x"), ([], [url]))
        self.assertEqual(self.findings(webhook_url="http://127.0.0.1/x"), ([], [url]))
        self.assertEqual(self.findings(webhook_url="http://chat.example/x"), ([], [url, url]))
        self.assertEqual(self.findings(webhook_url="http://chat.example/x", enabled=False), ([], []))

    def test_what_needs_an_address(self) -> None:
        secret = self.file(SECRET)
        self.assertEqual(self.findings(webhook_secret_file=secret)[0], ["alerts.webhook_secret_file"])
        errors, _ = self.findings(webhook_ca_file=self.folder / "none")
        self.assertEqual(errors, ["alerts.webhook_ca_file"] * 2)
        errors, _ = self.findings(webhook_url="http://127.0.0.1/x", webhook_ca_file=self.folder / "none")
        self.assertEqual(errors, ["alerts.webhook_ca_file"] * 2)

    def test_secrets_that_are_none(self) -> None:
        url = "https://chat.example/x"
        for bad in (self.folder, self.folder / "none"):
            errors, _ = self.findings(webhook_url=url, webhook_secret_file=bad)
            self.assertEqual(errors, ["alerts.webhook_secret_file"])
        for content, mode in ((b"\n", 0o600), (b"x" * 5000, 0o600), (SECRET, 0o644)):
            errors, _ = self.findings(webhook_url=url, webhook_secret_file=self.file(content, mode))
            self.assertEqual(errors, ["alerts.webhook_secret_file"], content[:9])

    def test_without_a_record_nothing_is_noticed(self) -> None:
        secret = self.file(SECRET)
        _, warnings = self.findings(
            audit=AuditSettings(enabled=False),
            webhook_url="https://chat.example/x",
            webhook_secret_file=secret,
        )
        self.assertEqual(sorted(warnings), ["alerts.webhook_url", "audit.enabled"])

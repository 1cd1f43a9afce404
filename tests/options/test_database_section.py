"""[audit_database]: errors are reported before the start, and no message shows a password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import evolve

from hospproxy import checks
from hospproxy.config import ConfigError, Settings, load
from hospproxy.options import sink_checks
from hospproxy.options.database_section import DatabaseSettings, _read_url
from hospproxy.record.commands.query import source_of
from hospproxy.record.commands.sources import SourceError
from hospproxy.record.database.build_database import reader_for, target_of, writer_for
from tests.settings_case import SettingsTestCase

ROOT = Path(__file__).resolve().parents[2]
URL = "postgresql+psycopg://hospproxy@db.example:5432/audit"


class Case(SettingsTestCase):
    def with_section(self, **keys: Any) -> Settings:
        return evolve(self.good, audit_database=DatabaseSettings(**keys))

    def paths(self, **keys: Any) -> list[str]:
        return [line.split(": ")[0] for line in checks.check(self.with_section(**keys)).errors]


class CheckTests(Case):
    """Tests of ``check``."""

    def test_good(self) -> None:
        """Columns, and PostgreSQL with a password in a file."""
        password = self.folder / "password"
        password.write_text("secret\n")
        self.assertEqual(self.paths(), [])
        self.assertEqual(self.paths(url=URL, password_file=password), [])

    def test_without_sqlalchemy_the_options_are_read_and_the_check_says_what_is_missing(self) -> None:
        with mock.patch.dict(sys.modules, {"hospproxy.options.database_url": None}):
            self.assertEqual(_read_url(URL), URL)
        with mock.patch.dict(sys.modules, {"hospproxy.record.commands.indexed": None}):
            self.assertRaisesRegex(SourceError, "needs the package sqlalchemy", source_of, URL, None)
        found = lambda name: None if name == "sqlalchemy" else mock.Mock()  # noqa: E731
        with mock.patch.object(sink_checks, "find_spec", found):
            [(path, words)] = sink_checks.databases(self.with_section(url=URL))
        self.assertEqual(path, "audit_database.url")
        self.assertIn("(sqlalchemy): pip install hospproxy[postgresql]", words)

    def test_psycopg_is_missing(self) -> None:
        """Reported at the start, not with the first batch."""
        with mock.patch.object(sink_checks, "find_spec", return_value=None):
            self.assertEqual(self.paths(url=URL), ["audit_database.url"])
            self.assertEqual(self.paths(), [])
            self.assertEqual(self.paths(url=URL, enabled=False), [])

    def test_password_file(self) -> None:
        """The file must exist, be of use, and not be readable by all users."""
        password = self.folder / "password"
        self.assertEqual(self.paths(url=URL, password_file=password), ["audit_database.password_file"])
        password.write_text("secret\n")
        self.assertEqual(self.paths(password_file=password), ["audit_database.password_file"])
        password.chmod(0o644)
        warnings = checks.check(self.with_section(url=URL, password_file=password)).warnings
        self.assertTrue(any(line.startswith("audit_database.password_file: everyone") for line in warnings))


class UrlTests(Case):
    """Tests of the key url."""

    def wrong(self, url: str) -> str:
        file = self.folder / "hospproxy.toml"
        file.write_text(f'[upstream]\nurl = "http://127.0.0.1:3000"\n[audit_database]\nurl = {url}\n')
        [problem] = self.assertRaises(ConfigError, load, file).problems
        self.assertTrue(problem.startswith("audit_database.url: "), problem)
        return problem

    def test_wrong(self) -> None:
        """The value is never shown."""
        for url in (
            '"mysql://u:hunter2@h/d"', '"hunter2"', '"postgresql://u:hunter2@h"', '"postgresql://u:hunter2@h:port/d"',
            "7", '["hunter2"]',
        ):  # fmt: skip
            self.assertNotIn("hunter2", self.wrong(url))

    def test_never_shown(self) -> None:
        """It is not in the text form of settings or targets either."""
        settings = self.with_section(url="postgresql://u:hunter2@h/d")
        self.assertNotIn("hunter2", repr(settings))
        self.assertNotIn("hunter2", repr(target_of(settings)))


class BuildingTests(Case):
    """Tests of ``writer_for`` and ``reader_for``."""

    def test_off(self) -> None:
        """No database, no thread."""
        off = self.with_section(enabled=False)
        self.assertIsNone(writer_for(off, None))
        self.assertIsNone(reader_for(off, None))

    def test_nothing_heavy_is_imported(self) -> None:
        """A proxy whose index is in columns has neither SQLAlchemy nor DuckDB in its process."""
        program = (
            "import sys; import hospproxy.service, hospproxy.courier.process\n"
            "from hospproxy.config import load; from pathlib import Path\n"
            "from hospproxy.record.database.build_database import reader_for, writer_for\n"
            "settings = load(Path(sys.argv[1]))\n"
            "assert writer_for(settings, None) and reader_for(settings, None)\n"
            "print([name for name in ('duckdb', 'sqlalchemy') if name in sys.modules])\n"
        )
        options = self.folder / "hospproxy.toml"
        options.write_text('[upstream]\nurl = "http://127.0.0.1:3000"\n')
        command = [sys.executable, "-c", program, str(options)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        self.assertEqual((done.stdout, done.returncode), ("[]\n", 0), done.stderr)

    def test_on(self) -> None:
        """Nothing is created before the first task."""
        self.assertIsNotNone(writer_for(self.good, None))
        self.assertIsNotNone(reader_for(self.good, None))
        self.assertFalse((self.folder / "state").exists())

"""The commands of hospproxyctl: from the command line to what is printed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.checks import load_and_check
from hospproxy.contract import document as contract_document
from hospproxy.control import cli
from hospproxy.control.command import Arguments, Result
from hospproxy.control.commands import COMMANDS
from hospproxy.control.messages import ControlError
from hospproxy.options.loader import Overrides
from hospproxy.options.source import SecretEnvironment, source_of
from hospproxy.record.admin_events import AdminTrail, Operator

contract_of = cache(contract_document.load)
"""Reading the contract takes half a second."""
ANN = Operator("control socket", "ann", 1007)
SECRET = "correct-horse-battery"


class Case(SynchronousTestCase):
    text = '[upstream]\nurl = "http://127.0.0.1:3000"\n'

    def setUp(self) -> None:
        self.patch(contract_document, "load", contract_of)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "hospproxy.toml"
        self.write(self.text)
        self.err = ""
        self.flags = Overrides(state=str(self.folder / "state"))
        self.environment = SecretEnvironment({"HOOK": SECRET})
        source = source_of(self.file, self.flags)
        settings, _ = load_and_check(source, self.environment)
        options = SimpleNamespace(settings=settings, source=source)
        self.noted: list[dict[str, Any]] = []
        self.events = AdminTrail(self.note, Clock(), lambda: 1000.0)
        self.owner: Any = SimpleNamespace(options=options, settings=settings, events=self.events)

    def note(self, record: Mapping[str, Any]) -> Deferred[None]:
        """Keep an audit record."""
        self.noted.append(dict(record))
        return succeed(None)

    def write(self, text: str) -> None:
        self.file.write_text(text)
        self.file.chmod(0o600)

    def ctl(self, *arguments: str) -> tuple[int, str]:
        """Run a command against the owner, without the socket; return its status and what it printed."""

        def ask(folder: Path, name: str, given: Arguments, _progress: Any) -> Result:
            self.assertEqual(folder, self.folder / "state")
            given = json.loads(json.dumps(given))
            running = Deferred.fromCoroutine(COMMANDS[name].run(self.owner, given, lambda _line: None, ANN))  # type: ignore[arg-type]
            failed: list[Failure] = []
            running.addErrback(failed.append)
            result: Result = json.loads(json.dumps(self.successResultOf(running)))
            if failed:
                failed[0].raiseException()
            return result

        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), mock.patch.object(cli, "ask", ask):
            status = cli.main(["--state", str(self.folder / "state"), *arguments])
        self.err = err.getvalue()
        return status, out.getvalue()


class VersionTests(Case):
    def test_it_is_of_the_running_process(self) -> None:
        status, text = self.ctl("version")
        self.assertEqual(status, 0)
        self.assertRegex(text, rf"^hospproxy [0-9.]+\S* \(process {os.getpid()}, workers: 1\)\n$")


class ConfigTests(Case):
    text = (
        "trusted_proxies = ['10.0.0.0/8']\n"
        '[upstream]\nurl = "http://127.0.0.1:3000"\n[retry]\nbase_s = 0.25\n'
        '[alerts]\nwebhook_url = "https://hook.example/x"\nwebhook_secret_env = "HOOK"\n'
        f'[audit_database]\nurl = "postgresql://proxy:{SECRET}@db/audit"\n'
        "[cache.lifetimes]\nlistHospitals = 5\n"
        f'[[audit_plugins]]\nname = "one"\nkind = "x"\noptions = {{ token = "{SECRET}" }}\n'
    )

    def rows(self, *flags: str) -> dict[str, str]:
        lines = self.ctl("config", *flags)[1].splitlines()
        self.assertEqual(lines[0], f"# options file: {self.file}")
        return {line.partition("=")[0].strip(): line.partition("=")[2] for line in lines[1:]}

    def setUp(self) -> None:
        with mock.patch("hospproxy.options.sink_files.errors", return_value=()):
            super().setUp()

    def test_each_says_where_it_comes_from(self) -> None:
        rows = self.rows()
        self.assertRegex(rows["retry.base_s"], r"^ 0.25 +# file$")
        self.assertRegex(rows["retry.cap_s"], r"^ 2 +# default$")
        self.assertRegex(rows["state_dir"], r'^ "/.*/state" +# --state$')
        self.assertRegex(rows["cache.lifetimes"], r"^ \{ listHospitals = 5 \} +# file$")
        self.assertRegex(rows["trusted_proxies"], r'^ \["10.0.0.0/8"\] +# file$')
        self.assertRegex(rows["listeners[0].plain"], r'^ "reject" +# default$')

    def test_only_those_that_are_set(self) -> None:
        rows = self.rows("--changed")
        self.assertIn("retry.base_s", rows)
        self.assertNotIn("retry.cap_s", rows)

    def test_secrets_are_hidden(self) -> None:
        _, text = self.ctl("config")
        self.assertNotIn(SECRET, text)
        for key in ("alerts.webhook_secret", "audit_database.url", "audit_plugins[0].options"):
            self.assertIn("(hidden)", self.rows()[key])


class CommandLineTests(Case):
    def test_the_options_file_names_the_folder_even_with_a_mistake(self) -> None:
        self.write(f'state_dir = "{self.folder}/state"\nwrong = 1\n{self.text}')
        with mock.patch.object(cli, "ask", return_value={"version": "1", "pid": 2, "workers": 1}) as ask:
            with redirect_stdout(StringIO()):
                self.assertEqual(cli.main(["--config", str(self.file), "version"]), 0)
            self.assertEqual(ask.call_args.args[0], self.folder / "state")
            self.write("= broken")
            err = StringIO()
            with redirect_stderr(err):
                self.assertEqual(cli.main(["--config", str(self.file), "version"]), 1)
        self.assertIn("name the state folder with --state", err.getvalue())

    def test_an_error_is_printed_without_what_moves_the_cursor(self) -> None:
        err = StringIO()
        with redirect_stderr(err), mock.patch.object(cli, "ask", side_effect=ControlError("a\x1b[2J", "b")):
            self.assertEqual(cli.main(["--state", "x", "version"]), 1)
        self.assertEqual(err.getvalue(), "hospproxyctl: a?[2J\nhospproxyctl: b\n")

    def test_nobody_is_there(self) -> None:
        err = StringIO()
        with redirect_stderr(err):
            self.assertEqual(cli.main(["--state", str(self.folder / "state"), "version"]), 1)
        self.assertIn("no proxy runs with the state folder", err.getvalue())


class LogTests(Case):
    def test_what_it_takes(self) -> None:
        with (
            mock.patch("hospproxy.log_output.check_level"),
            mock.patch("hospproxy.log_output.set_level") as set_level,
        ):
            _, text = self.ctl("log", "debug", "for", "hospproxy.outward", "--for", "10m")
            set_level.assert_called_once_with("debug", "hospproxy.outward", 600.0)
            self.assertEqual(text, "the level of the log of hospproxy.outward is debug for 600 s\n")
            self.ctl("log", "default")
            self.assertEqual(set_level.call_args.args, (None, "", None))
            self.assertEqual([each["action"] for each in self.noted], ["log level"] * 2)
            self.assertIn("hospproxy.outward is debug for 600 s (ann", self.noted[0]["text"])
            self.assertEqual(self.ctl("log", "debug", "hospproxy")[0], 1)
            self.assertIn("write: hospproxyctl log LEVEL", self.err)

    def test_what_twistd_decides(self) -> None:
        with mock.patch("hospproxy.log_output._IN_USE", []):
            self.assertEqual(self.ctl("log", "debug")[0], 1)
        self.assertIn("flags of twistd", self.err)
        self.assertEqual([each["outcome"] for each in self.noted], ["refused"])


class RehearseTests(Case):
    def test_it_asks_no_running_proxy_and_refuses_nothing(self) -> None:
        status, _ = self.ctl("--config", str(self.file), "rehearse", "--day", "2026-08-29")
        self.assertEqual(status, 2)

    def test_without_the_options_of_that_day_it_says_what_to_give(self) -> None:
        self.assertEqual(self.ctl("rehearse", "--day", "2026-08-29")[0], 1)
        self.assertIn("--config", self.err)

    def test_an_installation_without_the_simulation_says_so(self) -> None:
        missing = ModuleNotFoundError("no", name="hosp_standin.answers")
        with mock.patch("hospproxy.control.rehearse_command.import_module", side_effect=missing):
            self.assertEqual(self.ctl("--config", str(self.file), "rehearse", "--day", "2026-08-29")[0], 1)
        self.assertIn("image", self.err)

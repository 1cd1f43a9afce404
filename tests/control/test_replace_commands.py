"""hospproxyctl upgrade, rollback and versions, as an operator gives them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from twisted.internet.defer import Deferred

from hospproxy.control import cli, ran_versions, replace_commands
from hospproxy.control.command import Command, Result
from hospproxy.control.commands import COMMANDS
from hospproxy.control.messages import ControlError
from hospproxy.control.owner import ReplacementFailed
from hospproxy.control.ran_versions import HERE, RanVersion
from tests.control.test_commands import ANN, Case


class Fake:
    """A process that can be replaced."""

    def __init__(self) -> None:
        self.asked: list[Path] = []
        self.trouble = ""

    async def replace(self, python: Path, progress: Callable[[str], object]) -> str:
        self.asked.append(python)
        progress("prepared")
        if self.trouble:
            raise ReplacementFailed(self.trouble)
        return "2.0"


class ReplaceCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.fake = self.owner.replaceable = Fake()
        self.versions = self.folder / "versions"
        (self.folder / "state").mkdir()

    def install(self, name: str) -> Path:
        (self.versions / name / "bin").mkdir(parents=True)
        for each in ("python", "twistd"):
            (self.versions / name / "bin" / each).touch()
        return self.versions / name / "bin" / "python"

    def begin(self, *arguments: str) -> tuple[Command, Deferred[Result]]:
        """Like ``ctl``, without the words for the terminal."""
        given = cli.parser().parse_args(["--state", "x", *arguments])
        command = COMMANDS[given.command]
        running = command.run(self.owner, command.given(given), lambda _line: None, ANN)
        return command, Deferred.fromCoroutine(running)  # type: ignore[arg-type]

    def run_ctl(self, *arguments: str) -> str:
        command, running = self.begin(*arguments)
        return "\n".join(command.show(self.successResultOf(running)))

    def failing(self, *arguments: str) -> tuple[str, ...]:
        error = self.failureResultOf(self.begin(*arguments)[1], ControlError).value
        assert isinstance(error, ControlError)
        return error.lines

    def failed(self, *arguments: str) -> str:
        [line] = self.failing(*arguments)
        return line


class UpgradeTests(ReplaceCase):
    def test_a_version_beside_the_running_one(self) -> None:
        python = self.install("2.0")
        status, text = self.ctl("upgrade", "--version", "2.0", "--versions", str(self.versions))
        self.assertEqual((status, text), (0, f"hospproxy 2.0 serves; before it was {HERE}\n"))
        self.assertEqual(self.fake.asked, [python])

    def test_its_folder_is_that_of_the_running_one(self) -> None:
        python = self.install("2.0")
        with mock.patch.object(replace_commands, "_PREFIX", self.versions / "1.0"):
            self.run_ctl("upgrade", "--version", "2.0")
        self.assertEqual(self.fake.asked, [python])

    def test_an_interpreter_by_its_path(self) -> None:
        self.run_ctl("upgrade", "--python", "/opt/x/bin/python")
        self.assertEqual(self.fake.asked, [Path("/opt/x/bin/python")])

    def test_a_version_that_is_not_installed(self) -> None:
        self.install("1.9")
        text = self.failed("upgrade", "--version", "2.0", "--versions", str(self.versions))
        self.assertEqual(text, f"{self.versions} has no version '2.0'; installed there: 1.9")
        for odd in ("../x", "..", "", "/"):
            self.assertIn("the name of a folder", self.failed("upgrade", "--version", odd))
        self.assertEqual(self.fake.asked, [])

    def test_a_failure_is_one_line_and_says_who_serves(self) -> None:
        self.fake.trouble = "the new process exited with status 1: no"
        lines = self.failing("upgrade", "--python", "/opt/x/bin/python")
        self.assertEqual(
            lines, ("the new process exited with status 1: no", f"hospproxy {HERE} serves as before")
        )

    def test_several_workers_are_restarted(self) -> None:
        self.owner.replaceable = None
        self.assertIn("restart", self.failed("upgrade", "--python", "/opt/x/bin/python"))


class RollbackTests(ReplaceCase):
    def ran(self, *pythons: str) -> None:
        for number, python in enumerate(pythons):
            with mock.patch.object(sys, "executable", python):
                ran_versions.note(self.folder / "state", float(number))

    def test_the_version_before(self) -> None:
        self.ran("/v/1/python", "/v/2/python", sys.executable)
        self.run_ctl("rollback")
        self.assertEqual(self.fake.asked, [Path("/v/2/python")])

    def test_after_a_rollback_it_leads_forward_again(self) -> None:
        self.ran(sys.executable, "/v/2/python", sys.executable)
        self.run_ctl("rollback")
        self.assertEqual(self.fake.asked, [Path("/v/2/python")])

    def test_to_a_version_by_its_name(self) -> None:
        for version, python in (("1.0", "/v/1/python"), ("1.1", "/v/2/python"), (HERE, sys.executable)):
            with mock.patch.object(ran_versions, "HERE", version):
                self.ran(python)
        self.run_ctl("rollback", "--to", "1.0")
        self.assertEqual(self.fake.asked, [Path("/v/1/python")])
        self.assertIn("no version '0.9' has served", self.failed("rollback", "--to", "0.9"))

    def test_to_the_version_that_serves_does_nothing(self) -> None:
        self.ran("/v/1/python", sys.executable)
        self.assertIn("serves already", self.run_ctl("rollback", "--to", HERE))
        self.assertEqual((self.fake.asked, self.noted), ([], []))

    def test_without_another_version(self) -> None:
        self.assertIn("no other version", self.failed("rollback"))
        self.ran(sys.executable, sys.executable)
        self.assertIn("no other version", self.failed("rollback"))

    def test_the_list_is_bounded_and_names_each_change_once(self) -> None:
        state = self.folder / "state"
        self.ran("/v/1", "/v/1")
        self.assertEqual(ran_versions.ran(state), [RanVersion(HERE, "/v/1", 0.0)])
        self.ran(*(f"/v/{number}" for number in range(2, 60)))
        self.assertEqual(len(ran_versions.ran(state)), ran_versions.MOST)

    def test_a_damaged_list_is_no_list(self) -> None:
        for text in ("{", '[{"version": 1}]', "x" * (1 << 19)):
            (self.folder / "state" / ran_versions.FILE).write_text(text)
            self.assertEqual(ran_versions.ran(self.folder / "state"), [])

    def test_a_full_disk_does_not_end_the_proxy(self) -> None:
        with mock.patch.object(ran_versions, "write_whole", side_effect=OSError(28, "full")):
            self.ran("/v/1")
        self.assertEqual(ran_versions.ran(self.folder / "state"), [])


class AuditTests(ReplaceCase):
    def test_it_is_noted_before_it_begins_and_again_if_it_fails(self) -> None:
        self.run_ctl("upgrade", "--python", "/opt/x/bin/python")
        self.assertEqual(
            [(each["action"], each["outcome"]) for each in self.noted], [("upgrade", "intended")]
        )
        self.fake.trouble = "it did not start"
        self.failing("upgrade", "--python", "/opt/x/bin/python")
        self.assertEqual([each["outcome"] for each in self.noted], ["intended", "intended", "failed"])
        self.assertIn("it did not start", self.noted[2]["text"])


class VersionsTests(ReplaceCase):
    def test_what_has_served_and_what_is_installed(self) -> None:
        self.install("2.0")
        (self.versions / "notes").mkdir()
        with mock.patch.object(sys, "executable", "/v/1/python"):
            ran_versions.note(self.folder / "state", 0.0)
        with mock.patch.object(replace_commands, "_PREFIX", self.versions / "1.0"):
            lines = self.run_ctl("versions").splitlines()
        self.assertEqual(
            lines,
            [
                f"running: hospproxy {HERE} ({sys.executable})",
                f"served since 1970-01-01 00:00:00 UTC: hospproxy {HERE} (/v/1/python)",
                f"installed in {self.versions}: 2.0",
            ],
        )

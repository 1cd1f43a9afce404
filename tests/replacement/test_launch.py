"""The command that starts another version with the flags of the running one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.control.owner import ReplacementFailed
from hospproxy.replacement.launch import Launch


class LaunchTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.bin = Path(folder.name)
        for name in ("python", "twistd"):
            (self.bin / name).touch()

    def test_flags_are_kept_and_paths_are_absolute(self) -> None:
        outer = {
            "logfile": "a.log",
            "pidfile": "a.pid",
            "nodaemon": 0,
            "uid": 4,
            "umask": 18,
            "reactor": "poll",
        }
        options = {"config": "a.toml", "state": "state", "upstream": "http://127.0.0.1:1"}
        launch = Launch.of(outer, options, ["https://127.0.0.1:2", "http://127.0.0.1:3"], {})
        here = os.getcwd()
        self.assertEqual(
            launch.command(self.bin / "python"),
            [
                str(self.bin / "python"), "-P", str(self.bin / "twistd"), "-n", "--pidfile=",
                "--logfile", f"{here}/a.log", "--reactor", "poll",
                "hospproxy", "--config", f"{here}/a.toml", "--state", f"{here}/state",
                "--upstream", "http://127.0.0.1:1", "--listen", "https://127.0.0.1:2",
                "--listen", "http://127.0.0.1:3", "--successor",
            ],
        )  # fmt: skip
        self.assertEqual(launch.pid_file, f"{here}/a.pid")

    def test_syslog_keeps_its_prefix_and_stdout_stays_stdout(self) -> None:
        launch = Launch.of(
            {"syslog": 1, "prefix": "proxy", "logfile": "-", "pidfile": "", "nodaemon": 1}, {}, [], {}
        )
        self.assertEqual(
            launch.twistd, ("-n", "--pidfile=", "--logfile", "-", "--prefix", "proxy", "--syslog")
        )
        self.assertEqual(launch.pid_file, "")

    def test_it_gets_the_secrets_that_this_process_has_taken_out_of_its_environment(self) -> None:
        launch = Launch(secrets={"HOSPPROXY_TEST_KEY": "secret"})
        self.assertEqual(launch.environment["HOSPPROXY_TEST_KEY"], "secret")
        self.assertNotIn("secret", repr(launch))
        self.assertNotIn("HOSPPROXY_TEST_KEY", os.environ)

    def test_a_version_that_is_not_installed_is_named(self) -> None:
        (self.bin / "twistd").unlink()
        with self.assertRaisesRegex(ReplacementFailed, "twistd does not exist: is this version installed"):
            Launch().command(self.bin / "python")

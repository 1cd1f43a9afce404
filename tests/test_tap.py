"""The options and the service that twistd sees."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import ModuleType
from unittest import mock

from twisted.application.service import IService, IServiceMaker, Service
from twisted.internet import reactor as real_reactor
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.socket_activation import PassedSocket
from hospproxy.replacement.replaceable_proxy import ReplaceableProxy
from hospproxy.service.worker_identity import ONLY
from hospproxy.tap import Options, makeService
from hospproxy.workers.supervisor import Supervisor

GOOD = ["--upstream", "http://127.0.0.1:3000"]


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out, self.err = StringIO(), StringIO()

    def options(self, *arguments: str) -> Options:
        options = Options()
        with redirect_stdout(self.out), redirect_stderr(self.err):
            options.parseOptions(["--state", str(self.folder / "state"), *arguments])
        return options

    def status(self, *arguments: str) -> object:
        return self.assertRaises(SystemExit, self.options, *arguments).code

    def write(self, text: str) -> str:
        path = self.folder / "hospproxy.toml"
        path.write_text(text)
        return str(path)


class OptionsTests(Case):
    def test_three_flags_are_enough(self) -> None:
        options = self.options(*GOOD, "--listen", "https://127.0.0.1:1", "--listen", "http://127.0.0.1:2")
        self.assertEqual(options.settings.upstream.url, "http://127.0.0.1:3000")
        self.assertEqual(
            [each.url for each in options.settings.listeners], ["https://127.0.0.1:1", "http://127.0.0.1:2"]
        )
        self.assertEqual(options.settings.state_dir, self.folder / "state")
        self.assertEqual(self.err.getvalue(), "")

    def test_flags_go_before_the_file(self) -> None:
        file = self.write('[upstream]\nurl = "http://127.0.0.1:1"\n[gate]\nconcurrency = 9\n')
        options = self.options("--config", file, *GOOD)
        self.assertEqual(options.settings.upstream.url, "http://127.0.0.1:3000")
        self.assertEqual(options.settings.gate.concurrency, 9)

    def test_every_mistake_has_its_line(self) -> None:
        file = self.write(
            "deadline = 5\n[identity]\nenabled = false\n[cache]\nenabled = false\n[screening]\nenabled = false\n"
            '[gate]\nconcurrency = "five"\n[retry]\nmax_attempts = 0\n'
            '[upstream]\nurl = "ftp://hosp"\n[[listeners]]\nplain = "maybe"\n'
        )
        self.assertEqual(self.status("--config", file), 1)
        lines = self.err.getvalue().splitlines()
        self.assertEqual(
            [line.split(": ")[1] for line in lines],
            [
                "listeners[0].plain",
                "upstream.url",
                "retry.max_attempts",
                "gate.concurrency",
                "deadline",
                "ownership.enabled",
            ],
        )
        self.assertEqual({line.split(": ")[0] for line in lines}, {"hospproxy"})

    def test_combinations_are_refused(self) -> None:
        file = self.write("[writes]\nenabled = false\n")
        self.assertEqual(self.status("--config", file, *GOOD), 1)
        self.assertIn("hospproxy: screening.enabled: ", self.err.getvalue())

    def test_a_missing_file(self) -> None:
        self.assertEqual(self.status("--config", str(self.folder / "none.toml")), 1)
        self.assertIn("none.toml: it cannot be read", self.err.getvalue())

    def test_check_says_so_and_makes_nothing(self) -> None:
        self.assertEqual(self.status("--check", "--upstream", "http://192.0.2.1:80"), 0)
        self.assertEqual(self.out.getvalue(), "hospproxy: options are good\n")
        self.assertIn("hospproxy: warning: upstream.url: ", self.err.getvalue())
        self.assertEqual(os.listdir(self.folder), [])

    def test_check_of_what_is_wrong(self) -> None:
        self.assertEqual(self.status("--check"), 1)
        self.assertEqual(self.out.getvalue(), "")
        self.assertEqual(
            self.err.getvalue(), "hospproxy: upstream.url: it is required (or give --upstream)\n"
        )

    def test_its_version_is_that_of_the_package(self) -> None:
        self.assertEqual(self.status("--version"), 0)
        self.assertEqual(self.out.getvalue(), f"hospproxy {version('hospproxy')}\n")

    def test_arguments_that_do_not_belong(self) -> None:
        self.assertRaises(UsageError, self.options, *GOOD, "more")
        self.assertRaises(UsageError, self.options, "--upstrem", "x")


class ServiceTests(Case):
    def build(self, reactor: object | None) -> tuple[IService, mock.Mock]:
        service = ModuleType("hospproxy.service.service")
        service.build = mock.Mock(return_value=Service())
        # The process that runs the tests must keep its privileges.
        harden = mock.patch("hospproxy.process.privileges.harden", return_value=[])
        at_exit = mock.patch("hospproxy.process.shutdown.leave_at_exit")
        with harden, at_exit, mock.patch.dict(sys.modules, {"hospproxy.service.service": service}):
            return makeService(self.options(*GOOD), reactor), service.build

    def test_it_is_built_from_the_settings(self) -> None:
        reactor = MemoryReactorClock()
        made, build = self.build(reactor)
        self.assertIsInstance(made, ReplaceableProxy)
        settings, given, seat = build.call_args.args
        self.assertIs(seat, ONLY)
        self.assertEqual((settings.upstream.url, given), ("http://127.0.0.1:3000", reactor))

    def test_several_workers_have_a_supervisor(self) -> None:
        file = self.write("workers = 2\n[redis]\nenabled = true\n")
        with mock.patch("hospproxy.service.service.build") as build:
            made = makeService(self.options("--config", file, *GOOD), MemoryReactorClock())
        self.assertIsInstance(made, Supervisor)
        build.assert_not_called()
        self.assertEqual(os.listdir(self.folder / "state"), ["lock"])  # it creates nothing else

    def test_nothing_is_built_on_a_folder_that_another_proxy_uses(self) -> None:
        self.build(MemoryReactorClock())
        with mock.patch("hospproxy.state.lock.WAIT_S", 0.0), redirect_stderr(self.err):
            for more in ([], ["--config", self.write("workers = 2\n[redis]\nenabled = true\n")]):
                with mock.patch("hospproxy.service.service.build") as build:
                    options = self.options(*more, *GOOD)
                    ended = self.assertRaises(SystemExit, makeService, options, MemoryReactorClock())
                self.assertEqual(ended.code, 1)
                build.assert_not_called()
        words = (
            f"hospproxy: {self.folder / 'state'} is in use by process {os.getpid()}: stop that proxy first"
        )
        self.assertEqual([line.startswith(words) for line in self.err.getvalue().splitlines()], [True, True])

    def test_a_socket_of_systemd_goes_to_its_listener(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            passed = [PassedSocket("listeners", listening)]
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            more = ["--listen", url, *GOOD]
            with (
                mock.patch("hospproxy.arrival.socket_activation.take", return_value=passed),
                mock.patch("hospproxy.service.service.build", return_value=Service()) as build,
            ):
                makeService(self.options(*more), MemoryReactorClock())
            self.assertEqual(build.call_args.args[2].sockets, (listening,))

    def test_a_socket_of_systemd_that_belongs_to_no_listener(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening, redirect_stderr(self.err):
            passed = [PassedSocket("listeners", listening)]
            with mock.patch("hospproxy.arrival.socket_activation.take", return_value=passed):
                ended = self.assertRaises(SystemExit, makeService, self.options(*GOOD), MemoryReactorClock())
        self.assertEqual(ended.code, 1)
        self.assertIn("must be the address of a listener", self.err.getvalue())

    def test_on_the_processs_own_reactor(self) -> None:
        self.assertIs(self.build(None)[1].call_args.args[1], real_reactor)


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_one(self) -> None:
        found = [each for each in getPlugins(IServiceMaker) if each.tapname == "hospproxy"]
        self.assertEqual(len(found), 1)
        self.assertIs(found[0].options, Options)
        self.assertIs(found[0].makeService, makeService)

    def test_nothing_heavy_is_imported_for_it(self) -> None:
        """Every start of any twistd plugin imports it, and --help imports the options."""
        code = (
            "import sys; import twisted.plugins.hospproxy_plugin as p\n"
            "assert not [m for m in sys.modules if m.startswith('hospproxy')], 'plugin'\n"
            "p.hospproxy.options()\n"
            "heavy = {'cryptography', 'OpenSSL', 'yaml', 'jsonschema_rs', 'treq', 'cattrs'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

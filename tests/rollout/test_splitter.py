"""HAProxy's Runtime API, and a command that sets weights."""

from __future__ import annotations

from rollout.plan import Command, Split
from rollout.splitter import CommandSplitter, HaproxySplitter, SplitterFailed, splitter_for
from rollout.system import CommandFailed
from twisted.trial.unittest import SynchronousTestCase

from .fake_system import FakeSystem

SPLIT = Split(driver="haproxy", socket="admin.sock", backend="hosp")


class HaproxyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.system = FakeSystem()
        self.splitter = HaproxySplitter(SPLIT, self.system)

    def test_a_weight_is_set_and_read_back(self) -> None:
        self.splitter.weigh("canary", 11)
        self.assertEqual(self.system.weights["canary"], 11)
        self.assertEqual(self.system.done, ["set server hosp/canary weight 11"])

    def test_a_server_that_does_not_exist(self) -> None:
        self.assertIn("No such server", str(self.assertRaises(SplitterFailed, self.splitter.weigh, "x", 1)))
        self.assertIn("no server", str(self.assertRaises(SplitterFailed, self.splitter.sessions, "x")))

    def test_a_weight_that_was_not_taken(self) -> None:
        self.system.ask_socket = lambda *_: "5 (initial 0)\n" if "get" in _[1] else ""  # type: ignore[method-assign, assignment]
        problem = self.assertRaises(SplitterFailed, self.splitter.weigh, "canary", 11)
        self.assertIn("not 11", str(problem))

    def test_columns(self) -> None:
        self.system.ask_socket = lambda *_: (  # type: ignore[method-assign, assignment]
            "# pxname,svname,scur,status,\nhosp,one,3,UP,\nhosp,two,,DOWN 1/2,\nother,one,9,UP,\n\n"
        )
        self.assertEqual((self.splitter.sessions("one"), self.splitter.sessions("two")), (3, None))
        self.assertEqual((self.splitter.is_up("one"), self.splitter.is_up("two")), (True, False))

    def test_haproxy_that_is_away(self) -> None:
        def away(*_: object) -> str:
            raise FileNotFoundError("no socket")

        self.system.ask_socket = away  # type: ignore[method-assign, assignment]
        self.assertIn("no socket", str(self.assertRaises(SplitterFailed, self.splitter.weigh, "one", 1)))


class CommandTests(SynchronousTestCase):
    def test_server_and_weight_are_filled_in(self) -> None:
        ran: list[Command] = []

        class System(FakeSystem):
            def run(self, command: Command) -> str:
                ran.append(command)
                if "9" in command.words:
                    raise CommandFailed("weigh: exit status 1")
                return ""

        command = Command(words=("weigh", '{"of": "{server}"}', "{weight}"), timeout_s=3)
        splitter = CommandSplitter(Split(driver="command", command=command), System())
        splitter.weigh("canary", 11)
        self.assertEqual(ran, [Command(words=("weigh", '{"of": "canary"}', "11"), timeout_s=3)])
        self.assertEqual((splitter.sessions("canary"), splitter.is_up("canary")), (None, True))
        self.assertRaises(SplitterFailed, splitter.weigh, "canary", 9)

    def test_drivers(self) -> None:
        system = FakeSystem()
        self.assertIsInstance(splitter_for(SPLIT, system), HaproxySplitter)
        self.assertIsInstance(splitter_for(Split(driver="command"), system), CommandSplitter)
        self.assertIsNone(splitter_for(Split(driver="none"), system))

"""The service of a process that can be replaced: from its start to its end, with a fake successor."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.control.owner import ReplacementFailed
from hospproxy.options.source import NO_SOURCE
from hospproxy.replacement import replaceable_proxy
from hospproxy.replacement.hold import StateNotClosed
from hospproxy.replacement.launch import Launch
from hospproxy.replacement.replaceable_proxy import ReplaceableProxy
from hospproxy.state.lock import FolderLock


class FakeReactor(Clock):
    stopped = 0

    def callWhenRunning(self, what: Any, *arguments: Any) -> None:
        what(*arguments)

    def stop(self) -> None:
        self.stopped += 1


class FakeConnections:
    """Open connections, until the test says that there are none."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    async def run_out(self, idle_s: float) -> None:
        await self.over

    def responding(self, *, shortcuts: bool) -> int:
        return 0


class FakeProcess:
    """The successor's process: it is prepared and serves when the test says so."""

    made: list[FakeProcess]
    pid: int | None = 4711

    def __init__(self, reactor: Any, relayed: Any, lost: Any) -> None:
        self.lost = lost
        self.is_prepared: Deferred[str] = Deferred()
        self.is_serving: Deferred[None] = Deferred()
        self.killed = False
        self.said: list[object] = []
        self.made.append(self)

    def start(self, command: Any, environment: Any, lock: int, sockets: Any) -> None:
        self.command, self.lock = command, lock

    def say(self, message: object) -> None:
        self.said.append(message)

    async def prepared(self, timeout_s: float) -> str:
        return await self.is_prepared

    async def serving(self, timeout_s: float) -> None:
        await self.is_serving

    async def end(self) -> None:
        self.killed, self.pid = True, None
        for each in (self.is_prepared, self.is_serving):
            if not each.called:
                each.errback(ReplacementFailed("killed"))
                each.addErrback(lambda _: None)  # perhaps nobody waits


class ReplaceableTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name) / "state"
        self.state.mkdir()
        self.bin = Path(folder.name)
        for name in ("python", "twistd"):
            (self.bin / name).touch()
        self.settings = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=self.state)
        self.reactor = FakeReactor()
        self.built: list[Any] = []
        FakeProcess.made = []
        self.patch(replaceable_proxy, "SuccessorProcess", FakeProcess)
        self.told: list[tuple[str, ...]] = []
        self.patch(replaceable_proxy, "notify", lambda *lines: self.told.append(lines))
        self.left: list[int] = []
        self.patch(replaceable_proxy, "leave", self.left.append)
        descriptor = self.lock = os.open(self.state / "lock", os.O_CREAT | os.O_RDWR)
        self.service = ReplaceableProxy(
            self.settings, NO_SOURCE, self.reactor, self.build, FolderLock(descriptor), Launch()
        )
        self.service.startService()

    def build(self, settings: Any, source: Any, seat: Any, lock: Any) -> Any:
        made = mock.Mock()
        made.settings, made.source, made.admin, made.left = settings, source, None, []
        made.context.connections = FakeConnections()
        made.context.shortcuts = None
        made.listeners.ports = []
        made.control.responded = mock.AsyncMock()
        made.listeners.stop = mock.Mock(side_effect=lambda _s: _done())
        made.ending.return_value = []
        made.stopService = mock.Mock(side_effect=lambda: _done())
        self.built.append(made)
        return made

    def replace(self) -> tuple[Deferred[str], FakeProcess]:
        running = Deferred.fromCoroutine(self.service.replace(self.bin / "python", lambda _line: None))
        return running, FakeProcess.made[-1]

    def replaced(self) -> FakeProcess:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        process.is_serving.callback(None)
        self.assertEqual(self.successResultOf(running), "2.0")
        return process

    def test_it_starts_the_proxy_and_notes_what_runs(self) -> None:
        self.built[0].startService.assert_called_once_with()
        self.assertEqual(self.told, [("READY=1",)])
        self.assertTrue((self.state / "formats.json").exists())
        self.assertTrue((self.state / "versions.json").exists())

    def test_after_a_replacement_it_ends_with_its_last_connection(self) -> None:
        self.replaced()
        self.assertEqual(self.told[-1], ("MAINPID=4711", "READY=1"))
        self.assertRaises(OSError, os.fstat, self.lock)  # a crash of the new process frees the folder
        self.assertEqual(self.reactor.stopped, 0)
        self.built[0].context.connections.over.callback(None)
        self.assertEqual(self.reactor.stopped, 1)
        self.successResultOf(self.service.stopService())
        self.built[0].stopService.assert_not_called()  # its parts have ended
        self.assertNotIn(("STOPPING=1",), self.told)

    def test_it_does_not_end_before_the_command_has_its_response(self) -> None:
        responded: Deferred[None] = Deferred()

        async def wait() -> None:
            await responded

        self.built[0].control.responded = wait
        self.built[0].context.connections.over.callback(None)  # nobody is connected
        self.replaced()
        self.assertEqual(self.reactor.stopped, 0)
        responded.callback(None)
        self.assertEqual(self.reactor.stopped, 1)

    def test_it_cannot_be_replaced_again_or_twice_at_once(self) -> None:
        _, process = self.replace()
        again = Deferred.fromCoroutine(self.service.replace(self.bin / "python", lambda _line: None))
        self.failureResultOf(again, ReplacementFailed)
        process.is_prepared.callback("2.0")
        process.is_serving.callback(None)
        again = Deferred.fromCoroutine(self.service.replace(self.bin / "python", lambda _line: None))
        self.failureResultOf(again, ReplacementFailed)

    def test_without_its_successor_it_ends_at_once(self) -> None:
        self.replaced().lost()
        self.assertEqual(self.reactor.stopped, 1)

    def test_a_version_that_is_not_installed_starts_nothing(self) -> None:
        running = Deferred.fromCoroutine(self.service.replace(self.bin / "no" / "python", lambda _line: None))
        self.failureResultOf(running, ReplacementFailed)
        self.replaced()  # the next one works

    def test_one_that_does_not_serve_is_killed_and_the_folder_is_opened_again(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        process.is_serving.errback(ReplacementFailed("no"))
        self.failureResultOf(running, ReplacementFailed)
        self.assertTrue(process.killed)
        self.assertEqual(len(self.built), 2)
        self.built[1].startService.assert_called_once_with()
        self.assertIs(self.built[1].replaceable, self.service)
        self.replaced()

    def test_a_stop_meanwhile_kills_the_successor_first(self) -> None:
        running, process = self.replace()
        stopping = self.service.stopService()
        self.assertTrue(process.killed)
        self.failureResultOf(running, ReplacementFailed)
        self.successResultOf(stopping)
        self.built[0].stopService.assert_called_once_with()

    def test_a_folder_that_cannot_be_closed_ends_the_process_at_once(self) -> None:
        running, process = self.replace()
        with mock.patch.object(replaceable_proxy.OwnedProxy, "close", side_effect=StateNotClosed("journal")):
            process.is_prepared.callback("2.0")
        self.failureResultOf(running, StateNotClosed)
        self.assertEqual((self.left, process.killed), ([1], False))

    def test_a_folder_that_cannot_be_opened_again_ends_it_too(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        with mock.patch.object(replaceable_proxy.OwnedProxy, "reopen", side_effect=SystemExit(3)):
            process.is_serving.errback(ReplacementFailed("no"))
        self.failureResultOf(running, SystemExit)
        self.assertEqual(self.left, [3])


def _done() -> Deferred[None]:
    done: Deferred[None] = Deferred()
    done.callback(None)
    return done

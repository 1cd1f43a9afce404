"""A supervisor that takes over from an old proxy, and one whose place is taken."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from hospproxy.replacement.inherited import Inherited
from hospproxy.replacement.launch import Launch
from hospproxy.workers import supervisor as supervisor_module
from hospproxy.workers.child import FIRST_SOCKET_FD, LOCK_FD
from hospproxy.workers.messages import (
    OpenState,
    OptionsNews,
    ServeClients,
    StartWorker,
    WorkerPrepared,
    WorkerReady,
)
from hospproxy.workers.supervisor import Supervisor

from .test_supervisor import Case, Fake, no_fork


class TakingOver(Case):
    workers = 2

    def setUp(self) -> None:
        super().setUp()
        self.settings.state_dir.mkdir()
        self.lock = mock.Mock()
        self.lock.fileno.return_value = 77
        self.pid_files: list[str] = []
        self.supervisor = Supervisor(
            self.settings, self.reactor, self.statuses.append, fork=no_fork, launch=Launch(), takes_over=True,
            own_pid_file=self.pid_files.append,
        )  # fmt: skip
        self.heir: Any = self.supervisor._heir
        self.supervisor.owner = mock.Mock()
        self.successor = mock.Mock()
        self.supervisor._successor = self.successor

    def prepare(self) -> Deferred[None]:
        relays = tuple(socket.socket() for _ in range(2))
        for each in relays:
            self.addCleanup(each.close)
        inherited = Inherited(self.lock, (None, None), (None,), relays, (), 88)
        return Deferred.fromCoroutine(self.heir.prepare(inherited, mock.Mock()))

    def prepared(self) -> list[Fake]:
        preparing = self.prepare()
        self.reactor.started[0].says(WorkerPrepared())
        self.reactor.started[1].says(WorkerPrepared())
        self.successResultOf(preparing)
        return self.reactor.started

    def test_it_opens_and_starts_nothing_by_itself(self) -> None:
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        self.assertEqual((self.opened, self.reactor.started), ([], []))
        self.successor.start.assert_called_once_with()
        self.supervisor.owner.start.assert_not_called()  # type: ignore[union-attr]

    def test_its_workers_hold_the_lock_and_the_lifeline(self) -> None:
        first, second = self.prepared()
        for worker, numbers in ((first, 5), (second, 4)):  # the first has the admin listener too
            given = [worker.descriptors[FIRST_SOCKET_FD + number] for number in range(numbers)]
            self.assertEqual((worker.descriptors[LOCK_FD], given[-1]), (77, 88))
            [start] = worker.heard()
            self.assertIsInstance(start, StartWorker)
            self.assertEqual((start.taking_over, start.relays), (True, 1))

    def test_it_is_the_owner_once_all_workers_serve(self) -> None:
        first, second = self.prepared()
        opening = Deferred.fromCoroutine(self.heir.open())
        first.says(WorkerReady())
        second.says(WorkerReady())
        self.successResultOf(opening)
        self.assertFalse(self.supervisor.is_serving)
        file = self.settings.state_dir / "pid"
        self.heir.serve(mock.Mock(), str(file))
        self.assertTrue(self.supervisor.is_serving)
        self.assertEqual((file.read_text(), self.pid_files), (str(os.getpid()), [str(file)]))
        self.supervisor.owner.start.assert_called_once_with()  # type: ignore[union-attr]
        self.lock.name_holder.assert_called_once_with()
        self.assertTrue((self.settings.state_dir / "versions.json").exists())
        for worker in (first, second):
            said = [each for each in worker.heard()[1:] if not isinstance(each, OptionsNews)]
            self.assertEqual(said, [OpenState(), ServeClients()])

    def test_a_worker_that_dies_before_ends_it_with_a_reason(self) -> None:
        first, _ = self.prepared()
        first.process.childDataReceived(2, b"hospproxy: no disk\n")
        first.ends(status=1)
        self.successor.fail.assert_called_once_with("worker 0 exited with status 1: no disk")

    def test_a_worker_that_dies_later_is_replaced(self) -> None:
        first, second = self.prepared()
        self.heir.serve(mock.Mock(), "")
        first.says(WorkerReady())
        second.says(WorkerReady())
        first.ends(signal=9)
        self.reactor.advance(0)
        [start] = self.reactor.started[2].heard()
        self.assertEqual((start.slot, start.taking_over, start.relays), (0, False, 0))
        self.successor.fail.assert_not_called()

    def test_a_stop_before_kills_the_workers_which_have_opened_nothing(self) -> None:
        workers = self.prepared()
        stopping = self.supervisor.stopService()
        self.assertEqual([each.signals for each in workers], [["KILL"], ["KILL"]])
        for each in workers:
            each.ends(signal=9)
        self.successResultOf(stopping)


class Replaced(Case):
    workers = 2

    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[str, ...]] = []
        self.patch(supervisor_module, "notify", lambda *lines: self.told.append(lines))
        self.lock = mock.Mock()
        self.lock.fileno.return_value = 77
        Path(self.settings.state_dir).mkdir()
        self.supervisor = Supervisor(
            self.settings, self.reactor, self.statuses.append, self.lock, fork=no_fork, launch=Launch()
        )
        self.owner = self.supervisor.owner = mock.Mock()
        self.responded: Deferred[None] = Deferred()
        self.owner.responded.side_effect = self.respond

    async def respond(self) -> None:
        """What waits for the response to the command."""
        await self.responded

    def test_it_gives_everything_up_and_ends_with_its_last_worker(self) -> None:
        first, second = self.begin()
        self.told.clear()
        self.supervisor.left(4711)
        self.assertEqual(self.told, [("MAINPID=4711", "READY=1")])
        self.lock.release.assert_called_once_with()
        self.owner.leave.assert_called_once_with()
        for each in self.opened:
            each.close.assert_called_once_with()
        first.ends(status=0)
        self.reactor.advance(60.0)
        self.assertEqual((len(self.reactor.started), self.reactor.stopped), (2, 0))  # it is not replaced
        second.ends(status=0)
        self.assertEqual(self.reactor.stopped, 0)  # hospproxyctl has no response yet
        self.responded.callback(None)
        self.assertEqual(self.reactor.stopped, 1)
        self.successResultOf(self.supervisor.stopService())
        self.assertNotIn(("STOPPING=1",), self.told)

    def test_a_worker_that_exits_meanwhile_is_not_started_again_at_once(self) -> None:
        first, _ = self.begin()
        with mock.patch.object(self.supervisor.replaceable, "exited", return_value=True) as exited:
            first.ends(signal=9)
        exited.assert_called_once_with(self.supervisor.slots[0], "by signal 9")
        self.reactor.advance(60.0)
        self.assertEqual(len(self.reactor.started), 2)
        self.supervisor.restart(self.supervisor.slots[0])
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.started), 3)

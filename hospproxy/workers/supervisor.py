"""The parent process: binds the ports, starts, replaces and stops workers. It accepts no connections itself."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from ..arrival.listeners import ListenerError
from ..arrival.socket_activation import NO_SOCKETS, PassedSockets
from ..config import Settings
from ..control import ran_versions
from ..control.owner_process import OwnerProcess
from ..options.secret_values import master_key
from ..options.source import NO_ENVIRONMENT, NO_SOURCE, OptionsSource, SecretEnvironment
from ..process import clocks, forked_process, signals
from ..process.background import Background
from ..process.forked_process import Fork
from ..process.service_manager import READY, STOPPING, main_pid, notify
from ..process.shutdown import GRACE_S, leave_at_exit
from ..process.worker import BriefThread
from ..record.admin_events import AdminTrail, Operator, not_kept
from ..record.trail.build_journal import keep_apart
from ..record.trail.ends import JournalEnds
from ..replacement import formats
from ..replacement.inherited import Inherited
from ..replacement.launch import Launch
from ..replacement.replaceable_proxy import write_pid_file
from ..replacement.successor import Successor
from ..state.lock import FolderLock
from ..watch.reload_page import ReloadOutcome
from . import listening_sockets
from .messages import (
    FileReloadQuestion,
    FileReloadReply,
    GatherQuestion,
    GatherReply,
    ReloadWorker,
    StopWorker,
)
from .replaceable_workers import KILLED_S, ReplaceableWorkers
from .snapshots import Snapshots
from .worker_slot import WorkerSlot
from .workers_heir import WorkersHeir
from .workers_reload import WorkersReload

_log = Logger()


class Supervisor(Service):
    """The service of the parent process: it starts, replaces and stops the workers.

    :param leave_with: sets the exit status for when the process has ended in order.
    :param source: where the settings come from.
    :param environment: has the secrets that were taken out of the environment.
    :param lock: of the state folder. Workers inherit it, so no new proxy starts while an old worker still runs.
    :param fork: starts a worker; see ``forked_process.fork``.
    :param launch: how to start a successor; None: it cannot be replaced.
    :param takes_over: from the process that has started this one, which lends it the lock.
    :param own_pid_file: says that twistd must remove this pid file at the end of this process; "" for none.
    :param passed: listening sockets that systemd has opened.
    """

    name = "hospproxy"

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        leave_with: Callable[[int], None] | None = None,
        lock: FolderLock | None = None,
        source: OptionsSource = NO_SOURCE,
        environment: SecretEnvironment = NO_ENVIRONMENT,
        fork: Fork = forked_process.fork,
        launch: Launch | None = None,
        takes_over: bool = False,
        own_pid_file: Callable[[str], None] = lambda _path: None,
        passed: PassedSockets = NO_SOCKETS,
    ) -> None:
        clocks.install_monotonic(reactor)
        self._settings = settings
        self._reactor = reactor
        self._leave_with = leave_with or _leave_with
        self._lock = lock
        self._posts: list[WorkerSlot] = []
        self._reload = WorkersReload(self._posts)
        self._snapshots = Snapshots(self._posts)
        self.replaceable = None if launch is None else ReplaceableWorkers(reactor, self, launch)
        self._fork = fork
        self._own_pid_file = own_pid_file
        self._passed = passed
        self._heir: WorkersHeir | None = None
        self._successor: Successor | None = None
        if takes_over:
            self._heir = WorkersHeir(self._adopt, self._took_over)
            self._successor = Successor(settings, reactor, self._heir)
        self.owner: OwnerProcess | None = None
        if lock is not None or takes_over:
            self.owner = OwnerProcess(
                reactor, settings, source, environment, apply=self._apply, read_again=self._read_again,
                events=AdminTrail(self._keep, reactor, clocks.wall), master=lambda: master_key(settings),
                worker=BriefThread(reactor, "options"), wall=clocks.wall, told=self._reload.tell,
                replaceable=lambda: self.replaceable,
            )  # fmt: skip
        self._clients: tuple[socket.socket, ...] = ()
        self._admin: tuple[socket.socket, ...] = ()
        self._all_served = self._stopping = self._left = False
        self._emptied: Deferred[None] | None = None
        self._background = Background(
            _log, "a question of a worker failed (a bug); the worker that asked gets no reply"
        )

    @property
    def settings(self) -> Settings:
        """The options in force (Running)."""
        return self._settings

    @property
    def slots(self) -> Sequence[WorkerSlot]:
        """Those of all workers (Running)."""
        return self._posts

    @property
    def lock(self) -> FolderLock | None:
        """Of the state folder; None if a successor has it (Running)."""
        return self._lock

    @property
    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """The listening sockets: those of clients, and those of the admin listener (Running)."""
        return self._clients, self._admin

    @property
    def is_serving(self) -> bool:
        """All workers have served, and nobody has ended or replaced them (Running)."""
        return self._all_served and not self._stopping and not self._left

    def privilegedStartService(self) -> None:
        """Bind every port while the process still has the privileges for it."""
        if self._heir is None:
            try:
                self._bind(self._passed.clients, self._passed.admin)
            except (CannotListenError, ListenerError) as error:
                print(f"hospproxy: {error}", file=sys.stderr)
                raise SystemExit(1) from None
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def _bind(self, clients: Sequence[socket.socket | None], admin: Sequence[socket.socket | None]) -> None:
        """Open the listening sockets that were not inherited.

        :raise CannotListenError: an address is taken.
        """
        options = self._settings.admin
        self._clients = listening_sockets.bound((each.url for each in self._settings.listeners), clients)
        self._admin = listening_sockets.bound([options.url] if options.enabled else [], admin)

    def startService(self) -> None:
        """Start the first worker once the reactor runs, and the others once the first one serves."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._successor is not None:
            self._reactor.callWhenRunning(self._successor.start)
            return
        if not self._clients:
            self.privilegedStartService()
        self._make_slots()
        if self._lock is not None:
            self._lock.name_holder()  # twistd may have forked since the lock was taken
        # Install twice: a reactor that starts to run replaces the handlers with its own.
        self._install_signals()
        self._reactor.callWhenRunning(self._install_signals)
        if self.owner is not None:
            self.owner.start()
        # Worker 0 first: one process creates keys, certificates and files, and a mistake is reported once.
        self._reactor.callWhenRunning(self._posts[0].start)

    def _make_slots(self) -> None:
        settings = pickle.dumps(self._settings)
        lock_fd = None if self._lock is None else self._lock.fileno()
        self._ends = JournalEnds.make(self._settings.workers)
        for slot in range(self._settings.workers):
            sockets = (self._clients, self._admin if slot == 0 else ())
            self._posts.append(
                WorkerSlot(
                    slot, self._reactor, self, settings, sockets, lock_fd, self._ends.fileno(), self._fork
                )
            )

    def _adopt(self, inherited: Inherited) -> Sequence[WorkerSlot]:
        """Make the slots of workers that take over.

        :raise CannotListenError: the address of a new listener is taken.
        """
        self._lock = inherited.lock
        self._bind(inherited.clients, inherited.admin)
        self._make_slots()
        return self._posts

    def _took_over(self, pid_file: str) -> None:
        """All workers serve, and the old proxy uses the state folder no more."""
        self._heir = None
        self._all_served = True
        if self._lock is not None:
            self._lock.name_holder()
        self._install_signals()
        if self.owner is not None:
            self.owner.start()
            self.owner.serves()
        self._note()
        write_pid_file(pid_file, self._own_pid_file)

    def _note(self) -> None:
        formats.note(self._settings.state_dir)
        ran_versions.note(self._settings.state_dir, clocks.wall())

    def _install_signals(self) -> None:
        stop_s = self._settings.drain_s + GRACE_S + 2 * KILLED_S
        signals.install(self._reactor, self.reload, stop_s)

    def reload(self) -> None:
        """Apply the options file as it is now, and read certificates and secrets again (SIGHUP)."""
        if self.owner is None:
            self._read_again()
        else:
            self.owner.hangup()

    def _read_again(self) -> None:
        for post in self._posts:
            post.say(ReloadWorker())

    async def _apply(self, settings: Settings, prepared: Callable[[], Awaitable[None]]) -> None:
        """:raise ControlError: a worker cannot apply the options; nothing has changed."""
        await self._reload.apply(settings, prepared)
        self._settings = settings
        self._install_signals()

    def _keep(self, record: Mapping[str, Any]) -> Deferred[None]:
        """Store an audit record of this process, which has no journal of its own."""
        settings = self._settings
        if not settings.audit.enabled:
            return not_kept(record)
        return BriefThread(self._reactor, "audit").run(lambda: keep_apart(settings, record))

    def prepared(self, post: WorkerSlot) -> None:
        """A worker could open the state folder (Chief)."""
        if self._heir is not None:
            self._heir.done(post)

    def serves(self, post: WorkerSlot) -> None:
        """A worker accepts connections now (Chief)."""
        if self._stopping:
            return
        _log.info("worker {slot} is serving (pid={pid})", slot=post.slot, pid=post.pid)
        self._reload.serves(post)
        if self._heir is not None:
            self._heir.done(post)
        if self._all_served or self._heir is not None:
            return
        if post.slot == 0:
            for other in self._posts[1:]:
                if not other.running and not other.served:
                    other.start()
        if all(each.served for each in self._posts):
            self._all_served = True
            if self._lock is not None:
                self._note()
            listening_sockets.announce(self._settings, self._clients, self._admin)
            notify(READY)
            if self.owner is not None:
                self.owner.serves()  # not earlier: a worker makes the key that signs audit records

    def ended(self, post: WorkerSlot, why: str) -> None:
        """A worker has exited (Chief)."""
        self._snapshots.ended(post)
        if self._stopping:
            _log.info("worker {slot} exited {why}", slot=post.slot, why=why)
            self._look_whether_empty()
        elif self._left:
            _log.info("worker {slot} exited {why}", slot=post.slot, why=why)
            self._end_left()
        elif self._heir is not None and self._successor is not None:
            self._successor.fail(self._heir.reason(post, why))
        elif self.replaceable is not None and self.replaceable.exited(post, why):
            _log.error("worker {slot} exited {why} while it is being replaced", slot=post.slot, why=why)
        elif not any(each.served for each in self._posts):
            _log.critical(
                "worker {slot} failed to start (exited {why}); shutting down", slot=post.slot, why=why
            )
            self._leave_with(1)
            signals.stop_once(self._reactor)
        else:
            pause_s = post.start_again()
            _log.error(
                "worker {slot} exited {why}; replacing it in {pause_s:g} s",
                slot=post.slot, why=why, pause_s=pause_s,
            )  # fmt: skip

    def restart(self, slot: WorkerSlot) -> None:
        """Start a worker in the place of one that has exited during a replacement (Running)."""
        slot.start_again()

    def left(self, successor: int | None) -> None:
        """A successor has taken over: end once all workers have (Running)."""
        self._left = True
        self._own_pid_file("")
        if self.owner is not None:
            self.owner.leave()
        listening_sockets.close((*self._clients, *self._admin))
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if successor is not None:
            notify(main_pid(successor), READY)
        _log.info("process {pid} serves; this one ends when its workers have", pid=successor)
        self._end_left()

    def _end_left(self) -> None:
        if not any(each.running for each in self._posts):
            told = succeed(None) if self.owner is None else Deferred.fromCoroutine(self.owner.responded())
            self._background.run(told, lambda _: signals.stop_once(self._reactor))

    def asked(self, post: WorkerSlot, question: GatherQuestion) -> None:
        """A worker asks for the snapshots of all workers (Chief)."""
        self._background.run(self._answer(post, question))

    async def _answer(self, post: WorkerSlot, question: GatherQuestion) -> None:
        post.say(GatherReply(question.id, await self._snapshots.of_all(post, question.own)))

    def reload_asked(self, post: WorkerSlot, question: FileReloadQuestion) -> None:
        """A worker asks to apply the options file, for a client of the admin listener (Chief)."""
        self._background.run(self._reload_for(post, question))

    async def _reload_for(self, post: WorkerSlot, question: FileReloadQuestion) -> None:
        outcome = ReloadOutcome(False, ["the options of this proxy cannot be read again"])
        if self.owner is not None:
            operator = Operator("admin listener", question.user, None, question.address, question.request_id)
            outcome = await self.owner.reload(operator)
        post.say(FileReloadReply(question.id, outcome))

    def stopService(self) -> Deferred[None]:
        """Close the ports, let all workers finish, and kill those that are late."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._stopping = True
        if not self._left:
            notify(STOPPING)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self.replaceable is not None:
            await self.replaceable.give_up()
        noted = succeed(None)
        if self.owner is not None and self._heir is None and not self._left:
            noted = self.owner.stop()  # it writes to the state folder, which is nobody else's now
        listening_sockets.close((*self._clients, *self._admin))
        for post in self._posts:
            post.stay_away()
            if self._heir is not None:
                post.kill()  # it has opened nothing that it would have to close
            else:
                post.say(StopWorker())
        emptied = self._emptied = Deferred()
        self._late = self._reactor.callLater(self._settings.drain_s + GRACE_S, self._kill)
        self._look_whether_empty()
        await emptied
        if self._late.active():
            self._late.cancel()
        _log.info("all workers have exited")
        await noted

    def _kill(self) -> None:
        for post in self._posts:
            if post.running:
                _log.error("worker {slot} did not exit in time; sending SIGKILL", slot=post.slot)
                post.kill()
        self._late = self._reactor.callLater(KILLED_S, self._leave_behind)

    def _leave_behind(self) -> None:
        emptied = self._emptied
        if emptied is not None and not emptied.called:
            slots = ", ".join(str(post.slot) for post in self._posts if post.running)
            _log.critical("workers still running after SIGKILL: {slots}; exiting without them", slots=slots)
            emptied.callback(None)

    def _look_whether_empty(self) -> None:
        emptied = self._emptied
        if emptied is not None and not emptied.called and not any(post.running for post in self._posts):
            emptied.callback(None)


def _leave_with(status: int) -> None:
    leave_at_exit(lambda: status)

"""The parent process: binds the ports, starts, replaces and stops workers. It accepts no connections itself."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from .. import clocks, forked_process, signals
from ..arrival.listeners import ListenerError
from ..background import Background
from ..config import Settings
from ..control.owner import Replaceable
from ..control.owner_process import OwnerProcess
from ..forked_process import Fork
from ..options.secret_values import master_key
from ..options.source import NO_ENVIRONMENT, NO_SOURCE, OptionsSource, SecretEnvironment
from ..record.admin_events import AdminTrail, Operator, not_kept
from ..record.trail.build_journal import keep_apart
from ..record.trail.ends import JournalEnds
from ..service_manager import READY, STOPPING, notify
from ..shutdown import GRACE_S, leave_at_exit
from ..state.lock import FolderLock
from ..watch.merge import KeptCounts, Overview, Snapshot
from ..watch.reload_page import ReloadOutcome
from ..worker import BriefThread
from . import listening_sockets
from .messages import (
    FileReloadQuestion,
    FileReloadReply,
    GatherQuestion,
    GatherReply,
    ReloadWorker,
    StopWorker,
)
from .worker_slot import WorkerSlot
from .workers_reload import WorkersReload

_log = Logger()
KILLED_S: Final = 2.0
"""Seconds to wait for a killed worker: the kernel cannot end one that waits for a dead disk."""


class Supervisor(Service):
    """The service of the parent process: it starts, replaces and stops the workers.

    :param leave_with: sets the exit status for when the process has ended in order.
    :param source: where the settings come from.
    :param environment: has the secrets that were taken out of the environment.
    :param lock: of the state folder. Workers inherit it, so no new proxy starts while an old worker still runs.
    :param fork: starts a worker; see ``forked_process.fork``.
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
    ) -> None:
        clocks.install_monotonic(reactor)
        self._settings = settings
        self._reactor = reactor
        self._leave_with = leave_with or _leave_with
        self._lock = lock
        self._posts: list[WorkerSlot] = []
        self._reload = WorkersReload(self._posts)
        self.replaceable: Replaceable | None = None
        self._fork = fork
        self.owner: OwnerProcess | None = None
        if lock is not None:
            self.owner = OwnerProcess(
                reactor, settings, source, environment, apply=self._apply, read_again=self._read_again,
                events=AdminTrail(self._keep, reactor, clocks.wall), master=lambda: master_key(settings),
                worker=BriefThread(reactor, "options"), wall=clocks.wall, told=self._reload.tell,
                replaceable=lambda: self.replaceable,
            )  # fmt: skip
        self._clients: tuple[socket.socket, ...] = ()
        self._admin: tuple[socket.socket, ...] = ()
        self._kept = KeptCounts()
        self._all_served = self._stopping = False
        self._emptied: Deferred[None] | None = None
        self._background = Background(
            _log, "a question of a worker failed (a bug); the worker that asked gets no reply"
        )

    def privilegedStartService(self) -> None:
        """Bind every port while the process still has the privileges for it."""
        admin = self._settings.admin
        try:
            self._clients = listening_sockets.bound(each.url for each in self._settings.listeners)
            self._admin = listening_sockets.bound([admin.url] if admin.enabled else [])
        except (CannotListenError, ListenerError) as error:
            print(f"hospproxy: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start the first worker once the reactor runs, and the others once the first one serves."""
        super().startService()  # type: ignore[no-untyped-call]
        if not self._clients:
            self.privilegedStartService()
        settings, lock_fd = pickle.dumps(self._settings), None
        self._ends = JournalEnds.make(self._settings.workers)
        if self._lock is not None:
            self._lock.name_holder()  # twistd may have forked since the lock was taken
            lock_fd = self._lock.fileno()
        for slot in range(self._settings.workers):
            sockets = (self._clients, self._admin if slot == 0 else ())
            self._posts.append(
                WorkerSlot(
                    slot, self._reactor, self, settings, sockets, lock_fd, self._ends.fileno(), self._fork
                )
            )
        # Install twice: a reactor that starts to run replaces the handlers with its own.
        self._install_signals()
        self._reactor.callWhenRunning(self._install_signals)
        if self.owner is not None:
            self.owner.start()
        # Worker 0 first: one process creates keys, certificates and files, and a mistake is reported once.
        self._reactor.callWhenRunning(self._posts[0].start)

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

    def serves(self, post: WorkerSlot) -> None:
        """A worker accepts connections now (Chief)."""
        if self._stopping:
            return
        _log.info("worker {slot} is serving (pid={pid})", slot=post.slot, pid=post.pid)
        self._reload.serves(post)
        if self._all_served:
            return
        if post.slot == 0:
            for other in self._posts[1:]:
                if not other.running and not other.served:
                    other.start()
        if all(each.served for each in self._posts):
            self._all_served = True
            self._announce()
            notify(READY)
            if self.owner is not None:
                self.owner.serves()  # not earlier: a worker makes the key that signs audit records

    def _announce(self) -> None:
        for each, listener in zip(self._clients, self._settings.listeners, strict=True):
            scheme = listener.url.partition("://")[0]
            host, port = each.getsockname()[:2]
            _log.info("hospproxy serves {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)
        for each in self._admin:
            host, port = each.getsockname()[:2]
            scheme = self._settings.admin.address.scheme
            _log.info("hospproxy admin on {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)

    def ended(self, post: WorkerSlot, why: str) -> None:
        """A worker has exited (Chief)."""
        self._kept.ended(post.slot)
        if self._stopping:
            _log.info("worker {slot} exited {why}", slot=post.slot, why=why)
            self._look_whether_empty()
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

    def asked(self, post: WorkerSlot, question: GatherQuestion) -> None:
        """A worker asks for the snapshots of all workers (Chief)."""
        self._background.run(self._answer(post, question))

    async def _answer(self, post: WorkerSlot, question: GatherQuestion) -> None:
        post.say(GatherReply(question.id, await self._gather(post, question.own)))

    def reload_asked(self, post: WorkerSlot, question: FileReloadQuestion) -> None:
        """A worker asks to apply the options file, for a client of the admin listener (Chief)."""
        self._background.run(self._reload_for(post, question))

    async def _reload_for(self, post: WorkerSlot, question: FileReloadQuestion) -> None:
        outcome = ReloadOutcome(False, ["the options of this proxy cannot be read again"])
        if self.owner is not None:
            operator = Operator("admin listener", question.user, None, question.address, question.request_id)
            outcome = await self.owner.reload(operator)
        post.say(FileReloadReply(question.id, outcome))

    async def _gather(self, asker: WorkerSlot, own: Snapshot) -> Overview:
        seen, missing = {asker.slot: own}, {}
        restarts = {post.slot: post.restarts for post in self._posts}
        others = [post for post in self._posts if post is not asker]
        asked = [post for post in others if post.ready]
        answers = await DeferredList([post.ask() for post in asked], consumeErrors=True)
        for post, (answered, snapshot) in zip(asked, answers, strict=True):
            if answered:
                seen[post.slot] = snapshot
            else:
                post.failures += 1
                missing[post.slot] = "it does not answer"
        # A worker that answered and then exited is counted among the exited ones; here it would count twice.
        ended = [post for post in asked if not post.running or post.restarts != restarts[post.slot]]
        for post in (*ended, *(post for post in others if post not in asked)):
            seen.pop(post.slot, None)
            missing[post.slot] = "it is being started"
        for slot, snapshot in seen.items():
            self._kept.saw(slot, snapshot)
        return Overview(
            seen,
            missing,
            self._kept.without(seen),
            {post.slot: post.restarts for post in self._posts},
            {post.slot: post.failures for post in self._posts},
        )

    def stopService(self) -> Deferred[None]:
        """Close the ports, let all workers finish, and kill those that are late."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._stopping = True
        notify(STOPPING)
        noted = succeed(None) if self.owner is None else self.owner.stop()
        listening_sockets.close((*self._clients, *self._admin))
        for post in self._posts:
            post.stay_away()
            post.say(StopWorker())
        emptied = self._emptied = Deferred()
        self._late = self._reactor.callLater(self._settings.drain_s + GRACE_S, self._kill)

        def done(_: None) -> None:
            if self._late.active():
                self._late.cancel()
            _log.info("all workers have exited")

        self._look_whether_empty()
        emptied.addCallback(done)
        return gatherResults([emptied, noted]).addCallback(lambda _: None)

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

"""In the supervisor: another version takes the place of all workers, and of the supervisor."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..config import Settings
from ..control.owner import ReplacementFailed
from ..process.shutdown import GRACE_S, leave
from ..replacement.hold import HITS_S, LOOK_S, StateNotClosed, pause
from ..replacement.launch import Launch
from ..replacement.messages import RELAY, Prepare
from ..replacement.owned_proxy import CLOSE_S
from ..replacement.replacement import TAKE_OVER_S, Replacement
from ..replacement.successor_process import SuccessorProcess
from ..state.lock import FolderLock
from .messages import LeaveToSuccessor, ReleaseRequests
from .worker_proxy import MARGIN_S
from .worker_slot import STEP_S, WorkerSlot

_log = Logger()
KILLED_S: Final = 2.0
"""Seconds to wait for a killed worker: the kernel cannot end one that waits for a dead disk."""


class OldWorkers:
    """All workers of the running proxy, in a replacement (Predecessor).

    :param quiet_s: seconds within which the requests in flight must be over.
    :param give_up: called when the workers relay to the successor.
    """

    def __init__(
        self, reactor: Any, slots: Sequence[WorkerSlot], quiet_s: float, give_up: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._slots = slots
        self._quiet_s = quiet_s
        self._give_up = give_up

    async def quieten(self, check: Callable[[], None]) -> None:
        replies: dict[int, str] = {}
        for slot in self._slots:
            held = slot.hold(self._quiet_s, self._quiet_s + HITS_S + STEP_S)
            held.addCallback(partial(replies.__setitem__, slot.slot))
        try:
            while True:
                check()
                for number, trouble in replies.items():
                    if trouble:
                        raise ReplacementFailed(f"worker {number}: {trouble}")
                if len(replies) == len(self._slots):
                    return
                await pause(self._reactor, LOOK_S)
        except BaseException:
            for slot in self._slots:
                slot.say(ReleaseRequests())
            raise

    async def close(self) -> None:
        """Close the state folder in every worker.

        A worker that does not close it is killed: the successor takes its part over as after a crash.
        """
        running = [slot for slot in self._slots if slot.running]
        closing, killed = [slot.close(CLOSE_S + STEP_S) for slot in running], []
        for slot, closed in zip(running, closing, strict=True):
            trouble = await closed
            if trouble and slot.running:
                _log.error("worker {slot} is killed: {why}", slot=slot.slot, why=trouble)
                slot.kill()
                killed.append(slot)
        until = self._reactor.seconds() + KILLED_S
        while any(slot.running for slot in killed):
            if self._reactor.seconds() >= until:
                raise StateNotClosed("a worker")
            await pause(self._reactor, LOOK_S)

    async def reopen(self) -> None:
        running = [slot for slot in self._slots if slot.running]
        opening = [slot.reopen(TAKE_OVER_S) for slot in running]
        for slot, opened in zip(running, opening, strict=True):
            trouble = await opened
            if trouble and slot.running:
                _log.error("worker {slot} is killed: {why}", slot=slot.slot, why=trouble)
                slot.kill()

    def give_up(self) -> None:
        for slot in self._slots:
            slot.say(LeaveToSuccessor())
            slot.close_relay()
        self._give_up()


class Running(Protocol):
    """The supervisor of the workers that may be replaced."""

    @property
    def settings(self) -> Settings: ...
    @property
    def slots(self) -> Sequence[WorkerSlot]: ...
    @property
    def lock(self) -> FolderLock | None: ...
    @property
    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """The listening sockets: those of clients, and those of the admin listener."""

    @property
    def is_serving(self) -> bool:
        """All workers have served, and nobody has ended or replaced them."""

    def left(self, successor: int | None) -> None:
        """A successor has taken over from all workers.

        :param successor: its process id.
        """

    def restart(self, slot: WorkerSlot) -> None:
        """Start a worker in the place of one that has exited."""


@frozen(slots=True)
class _Step:
    """A replacement that is going on."""

    replacement: Replacement
    process: SuccessorProcess
    over: Deferred[None]
    exited: list[WorkerSlot]


class ReplaceableWorkers:
    """Lets another version take over from a supervisor and its workers (Replaceable).

    :param running: the supervisor.
    :param launch: how to start a successor.
    """

    def __init__(self, reactor: Any, running: Running, launch: Launch) -> None:
        self._reactor = reactor
        self._running = running
        self._launch = launch
        self._step: _Step | None = None

    async def replace(self, python: Path, progress: Callable[[str], object]) -> str:
        """Let another version take over; return it. This process ends once its workers have.

        :param python: interpreter of the other version.
        :param progress: gets a sentence for each step.
        :raise ReplacementFailed: this process and its workers serve as before.
        """
        running, lock = self._running, self._running.lock
        if lock is None or self._step is not None or not running.is_serving:
            raise ReplacementFailed("this process is not serving, or is being replaced already")
        away = [str(slot.slot) for slot in running.slots if not slot.ready]
        if away:
            raise ReplacementFailed(f"worker {', '.join(away)} is being started: try again")
        process = SuccessorProcess(self._reactor, lambda _message: None, lambda: None)
        quiet_s = running.settings.deadline_s + MARGIN_S
        old = OldWorkers(self._reactor, running.slots, quiet_s, lambda: running.left(process.pid))
        step = self._step = _Step(Replacement(old, process, progress), process, Deferred(), [])
        try:
            self._start(python, process, lock)
            return await step.replacement.run()
        except ReplacementFailed as error:
            _log.error("not replaced; this process goes on: {why}", why=str(error))
            raise
        except StateNotClosed as error:
            _log.critical("{parts} did not end; this process and its workers end", parts=str(error))
            leave(1)
            raise
        finally:
            self._step = None
            if running.is_serving:
                for slot in step.exited:
                    running.restart(slot)
            step.over.callback(None)

    def _start(self, python: Path, process: SuccessorProcess, lock: FolderLock) -> None:
        """:raise ReplacementFailed: the system cannot start it."""
        running, settings = self._running, self._running.settings
        clients, admin = running.sockets
        relays = [slot.relay.fileno() for slot in running.slots if slot.relay is not None]
        # By descriptor, not by number: the number of a process that has ended may name another one.
        processes = [os.pidfd_open(slot.pid) for slot in running.slots if slot.pid is not None]
        try:
            command, environment = self._launch.command(python), self._launch.environment
            listening = [each.fileno() for each in (*clients, *admin)]
            process.start(command, environment, lock.fileno(), [*listening, *relays, *processes])
        finally:
            for each in processes:
                os.close(each)
        urls = tuple(each.url for each in settings.listeners)
        admin_urls = (settings.admin.url,) if admin else ()
        orphans_s = settings.drain_s + GRACE_S
        process.say(
            Prepare(RELAY, os.getpid(), urls, admin_urls, self._launch.pid_file, len(relays), orphans_s)
        )

    def exited(self, slot: WorkerSlot, why: str) -> bool:
        """A worker has exited; return whether a replacement is going on. Then it is started again later, or never."""
        step = self._step
        if step is None:
            return False
        step.exited.append(slot)
        if not step.replacement.committed:
            step.process.fail(f"worker {slot.slot} of the running version exited {why}")
        return True

    async def give_up(self) -> None:
        """Give up a replacement that is going on: the workers serve as before."""
        step = self._step
        if step is not None:
            over: Deferred[None] = Deferred()
            step.over.addCallback(lambda _: over.callback(None))
            await step.process.end()
            await over

"""In a new supervisor: it takes over from an old proxy, with workers that are prepared before the old one closes."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from ..arrival.listeners import ListenerError
from ..process.channel import Channel
from ..replacement.inherited import Inherited
from ..replacement.relay_server import RelayServer
from .messages import OpenState, ServeClients
from .worker_slot import WorkerSlot

_log = Logger()


class WorkersHeir:
    """A supervisor with its workers that takes over (Heir).

    :param adopt: makes the slots, with what was inherited.
    :param serving: called once the workers serve, with the path of the pid file to write.
    """

    def __init__(
        self,
        adopt: Callable[[Inherited], Sequence[WorkerSlot]],
        serving: Callable[[str], None],
    ) -> None:
        self._adopt = adopt
        self._serving = serving
        self._slots: Sequence[WorkerSlot] = ()
        self._waiting: dict[int, Deferred[None]] = {}
        self._relays_on_channel = False

    async def prepare(self, inherited: Inherited, channel: Channel) -> None:
        """Start the workers; they build everything and open nothing.

        :raise SystemExit: a worker cannot be built, or a port cannot be bound; stderr says why.
        """
        try:
            slots = self._slots = self._adopt(inherited)
        except (CannotListenError, ListenerError) as error:
            print(f"hospproxy: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        relays = list(inherited.relays)
        if not relays:
            # A single process relays on its channel, which worker 0 gets after the last message of this process.
            self._relays_on_channel = True
            transport: Any = channel.transport
            relays = [socket.socket(fileno=os.dup(transport.fileno()))]
        try:
            for slot in slots:  # one after another: the first may make files that all need
                mine = [each for number, each in enumerate(relays) if number % len(slots) == slot.slot]
                waiting = self._wait(slot)
                slot.take_over(inherited.lifeline, mine)
                await waiting
        finally:
            for each in relays:
                each.close()

    async def open(self) -> None:
        """Open the state folder in all workers, in the first one before the others."""
        first, *others = self._slots
        await self._opened(first)
        await gatherResults([self._opened(slot) for slot in others])

    def serve(self, channel: Channel, pid_file: str) -> RelayServer | None:
        """Let the workers serve; with a single old process, worker 0 goes on with the channel."""
        if self._relays_on_channel:
            transport: Any = channel.transport
            transport.stopReading()
            transport._shouldShutdown = False  # it would end the socket for worker 0 too
            channel.close()
        for slot in self._slots:
            slot.say(ServeClients())
        self._serving(pid_file)
        return None

    def _opened(self, slot: WorkerSlot) -> Deferred[None]:
        waiting = self._wait(slot)
        slot.say(OpenState())
        return waiting

    def _wait(self, slot: WorkerSlot) -> Deferred[None]:
        waiting = self._waiting[slot.slot] = Deferred()
        return waiting

    def done(self, slot: WorkerSlot) -> None:
        """A worker has done what was asked: it is prepared, or has opened the state folder."""
        waiting = self._waiting.pop(slot.slot, None)
        if waiting is not None:
            waiting.callback(None)

    def reason(self, slot: WorkerSlot, why: str) -> str:
        """Say why this process must end: a worker has exited before all of them serve, and the old proxy goes on."""
        said = slot.last_line.removeprefix("hospproxy: ")
        return f"worker {slot.slot} exited {why}{': ' if said else ''}{said}"

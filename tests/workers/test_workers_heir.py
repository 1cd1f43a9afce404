"""A new supervisor with its workers: prepared before the old proxy closes, and ended by the death of one of them."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.replacement.inherited import Inherited
from hospproxy.workers.messages import OpenState, ServeClients
from hospproxy.workers.workers_heir import WorkersHeir


class FakeSlot:
    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.last_line = ""
        self.given: list[tuple[int, int]] | None = None
        self.said: list[Any] = []

    def take_over(self, lifeline: int, relays: list[socket.socket]) -> None:
        self.lifeline = lifeline
        self.given = [(os.fstat(each.fileno()).st_dev, os.fstat(each.fileno()).st_ino) for each in relays]

    def say(self, message: Any) -> None:
        self.said.append(message)


class FakeTransport:
    """The old process's channel."""

    def __init__(self, taken: socket.socket) -> None:
        self.taken, self.reads, self._shouldShutdown = taken, True, True

    def fileno(self) -> int:
        return self.taken.fileno()

    def stopReading(self) -> None:
        self.reads = False


class FakeChannel:
    closed = False

    def __init__(self, taken: socket.socket) -> None:
        self.transport = FakeTransport(taken)

    def close(self) -> None:
        self.closed = True


def named(taken: socket.socket) -> tuple[int, int]:
    status = os.fstat(taken.fileno())
    return status.st_dev, status.st_ino


class WorkersHeirTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.slots = [FakeSlot(0), FakeSlot(1)]
        self.served: list[str] = []
        self.trouble: Exception | None = None
        self.heir = WorkersHeir(self.adopt, self.served.append)
        self.ours, theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(theirs.close)
        self.channel: Any = FakeChannel(self.ours)

    def adopt(self, inherited: Inherited) -> Any:
        if self.trouble is not None:
            raise self.trouble
        return self.slots

    def prepare(self, *relays: socket.socket) -> Deferred[None]:
        lock: Any = None
        inherited = Inherited(lock, (), (), relays, (), 77)
        return Deferred.fromCoroutine(self.heir.prepare(inherited, self.channel))

    def relays(self, number: int) -> list[socket.socket]:
        made = [socket.socket() for _ in range(number)]
        for each in made:
            self.addCleanup(each.close)
        return made

    def prepared(self, *relays: socket.socket) -> None:
        preparing = self.prepare(*relays)
        for slot in self.slots:
            self.heir.done(slot)  # type: ignore[arg-type]
        self.successResultOf(preparing)

    def test_the_first_is_prepared_before_the_second_begins(self) -> None:
        preparing = self.prepare(*self.relays(2))
        self.assertIsNotNone(self.slots[0].given)
        self.assertIsNone(self.slots[1].given)
        self.heir.done(self.slots[0])  # type: ignore[arg-type]
        self.assertNoResult(preparing)
        self.heir.done(self.slots[1])  # type: ignore[arg-type]
        self.successResultOf(preparing)
        self.assertEqual([slot.lifeline for slot in self.slots], [77, 77])

    def test_every_old_worker_has_one_that_responds(self) -> None:
        relays = self.relays(3)
        names = [named(each) for each in relays]
        self.prepared(*relays)
        self.assertEqual([slot.given for slot in self.slots], [[names[0], names[2]], [names[1]]])
        self.assertEqual(
            [each.fileno() for each in relays], [-1] * 3
        )  # or the old one would not see their end

    def test_a_single_old_process_is_left_to_the_first_worker(self) -> None:
        self.prepared()
        self.assertEqual([slot.given for slot in self.slots], [[named(self.ours)], []])
        self.assertIsNone(self.heir.serve(self.channel, "/run/pid"))
        transport = self.channel.transport
        self.assertEqual(
            (transport.reads, transport._shouldShutdown, self.channel.closed), (False, False, True)
        )

    def test_the_channel_stays_if_the_old_workers_have_relays(self) -> None:
        self.prepared(*self.relays(1))
        self.heir.serve(self.channel, "")
        self.assertEqual((self.channel.transport.reads, self.channel.closed), (True, False))

    def test_the_folder_is_opened_by_the_first_and_then_by_all(self) -> None:
        self.prepared(*self.relays(2))
        opening = Deferred.fromCoroutine(self.heir.open())
        self.assertEqual([slot.said for slot in self.slots], [[OpenState()], []])
        self.heir.done(self.slots[0])  # type: ignore[arg-type]
        self.assertEqual(self.slots[1].said, [OpenState()])
        self.assertNoResult(opening)
        self.heir.done(self.slots[1])  # type: ignore[arg-type]
        self.successResultOf(opening)
        self.assertEqual(self.served, [])
        self.heir.serve(self.channel, "/run/pid")
        self.assertEqual([slot.said[-1] for slot in self.slots], [ServeClients()] * 2)
        self.assertEqual(self.served, ["/run/pid"])

    def test_a_worker_that_exits_is_the_reason_with_its_last_line(self) -> None:
        slot: Any = self.slots[1]
        self.assertEqual(self.heir.reason(slot, "by signal 9"), "worker 1 exited by signal 9")
        slot.last_line = "hospproxy: no key"
        self.assertEqual(self.heir.reason(slot, "with status 1"), "worker 1 exited with status 1: no key")

    def test_a_port_that_is_taken(self) -> None:
        self.trouble, said = CannotListenError("127.0.0.1", 1, OSError("taken")), StringIO()
        with redirect_stderr(said):
            self.failureResultOf(self.prepare(), SystemExit)
            self.assertIs(sys.stderr, said)
        self.assertIn("127.0.0.1:1", said.getvalue())

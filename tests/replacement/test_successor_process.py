"""The successor's process, as the running one sees it."""

from __future__ import annotations

import os
import socket
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.control.owner import ReplacementFailed
from hospproxy.replacement.hold import StateNotClosed
from hospproxy.replacement.messages import NoResponse, Prepared, RelayedResponse, Serving, TakeOver
from hospproxy.replacement.successor_process import (
    CHANNEL_FD,
    ERRORS_FD,
    FIRST_SOCKET_FD,
    GONE_S,
    LIFELINE_FD,
    LOCK_FD,
    SuccessorProcess,
)


class FakeReactor(Clock):
    """Starts nothing, and notes what it was to start."""

    trouble: OSError | None = None
    killed = 0

    def spawnProcess(self, process: Any, program: str, arguments: list[str], **more: Any) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.process, self.program, self.more = process, program, more
        self.lifeline = os.dup(more["childFDs"][LIFELINE_FD])
        process.transport = self

    pid = 4711

    def signalProcess(self, name: str) -> None:
        assert name == "KILL"
        self.killed += 1

    def adoptStreamConnection(self, number: int, family: int, factory: Any) -> None:
        self.channel = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)


class ProcessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.relayed: list[Any] = []
        self.lost = 0
        self.process = SuccessorProcess(self.reactor, self.relayed.append, self.losing)
        self.listening = socket.socket()
        self.addCleanup(self.listening.close)

    def losing(self) -> None:
        self.lost += 1

    def start(self) -> None:
        self.process.start(["/v/bin/python", "-P"], {"KEY": "secret"}, 99, [self.listening.fileno()])

    def say(self, message: Any) -> None:
        content = msgspec.msgpack.encode(message)
        self.reactor.channel.dataReceived(len(content).to_bytes(4, "big") + content)

    def exits(self, reason: Exception) -> None:
        os.close(self.reactor.lifeline)
        self.reactor.process.processEnded(Failure(reason))

    def prepared(self) -> Deferred[str]:
        return Deferred.fromCoroutine(self.process.prepared(10.0))

    def test_it_inherits_channel_lock_errors_and_sockets(self) -> None:
        self.start()
        given = self.reactor.more["childFDs"]
        self.assertEqual((given[1], given[2], given[LOCK_FD], given[ERRORS_FD]), (1, "r", 99, 2))
        self.assertEqual(given[FIRST_SOCKET_FD], self.listening.fileno())
        self.assertIn(CHANNEL_FD, given)
        self.assertIn(LIFELINE_FD, given)
        self.assertEqual(self.reactor.more["env"], {"KEY": "secret"})
        self.assertEqual(self.process.pid, 4711)

    def test_one_that_cannot_be_started(self) -> None:
        self.reactor.trouble = OSError(8, "Exec format error")
        error = self.assertRaises(ReplacementFailed, self.start)
        self.assertEqual(str(error), "/v/bin/python cannot be started: Exec format error")
        self.assertIsNone(self.process.pid)

    def test_what_it_says_is_waited_for(self) -> None:
        self.start()
        waiting = self.prepared()
        self.assertNoResult(waiting)
        self.say(Prepared("2.0"))
        self.assertEqual(self.successResultOf(waiting), "2.0")
        self.say(Serving())  # before it is waited for
        self.successResultOf(Deferred.fromCoroutine(self.process.serving(10.0)))

    def test_one_that_hangs(self) -> None:
        self.start()
        waiting = self.prepared()
        self.reactor.advance(10.0)
        error = self.failureResultOf(waiting, ReplacementFailed).value
        self.assertEqual(str(error), "the new process was not prepared within 10 s")

    def test_one_that_exits_names_its_last_line(self) -> None:
        self.start()
        waiting = self.prepared()
        said = b"hospproxy: the ledger is newer\nhospproxy: warning: something\n"
        self.reactor.process.childDataReceived(2, said)
        self.exits(ProcessTerminated(1))
        error = self.failureResultOf(waiting, ReplacementFailed).value
        self.assertEqual(str(error), "the new process exited with status 1: the ledger is newer")
        self.failureResultOf(self.prepared(), ReplacementFailed)  # later, too

    def test_its_death_is_awaited(self) -> None:
        self.start()
        ended = Deferred.fromCoroutine(self.process.end())
        self.assertEqual(self.reactor.killed, 1)
        self.assertNoResult(ended)
        self.exits(ProcessDone(0))
        self.successResultOf(ended)
        self.successResultOf(Deferred.fromCoroutine(self.process.end()))

    def test_responses_are_passed_on_and_the_end_of_the_channel_is_told(self) -> None:
        self.start()
        response = RelayedResponse(1, 200, (), b"", False)
        self.say(response)
        self.say(NoResponse(2))
        self.assertEqual(self.relayed, [response, NoResponse(2)])
        self.process.say(TakeOver())
        self.assertIn(b"take over", self.reactor.transport.value())
        self.reactor.channel.connectionLost()
        self.assertEqual(self.lost, 1)
        self.process.say(TakeOver())  # does nothing

    def test_its_workers_are_gone_before_the_folder_is_used_again(self) -> None:
        self.start()
        held = os.dup(self.reactor.lifeline)
        ended = Deferred.fromCoroutine(self.process.end())
        self.exits(ProcessTerminated(None, 9))
        self.reactor.advance(1.0)
        self.assertNoResult(ended)  # a worker of it still has the pipe
        os.close(held)
        self.reactor.advance(1.0)
        self.successResultOf(ended)

    def test_workers_that_do_not_end_keep_the_folder(self) -> None:
        self.start()
        held = os.dup(self.reactor.lifeline)
        self.addCleanup(os.close, held)
        ended = Deferred.fromCoroutine(self.process.end())
        self.exits(ProcessTerminated(None, 9))
        self.reactor.pump([1.0] * round(GONE_S + 1))
        self.failureResultOf(ended, StateNotClosed)

    def test_the_reason_of_a_failure_elsewhere(self) -> None:
        self.start()
        waiting = self.prepared()
        self.process.fail("worker 1 exited by signal 9")
        self.assertEqual(
            str(self.failureResultOf(waiting, ReplacementFailed).value), "worker 1 exited by signal 9"
        )

    def test_no_descriptor_is_left_open_if_it_cannot_be_started(self) -> None:
        before = os.listdir("/proc/self/fd")
        self.test_one_that_cannot_be_started()
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_no_descriptor_is_left_open(self) -> None:
        before = os.listdir("/proc/self/fd")
        self.start()
        ended = Deferred.fromCoroutine(self.process.end())
        self.exits(ProcessDone(0))
        self.successResultOf(ended)
        self.assertEqual(os.listdir("/proc/self/fd"), before)

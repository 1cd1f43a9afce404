"""One connection of the control socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.control.command import Arguments, Command, Progress, Result
from hospproxy.control.control_server import ControlConnection, ControlServer
from hospproxy.control.messages import MOST_REQUEST, MOST_RESPONSE, REQUEST_S, ControlError
from hospproxy.control.owner import Owner
from hospproxy.record.admin_events import Operator

from .test_commands import ANN


class Transport(StringTransportWithDisconnection):
    def abortConnection(self) -> None:
        self.loseConnection()


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting: Deferred[Result] = Deferred()
        commands = [
            Command(name="echo", summary="", run=self.echo, show=list),
            Command(name="change", summary="", run=self.change, show=list, alone=True),
            Command(name="fail", summary="", run=self.fail_, show=list),
        ]
        self.owner: Any = mock.Mock()
        self.server = ControlServer(
            self.clock, Path("/nowhere"), self.owner, {each.name: each for each in commands}
        )

    async def echo(
        self, owner: Owner, arguments: Arguments, progress: Progress, operator: Operator
    ) -> Result:
        self.assertIs(owner, self.owner)
        self.assertEqual(operator, ANN)
        progress("it begins")
        return {"arguments": arguments}

    async def change(
        self, _owner: Owner, _arguments: Arguments, _progress: Progress, _by: Operator
    ) -> Result:
        return await self.waiting

    async def fail_(self, _owner: Owner, arguments: Arguments, _progress: Progress, _by: Operator) -> Result:
        if arguments.get("unexpected"):
            raise ZeroDivisionError
        raise ControlError("first", "second")

    def connect(self) -> Transport:
        connection = ControlConnection(self.clock, self.server, ANN)
        transport = Transport()
        transport.protocol = connection
        connection.makeConnection(transport)
        return transport

    def ask(self, line: bytes) -> list[dict[str, Any]]:
        transport = self.connect()
        transport.protocol.dataReceived(line)
        self.assertFalse(transport.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return [json.loads(each) for each in transport.value().splitlines()]

    def command(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        return self.ask(json.dumps({"command": name, "arguments": arguments}).encode() + b"\n")


class ConnectionTests(Case):
    def test_progress_comes_before_the_result(self) -> None:
        self.assertEqual(
            self.command("echo", a=1), [{"progress": "it begins"}, {"result": {"arguments": {"a": 1}}}]
        )

    def test_what_it_refuses(self) -> None:
        for line in (b"\n", b"[]\n", b'{"command": 5}\n', b'{"command": "echo", "x": 1}\n', b"\xff\n"):
            [response] = self.ask(line)
            self.assertIn("cannot be read", response["error"][0])
        [response] = self.command("reboot")
        self.assertEqual(
            response["error"], ["the running proxy knows no command 'reboot'; it knows echo, change, fail"]
        )
        [response] = self.ask(b"x" * (MOST_REQUEST + 1))
        self.assertIn("longer than", response["error"][0])

    def test_a_failure_is_worded(self) -> None:
        self.assertEqual(self.command("fail"), [{"error": ["first", "second"]}])

    def test_an_unexpected_failure_is_logged_too(self) -> None:
        [response] = self.command("fail", unexpected=True)
        self.assertIn("ZeroDivisionError", response["error"][0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_change_at_a_time(self) -> None:
        first = self.connect()
        first.protocol.dataReceived(b'{"command": "change"}\n')
        self.assertEqual(
            self.command("change"), [{"error": ["change is still running; try again when it has ended"]}]
        )
        self.assertEqual(len(self.command("echo")), 2)
        self.waiting.callback({"done": True})
        self.assertEqual(first.value(), b'{"result":{"done":true}}\n')
        self.waiting = Deferred()
        self.waiting.callback({})
        self.assertEqual(self.command("change"), [{"result": {}}])

    def test_a_change_goes_on_without_its_client(self) -> None:
        first = self.connect()
        first.protocol.dataReceived(b'{"command": "change"}\n')
        first.loseConnection()
        self.assertIn("still running", self.command("change")[0]["error"][0])
        self.waiting.callback({})
        self.assertEqual(first.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_process_that_leaves_waits_for_the_response(self) -> None:
        first = self.connect()
        first.protocol.dataReceived(b'{"command": "change"}\n')
        over = Deferred.fromCoroutine(self.server.responded())
        self.clock.advance(5.0)
        self.assertNoResult(over)
        self.waiting.callback({"done": True})
        self.clock.advance(1.0)
        self.successResultOf(over)
        self.assertEqual(first.value(), b'{"result":{"done":true}}\n')

    def test_a_process_that_has_left_begins_no_command(self) -> None:
        """It would say of itself that it serves, or change the options of a state folder that is another's."""
        first, late = self.connect(), self.connect()
        first.protocol.dataReceived(b'{"command": "change"}\n')
        self.server.leave()
        self.waiting.callback({"done": True})
        self.assertEqual(first.value(), b'{"result":{"done":true}}\n')
        for command in (b"echo", b"change"):
            late.protocol.dataReceived(b'{"command": "%b"}\n' % command)
            self.assertEqual(late.value(), b'{"error":["the proxy has just been replaced; try again"]}\n')
            late = self.connect()

    def test_a_client_that_asks_nothing_is_closed(self) -> None:
        transport = self.connect()
        self.clock.advance(REQUEST_S - 0.1)
        self.assertTrue(transport.connected)
        self.clock.advance(0.2)
        self.assertFalse(transport.connected)

    def test_a_response_has_a_limit(self) -> None:
        self.echo = mock.AsyncMock(return_value={"x": "y" * MOST_RESPONSE})  # type: ignore[method-assign]
        self.server._commands["echo"] = Command(name="echo", summary="", run=self.echo, show=list)  # type: ignore[index]
        self.assertEqual(self.command("echo"), [{"error": ["the response is too long"]}])

    def test_a_stop_closes_all(self) -> None:
        first = self.connect()
        self.server.stop()
        self.assertFalse(first.connected)

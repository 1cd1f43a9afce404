"""People and their devices: who they are, which password they believe in, how they send requests and wait."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from ..history import Asked, Broke, History, Told
from . import connection
from .connection import Answered, Dialling, Line, Lost, request_bytes

PATIENCE_S = 45.0
"""A device gives up after so long without a whole response: long after the proxy's deadline."""


@frozen
class Wish:
    """One request that somebody wants to make.

    :param key: its Idempotency-Key.
    :param leave_after_s: reset the connection so long after sending.
    :param held: its body is sent only after a 100 (Continue).
    :param name, password: credentials to send instead of the person's own.
    """

    method: str
    target: str
    body: Any = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    leave_after_s: float | None = None
    name: str | None = None
    password: str | None = None
    fresh_line: bool = False
    held: bool = False


@define
class Person:
    """A member of staff, or somebody who poses as one.

    :param id: of the staff record.
    :param password: what the person believes to be the current password.
    :param old: passwords that were replaced, oldest first.
    """

    name: str
    id: int
    password: str
    hospital: int = 1
    old: list[str] = field(factory=list)
    lines: dict[str, Line] = field(factory=dict)


class Hospital:
    """The world as clients see it: a reactor, the addresses of the proxy, and the history that they write.

    :param houses: addresses at which the proxy listens.
    :param host: value of the Host field.
    """

    def __init__(
        self, reactor: Any, history: History, houses: list[str], stream: Callable[[str], random.Random],
        host: str = "hosp.example",
    ) -> None:  # fmt: skip
        self.reactor = reactor
        self.history = history
        self.houses = houses
        self.stream = stream
        self.host = host
        self.people: dict[str, Person] = {}
        self.seen: dict[str, list[int]] = {}
        """Ids that people have learnt, by intent: an errand may use what another has created."""
        self._count = 0

    def sleep(self, seconds: float) -> Deferred[None]:
        """Wait in virtual time."""
        over: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, over.callback, None)
        return over

    async def ask(self, person: Person, wish: Wish, intent: str, house: str) -> Told | Broke:
        """Send one request and wait for its result; both go into the history."""
        line, kept = await self._line(person, house, wish.fresh_line)
        asked = self._asked(person, wish, intent, house, kept)
        self.history.add(asked)
        if line is None:
            return self._broke(asked.op, Lost("refused"))
        raw = request_bytes(
            wish.method,
            wish.target,
            self.host,
            asked.name,
            asked.password,
            wish.body,
            wish.key,
            asked.headers,
        )
        waiting = line.send(wish.method, raw, held=wish.held)
        reason: list[str] = []
        left = wish.leave_after_s
        patience = PATIENCE_S if left is None else left
        word = "patience" if left is None else "left"
        timer = self.reactor.callLater(patience, self._leave, line, reason, word)
        result = await waiting
        if timer.active():
            timer.cancel()
        self._put_back(person, house, line, wish.fresh_line)
        if isinstance(result, Answered):
            return self._told(asked.op, result)
        return self._broke(asked.op, Lost(reason[0]) if reason else result)

    def _asked(self, person: Person, wish: Wish, intent: str, house: str, kept: bool) -> Asked:
        self._count += 1
        name = person.name if wish.name is None else wish.name
        password = person.password if wish.password is None else wish.password
        # The proxy trusts this field from its trusted proxies, so each request can be found at HOSP and in the trail.
        headers = (("X-Request-Id", f"sim-{self._count}"), *wish.headers)
        return Asked(
            self.reactor.seconds(), self._count, intent, person.name, name, password, wish.method, wish.target,
            wish.body, wish.key, headers, house, kept,
        )  # fmt: skip

    def _told(self, op: int, answer: Answered) -> Told:
        told = Told(self.reactor.seconds(), op, answer.status, answer.headers, answer.body)
        self.history.add(told)
        return told

    def _broke(self, op: int, lost: Lost) -> Broke:
        request_id = lost.headers.get("x-request-id", "")
        broke = Broke(self.reactor.seconds(), op, lost.why, lost.status, request_id)
        self.history.add(broke)
        return broke

    @staticmethod
    def _leave(line: Line, reason: list[str], word: str) -> None:
        reason.append(word)
        line.leave()

    async def _line(self, person: Person, house: str, fresh: bool) -> tuple[Line | None, bool]:
        kept = None if fresh else person.lines.pop(house, None)
        if kept is not None and kept.open:
            return kept, True
        dialling = Dialling()
        self.reactor.connectTCP(house, connection.PORT, dialling, timeout=5)
        return await dialling.line, False

    @staticmethod
    def _put_back(person: Person, house: str, line: Line, fresh: bool) -> None:
        if not line.open:
            return
        if fresh or house in person.lines:
            line.leave() if fresh else line.transport.loseConnection()  # type: ignore[union-attr]
            line.open = False
        else:
            person.lines[house] = line

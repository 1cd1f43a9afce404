"""The rules of the queue before HOSP, apart from time and I/O: who gets a place, who waits, who is turned away.

A lower Priority has a head start, and within one whoever came first goes first. It is a head start and no more: where
writes always went first, a surge of notes (they take a place each, while most reads are answered from memory) kept the
remaining reads waiting until their deadline, though HOSP was never behind by more than a few seconds.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict

from attrs import define

from ..messages import Priority

HEAD_START_S = {Priority.WRITE: 0.0, Priority.READ: 5.0, Priority.REFRESH: 15.0}
"""By how many seconds one of the highest priority may come later and still go first. Well below the 28 s that a client
waits, so that nobody is turned away for the sake of those who came long after."""


class Standing(enum.Enum):
    """Where a ticket is."""

    NEW = "new"
    WAITING = "waiting"
    IN = "in"
    OUT = "out"


class Refusal(enum.Enum):
    """Why a ticket gets no place."""

    FULL = "full"
    PUSHED_OUT = "pushed_out"
    DEADLINE = "deadline"


@define(eq=False, slots=True)
class Ticket:
    """One that wants a place.

    :param deadline: monotonic seconds from which a place is of no use.
    :param turn: the lowest goes first: monotonic seconds at which it came, and the head start of others.
    """

    priority: Priority
    deadline: float
    turn: float = 0.0
    standing: Standing = Standing.NEW


class Queue:
    """Places and those who wait for one. Every operation takes constant time.

    :param limit: places at HOSP.
    :param max_waiting: the most that may wait.
    """

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.limit = limit
        self.max_waiting = max_waiting
        self.in_flight = 0
        self._lines: dict[Priority, OrderedDict[Ticket, None]] = {
            priority: OrderedDict() for priority in sorted(Priority)
        }

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    def ahead_of(self, priority: Priority) -> int:
        """How many wait that go before a newcomer, as a rule."""
        return sum(len(line) for other, line in self._lines.items() if other <= priority)

    def enter(self, ticket: Ticket, now: float) -> tuple[Refusal | None, Ticket | None]:
        """A newcomer: afterwards it is in, waiting or out.

        When all may wait no longer, a newcomer pushes out the youngest of those with the least priority, if that is
        less than its own: a read can be answered from memory or asked again, a write has somebody's work in it, and the
        youngest has lost the least by waiting.

        :return: why it was refused, and the ticket that it pushed out.
        """
        pushed_out = None
        if ticket.deadline <= now:
            ticket.standing = Standing.OUT
            return Refusal.DEADLINE, None
        if self.in_flight < self.limit and not self.waiting:
            self._admit(ticket)
            return None, None
        if self.waiting >= self.max_waiting:
            pushed_out = self._youngest_below(ticket.priority)
            if pushed_out is None:
                ticket.standing = Standing.OUT
                return Refusal.FULL, None
            self.leave(pushed_out)
        ticket.turn = now + HEAD_START_S[ticket.priority]
        self._lines[ticket.priority][ticket] = None
        ticket.standing = Standing.WAITING
        return None, pushed_out

    def leave(self, ticket: Ticket) -> None:
        """Gives its place back, or waits no longer; for one that is out already nothing happens."""
        if ticket.standing is Standing.IN:
            self.in_flight -= 1
        elif ticket.standing is Standing.WAITING:
            del self._lines[ticket.priority][ticket]
        ticket.standing = Standing.OUT

    def next(self, now: float) -> Ticket | None:
        """Who is next, while a place is free: it is in, or out if its deadline passed while it waited."""
        if self.in_flight >= self.limit:
            return None
        firsts = [next(iter(line)) for line in self._lines.values() if line]
        if not firsts:
            return None
        ticket = min(firsts, key=lambda first: first.turn)
        del self._lines[ticket.priority][ticket]
        if ticket.deadline <= now:
            ticket.standing = Standing.OUT
        else:
            self._admit(ticket)
        return ticket

    def _admit(self, ticket: Ticket) -> None:
        self.in_flight += 1
        ticket.standing = Standing.IN

    def _youngest_below(self, priority: Priority) -> Ticket | None:
        for other in reversed(self._lines):
            if other <= priority:
                return None
            if line := self._lines[other]:
                return next(reversed(line))
        return None


class ServiceTime:
    """What a place is held for on average, weighted towards the latest.

    :param first_s: seconds to believe before there was any.
    """

    _WEIGHT = 0.1

    def __init__(self, first_s: float = 4.5) -> None:
        self.mean_s = first_s

    def learn(self, seconds: float) -> None:
        """A place was held for so long."""
        self.mean_s += self._WEIGHT * (seconds - self.mean_s)

    def retry_after_s(self, ahead: int, limit: int) -> int:
        """When another try may find a place: seconds for those ahead to go through, from 1 to 30.

        :param ahead: how many wait before it.
        :param limit: places.
        """
        return max(1, min(30, math.ceil(self.mean_s * (ahead + 1) / limit)))

"""The rules of the queue before HOSP, apart from time and I/O: who gets a place, who waits, who is turned away.

A lower Priority has a head start, and within one those with different credentials take turns. It is a head start and no
more: where writes always went first, a surge of notes (they take a place each, while most reads are answered from
memory) kept the remaining reads waiting until their deadline, though HOSP was never behind by more than a few seconds.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field

from ...messages import Priority

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
    IN_VAIN = "in_vain"


@define(eq=False, slots=True)
class Ticket:
    """One that wants a place.

    :param deadline: monotonic seconds from which a place is of no use.
    :param whose: the credentials that it comes with; those that come with none are one.
    :param turn: the lowest goes first: monotonic seconds at which it came, and the head start of others.
    """

    priority: Priority
    deadline: float
    whose: bytes | None = field(default=None, repr=False)
    turn: float = 0.0
    standing: Standing = Standing.NEW


class Line:
    """Those of one priority: each one's own in the order in which they came, and everyone in turn."""

    def __init__(self) -> None:
        self._by_age: OrderedDict[Ticket, None] = OrderedDict()
        self._in_turn: OrderedDict[bytes | None, OrderedDict[Ticket, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_age)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._by_age)

    @property
    def oldest(self) -> Ticket:
        """Who came first of all."""
        return next(iter(self._by_age))

    def add(self, ticket: Ticket) -> None:
        """A newcomer, behind all of its own; new ones wait for their turn behind everyone."""
        self._by_age[ticket] = None
        self._in_turn.setdefault(ticket.whose, OrderedDict())[ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """One that waits no longer."""
        del self._by_age[ticket]
        own = self._in_turn[ticket.whose]
        del own[ticket]
        if not own:
            del self._in_turn[ticket.whose]

    def take(self) -> Ticket:
        """Who is next; the turn then goes to the next one's."""
        whose, own = next(iter(self._in_turn.items()))
        ticket = next(iter(own))
        self.remove(ticket)
        if whose in self._in_turn:
            self._in_turn.move_to_end(whose)
        return ticket

    def ahead(self, whose: bytes | None) -> int:
        """How many go before one that these credentials would add.

        Everyone has a turn before it for each of its own, as far as they wait. Those who have half as many waiting are
        taken to go on asking, so that they use all of their turns.
        """
        rounds = self.of(whose) + 1
        others = (len(own) for other, own in self._in_turn.items() if other != whose)
        return rounds - 1 + sum(rounds if 2 * waiting >= rounds else waiting for waiting in others)

    def of(self, whose: bytes | None) -> int:
        """How many wait with these credentials."""
        return len(self._in_turn.get(whose, ()))

    def youngest_of_most(self) -> Ticket:
        """The youngest of whoever has most waiting here."""
        whose = max(self._in_turn, key=self.of)
        return next(reversed(self._in_turn[whose]))


class Queue:
    """Places and those who wait for one.

    Every operation takes constant time, but for what is asked when there is a queue: its cost grows with its length,
    which is bounded.

    :param limit: places at HOSP; it may be changed, and whoever is in then stays in.
    :param max_waiting: the most that may wait.
    """

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.limit = limit
        self.max_waiting = max_waiting
        self.in_flight = 0
        self._lines: dict[Priority, Line] = {priority: Line() for priority in sorted(Priority)}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    @property
    def full(self) -> bool:
        """Whether a newcomer would have to wait."""
        return self.in_flight >= self.limit or self.waiting > 0

    def all_waiting(self) -> list[Ticket]:
        """Everyone who waits."""
        return [ticket for line in self._lines.values() for ticket in line]

    def ahead_of(self, ticket: Ticket, now: float) -> int:
        """How many that wait now would go before a newcomer."""
        turn, before = now + HEAD_START_S[ticket.priority], 0
        for priority, line in self._lines.items():
            if priority == ticket.priority:
                before += line.ahead(ticket.whose)
            else:
                before += sum(1 for other in line if other.turn <= turn)
        return before

    def overtaken_s(self, ticket: Ticket) -> float:
        """For how many seconds of the wait those may have the places who come later and are more urgent.

        As a rule that such come is taken from such being there.
        """
        urgent = [priority for priority, line in self._lines.items() if line and priority < ticket.priority]
        return HEAD_START_S[ticket.priority] - HEAD_START_S[min(urgent)] if urgent else 0.0

    def enter(self, ticket: Ticket, now: float) -> tuple[Refusal | None, Ticket | None]:
        """A newcomer: afterwards it is in, waiting or out.

        When all may wait no longer, a newcomer pushes out one of those with the least priority, if that is less than
        its own: a read can be answered from memory or asked again, a write has somebody's work in it. Among its equals
        it pushes out one of whoever has most waiting, if those are more than its own. It is always the youngest, which
        has lost the least by waiting.

        :return: why it was refused, and the ticket that it pushed out.
        """
        pushed_out = None
        if ticket.deadline <= now:
            ticket.standing = Standing.OUT
            return Refusal.DEADLINE, None
        if not self.full:
            self.admit(ticket)
            return None, None
        if self.waiting >= self.max_waiting:
            pushed_out = self._gives_way_to(ticket)
            if pushed_out is None:
                ticket.standing = Standing.OUT
                return Refusal.FULL, None
            self.leave(pushed_out)
        ticket.turn = now + HEAD_START_S[ticket.priority]
        self._lines[ticket.priority].add(ticket)
        ticket.standing = Standing.WAITING
        return None, pushed_out

    def leave(self, ticket: Ticket) -> None:
        """Gives its place back, or waits no longer; for one that is out already nothing happens."""
        if ticket.standing is Standing.IN:
            self.in_flight -= 1
        elif ticket.standing is Standing.WAITING:
            self._lines[ticket.priority].remove(ticket)
        ticket.standing = Standing.OUT

    def next(self, now: float) -> Ticket | None:
        """Who is next, while a place is free: it is in, or out if its deadline passed while it waited."""
        if self.in_flight >= self.limit:
            return None
        lines = [line for line in self._lines.values() if line]
        if not lines:
            return None
        ticket = min(lines, key=lambda line: line.oldest.turn).take()
        if ticket.deadline <= now:
            ticket.standing = Standing.OUT
        else:
            self.admit(ticket)
        return ticket

    def admit(self, ticket: Ticket) -> None:
        """Give it a place, whoever waits."""
        self.in_flight += 1
        ticket.standing = Standing.IN

    def _gives_way_to(self, ticket: Ticket) -> Ticket | None:
        for priority in reversed(self._lines):
            line = self._lines[priority]
            if priority < ticket.priority or not line:
                continue
            other = line.youngest_of_most()
            fairer = line.of(other.whose) > line.of(ticket.whose) + 1
            return other if priority > ticket.priority or fairer else None
        return None

"""Rules of the queue before HOSP: which request gets a slot, which waits, which is refused. Pure.

A higher priority (a lower ``Priority`` value) has a head start, and within one priority, different credentials take
turns. It is only a head start: when writes always went first, a surge of notes kept the remaining reads waiting until
their deadline, though HOSP was never more than a few seconds behind. (Each note takes a slot, while most reads are
served from memory.)

During a surge, usual requests go before the surplus (``surge_share.py``). Outside of a surge nothing is surplus.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field

from ...http.messages import Priority
from .surge_share import SurgeShare

HEAD_START_S = {Priority.WRITE: 0.0, Priority.READ: 5.0, Priority.REFRESH: 15.0}
"""Head start in seconds: a request of the highest priority may arrive this much later than the others and still go
first. Well below the 28 s that a client waits, so no request is refused in favour of requests that came long after it.
"""


USUAL_OF = 4
"""Of so many slots that are given while both wait, one goes to the surplus: it is slow, but never starved."""


class TicketState(enum.Enum):
    """The state of a ticket: not yet entered, in the queue, holding a slot, or done."""

    NEW = "new"
    WAITING = "waiting"
    IN = "in"
    OUT = "out"


class SlotRefusal(enum.Enum):
    """Why a request gets no slot. The values are labels of a metric."""

    FULL = "full"
    PUSHED_OUT = "pushed_out"
    DEADLINE = "deadline"
    IN_VAIN = "in_vain"


@define(eq=False, slots=True)
class Ticket:
    """A request that wants a slot.

    :param deadline: monotonic seconds from which a slot is of no use.
    :param whose: the request's credentials. All requests without credentials count as one principal.
    :param turn: the lowest goes first: arrival in monotonic seconds plus the head start of higher priorities.
    :param surplus: it belongs to a surge.
    """

    priority: Priority
    deadline: float
    whose: bytes | None = field(default=None, repr=False)
    turn: float = 0.0
    standing: TicketState = TicketState.NEW
    surplus: bool = False


class FairQueue:
    """The queue of one priority, with fair turns between credentials.

    Requests with the same credentials stay in order of arrival; different credentials take turns.
    """

    def __init__(self) -> None:
        self._by_age: OrderedDict[Ticket, None] = OrderedDict()
        self._in_turn: OrderedDict[bytes | None, OrderedDict[Ticket, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_age)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._by_age)

    @property
    def oldest(self) -> Ticket:
        """The ticket that arrived first, whatever its credentials."""
        return next(iter(self._by_age))

    def add(self, ticket: Ticket) -> None:
        """Append a ticket behind the others with its credentials. Credentials new here get their turn last."""
        self._by_age[ticket] = None
        self._in_turn.setdefault(ticket.whose, OrderedDict())[ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """Remove a ticket that no longer waits."""
        del self._by_age[ticket]
        own = self._in_turn[ticket.whose]
        del own[ticket]
        if not own:
            del self._in_turn[ticket.whose]

    def take(self) -> Ticket:
        """Remove and return the next ticket. The turn then passes to the next credentials."""
        whose, own = next(iter(self._in_turn.items()))
        ticket = next(iter(own))
        self.remove(ticket)
        if whose in self._in_turn:
            self._in_turn.move_to_end(whose)
        return ticket

    def ahead(self, whose: bytes | None) -> int:
        """How many tickets would go before a new one with these credentials.

        The other credentials get one turn before each of this principal's tickets, as long as they have tickets
        waiting. If they have at least half as many waiting, the estimate assumes that they keep sending and use all of
        their turns.
        """
        rounds = self.of(whose) + 1
        others = (len(own) for other, own in self._in_turn.items() if other != whose)
        return rounds - 1 + sum(rounds if 2 * waiting >= rounds else waiting for waiting in others)

    def of(self, whose: bytes | None) -> int:
        """Number of waiting tickets with these credentials."""
        return len(self._in_turn.get(whose, ()))

    def youngest_of_most(self) -> Ticket:
        """The newest ticket of the credentials that have the most tickets waiting."""
        whose = max(self._in_turn, key=self.of)
        return next(reversed(self._in_turn[whose]))


class Queue:
    """The slots and the requests that wait for one.

    Every operation takes constant time, except the queries about a non-empty queue: their cost grows with its length,
    which is bounded.

    :param limit: number of slots at HOSP. It may change at any time; requests that hold a slot then keep it.
    :param max_waiting: maximum number of waiting requests; half of them may be surplus.
    :ivar waiting: number of waiting requests, over all priorities.
    :ivar surplus_waiting: how many of them belong to a surge.
    :ivar surge: tells which requests are surplus.
    """

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.limit = limit
        self.max_waiting = max_waiting
        self.in_flight = 0
        self.surge = SurgeShare()
        self._usual: dict[Priority, FairQueue] = {priority: FairQueue() for priority in sorted(Priority)}
        self._surplus: dict[Priority, FairQueue] = {priority: FairQueue() for priority in sorted(Priority)}
        self._both = 0
        self.waiting = 0
        self.surplus_waiting = 0

    @property
    def full(self) -> bool:
        """Whether a new request would have to wait."""
        return self.in_flight >= self.limit or self.waiting > 0

    def all_waiting(self) -> list[Ticket]:
        """All waiting tickets, highest priority first."""
        lines = (*self._usual.values(), *self._surplus.values())
        return [ticket for line in lines for ticket in line]

    def ticket(self, priority: Priority, deadline: float, whose: bytes | None, now: float) -> Ticket:
        """Make the ticket of a request that is about to enter."""
        since = self.surge.since
        surplus = self.surge.is_surplus(whose, now, waits=self.full)
        if since is None and self.surge.since is not None:
            self._sort_out(now)
        return Ticket(priority, deadline, whose, surplus=surplus)

    def _sort_out(self, now: float) -> None:
        """A surge has just been noticed: what it has put into the queue by now is surplus too."""
        for priority, line in self._usual.items():
            for ticket in list(line):
                if self.surge.is_beyond(ticket.whose, now):
                    line.remove(ticket)
                    ticket.surplus = True
                    self._surplus[priority].add(ticket)
                    self.surplus_waiting += 1

    def _lines(self, ticket: Ticket) -> dict[Priority, FairQueue]:
        return self._surplus if ticket.surplus else self._usual

    def ahead_of(self, ticket: Ticket, now: float) -> int:
        """How many of the waiting requests would go before this new one."""
        turn, before = now + HEAD_START_S[ticket.priority], 0
        for priority, line in self._lines(ticket).items():
            if priority == ticket.priority:
                before += line.ahead(ticket.whose)
            else:
                before += sum(1 for other in line if other.turn <= turn)
        surplus = self.surplus_waiting
        if ticket.surplus:
            return before + min(self.waiting - surplus, (before + 1) * (USUAL_OF - 1))
        return before + min(surplus, before // (USUAL_OF - 1))

    def overtaken_s(self, ticket: Ticket) -> float:
        """Seconds of the wait during which later, more urgent requests may take the slots.

        If more urgent requests are waiting now, the estimate assumes that more of them will come.
        """
        lines = self._lines(ticket)
        urgent = [priority for priority, line in lines.items() if line and priority < ticket.priority]
        return HEAD_START_S[ticket.priority] - HEAD_START_S[min(urgent)] if urgent else 0.0

    def enter(self, ticket: Ticket, now: float) -> tuple[SlotRefusal | None, Ticket | None]:
        """Enter a new ticket. Afterwards it holds a slot, waits, or is out.

        When the queue is full, the new request pushes out a waiting one of the lowest priority, if that is lower than
        its own: a read can be served from memory or sent again, a write has somebody's work in it. Within the same
        priority it pushes out a request of the credentials with the most waiting, if they have more waiting than its
        own would have. The newest one goes, because it has waited the least. A usual request pushes out a surplus one
        of no higher priority, and a surplus one never a usual one.

        :return: why the ticket was refused (None: it was not), and the ticket that it pushed out.
        """
        pushed_out = None
        if ticket.deadline <= now:
            ticket.standing = TicketState.OUT
            return SlotRefusal.DEADLINE, None
        if not self.full:
            self.admit(ticket)
            return None, None
        if self.waiting >= self.max_waiting or (
            ticket.surplus and self.surplus_waiting >= self.max_waiting // 2
        ):
            pushed_out = self._gives_way_to(ticket)
            if pushed_out is None:
                ticket.standing = TicketState.OUT
                return SlotRefusal.FULL, None
            self.leave(pushed_out)
        ticket.turn = now + HEAD_START_S[ticket.priority]
        self._lines(ticket)[ticket.priority].add(ticket)
        self._count(ticket, 1)
        ticket.standing = TicketState.WAITING
        return None, pushed_out

    def leave(self, ticket: Ticket) -> None:
        """Free the ticket's slot, or remove it from the queue. Does nothing if the ticket is already out."""
        if ticket.standing is TicketState.IN:
            self.in_flight -= 1
        elif ticket.standing is TicketState.WAITING:
            self._lines(ticket)[ticket.priority].remove(ticket)
            self._count(ticket, -1)
        ticket.standing = TicketState.OUT

    def next(self, now: float) -> Ticket | None:
        """Take the next ticket if a slot is free.

        The ticket then holds a slot, or is out if its deadline passed while it waited.
        """
        if self.in_flight >= self.limit or not self.waiting:
            return None
        ticket = min(self._whose_turn(), key=lambda line: line.oldest.turn).take()
        self._count(ticket, -1)
        if ticket.deadline <= now:
            ticket.standing = TicketState.OUT
        else:
            self.admit(ticket)
        return ticket

    def admit(self, ticket: Ticket) -> None:
        """Give the ticket a slot, ahead of the queue and regardless of the limit."""
        self.in_flight += 1
        ticket.standing = TicketState.IN

    def _count(self, ticket: Ticket, change: int) -> None:
        self.waiting += change
        if ticket.surplus:
            self.surplus_waiting += change

    def _whose_turn(self) -> list[FairQueue]:
        usual = [line for line in self._usual.values() if line]
        surplus = [line for line in self._surplus.values() if line]
        if not usual or not surplus:
            return usual or surplus
        self._both = (self._both + 1) % USUAL_OF
        return usual if self._both else surplus

    def _gives_way_to(self, ticket: Ticket) -> Ticket | None:
        if not ticket.surplus:
            for priority in reversed(self._surplus):
                line = self._surplus[priority]
                if line and priority >= ticket.priority:
                    return line.youngest_of_most()
        lines = self._lines(ticket)
        for priority in reversed(lines):
            line = lines[priority]
            if priority < ticket.priority or not line:
                continue
            other = line.youngest_of_most()
            fairer = line.of(other.whose) > line.of(ticket.whose) + 1
            return other if priority > ticket.priority or fairer else None
        return None

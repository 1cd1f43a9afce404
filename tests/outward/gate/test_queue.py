from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Priority
from hospproxy.outward.gate.queue import HEAD_START_S, Queue, SlotRefusal, Ticket, TicketState

WRITE, READ, REFRESH = Priority.WRITE, Priority.READ, Priority.REFRESH


def enter(
    queue: Queue,
    priority: Priority = READ,
    deadline: float = 100.0,
    now: float = 0.0,
    whose: bytes | None = None,
) -> Ticket:
    ticket = Ticket(priority, deadline, whose)
    queue.enter(ticket, now)
    return ticket


class Places(SynchronousTestCase):
    def test_as_many_as_the_limit_go_in(self) -> None:
        queue = Queue(2, 10)
        tickets = [enter(queue) for _ in range(3)]
        self.assertEqual([t.standing for t in tickets], [TicketState.IN, TicketState.IN, TicketState.WAITING])
        self.assertIs(queue.next(0), None)

    def test_a_place_is_given_back_once(self) -> None:
        queue = Queue(1, 10)
        ticket = enter(queue)
        queue.leave(ticket)
        queue.leave(ticket)
        self.assertEqual(queue.in_flight, 0)

    def test_a_newcomer_does_not_overtake_those_who_wait(self) -> None:
        queue = Queue(1, 10)
        first, second = enter(queue), enter(queue)
        queue.leave(first)
        third = enter(queue)
        self.assertEqual(third.standing, TicketState.WAITING)
        self.assertIs(queue.next(0), second)


class Order(SynchronousTestCase):
    def test_writes_before_reads_before_refreshes_and_each_in_turn(self) -> None:
        queue = Queue(1, 10)
        inside = enter(queue)
        waiting = [enter(queue, p) for p in (REFRESH, READ, WRITE, READ, WRITE, REFRESH)]
        got = []
        while inside is not None:
            queue.leave(inside)
            inside = queue.next(0)  # type: ignore[assignment]
            got.append(inside)
        self.assertEqual(got, [waiting[i] for i in (2, 4, 1, 3, 0, 5)] + [None])

    def test_a_read_does_not_wait_for_those_who_come_long_after_it(self) -> None:
        queue = Queue(1, 10)
        inside = enter(queue)
        read = enter(queue, READ, now=0.0)
        soon, just, later = (enter(queue, WRITE, now=now) for now in (1.0, 4.9, 5.1))
        refresh = enter(queue, REFRESH, now=0.0)
        got = []
        while inside is not None:
            queue.leave(inside)
            inside = queue.next(6.0)  # type: ignore[assignment]
            got.append(inside)
        self.assertEqual(got, [soon, just, read, later, refresh, None])

    def test_a_full_queue_gives_way_to_a_write(self) -> None:
        queue = Queue(1, 3)
        enter(queue)
        old, young, refresh = enter(queue), enter(queue), enter(queue, REFRESH)
        for gone in (refresh, young, old):
            newcomer = Ticket(WRITE, 100)
            self.assertEqual(queue.enter(newcomer, 0), (None, gone))
            self.assertEqual((newcomer.standing, gone.standing), (TicketState.WAITING, TicketState.OUT))
        self.assertEqual(queue.enter(Ticket(WRITE, 100), 0), (SlotRefusal.FULL, None))

    def test_it_does_not_give_way_to_its_equals(self) -> None:
        queue = Queue(1, 1)
        enter(queue), enter(queue)
        newcomer = Ticket(READ, 100)
        self.assertEqual(queue.enter(newcomer, 0), (SlotRefusal.FULL, None))
        self.assertEqual(newcomer.standing, TicketState.OUT)


class Deadlines(SynchronousTestCase):
    def test_too_late_at_the_door(self) -> None:
        self.assertEqual(Queue(1, 1).enter(Ticket(WRITE, 5), 5), (SlotRefusal.DEADLINE, None))

    def test_too_late_in_the_queue(self) -> None:
        queue = Queue(1, 2)
        inside, late, good = enter(queue), enter(queue, deadline=5), enter(queue)
        queue.leave(inside)
        self.assertIs(queue.next(5), late)
        self.assertEqual(late.standing, TicketState.OUT)
        self.assertIs(queue.next(5), good)
        self.assertEqual(good.standing, TicketState.IN)


class Fairness(SynchronousTestCase):
    def test_credentials_take_turns_and_each_ones_own_stay_in_order(self) -> None:
        queue = Queue(1, 20)
        inside = enter(queue)
        many = [enter(queue, whose=b"many") for _ in range(4)]
        few = [enter(queue, whose=b"few") for _ in range(2)]
        nobody = enter(queue)
        got = []
        for _ in range(7):
            queue.leave(inside)
            inside = queue.next(0)  # type: ignore[assignment]
            got.append(inside)
        self.assertEqual(got, [many[0], few[0], nobody, many[1], few[1], many[2], many[3]])

    def test_whoever_has_most_waiting_gives_way(self) -> None:
        queue = Queue(1, 4)
        enter(queue)
        many = [enter(queue, whose=b"many") for _ in range(3)]
        enter(queue, whose=b"few")
        newcomer = Ticket(READ, 100, b"few")
        self.assertEqual(queue.enter(newcomer, 0), (None, many[-1]))
        self.assertEqual(queue.enter(Ticket(READ, 100, b"many"), 0), (SlotRefusal.FULL, None))

    def test_how_many_are_ahead(self) -> None:
        queue = Queue(1, 20)
        enter(queue)
        for _ in range(5):
            enter(queue, whose=b"many")
        enter(queue, WRITE, whose=b"many")
        self.assertEqual(queue.ahead_of(Ticket(READ, 100, b"many"), 0), 6)
        self.assertEqual(queue.ahead_of(Ticket(READ, 100, b"few"), 0), 2)
        self.assertEqual(queue.ahead_of(Ticket(WRITE, 100, b"few"), 0), 1)
        # By then the reads have waited longer than a write's head start.
        self.assertEqual(queue.ahead_of(Ticket(WRITE, 100, b"few"), 6), 6)

    def test_those_who_go_on_asking_use_their_turns(self) -> None:
        queue = Queue(1, 99)
        enter(queue)
        for whose, times in ((b"many", 9), (b"as many", 5), (b"few", 4)):
            for _ in range(times):
                enter(queue, whose=whose)
        self.assertEqual(queue.ahead_of(Ticket(READ, 100, b"many"), 0), 9 + 10 + 4)

    def test_who_may_be_overtaken(self) -> None:
        queue = Queue(1, 99)
        enter(queue)
        self.assertEqual(queue.overtaken_s(Ticket(REFRESH, 100)), 0)
        enter(queue, READ)
        self.assertEqual(queue.overtaken_s(Ticket(REFRESH, 100)), 10)
        self.assertEqual(queue.overtaken_s(Ticket(READ, 100)), 0)
        enter(queue, WRITE)
        self.assertEqual(queue.overtaken_s(Ticket(REFRESH, 100)), 15)
        self.assertEqual(queue.overtaken_s(Ticket(READ, 100)), 5)

    def test_a_lower_limit_takes_nobody_out(self) -> None:
        queue = Queue(2, 20)
        first, second, third = enter(queue), enter(queue), enter(queue)
        queue.limit = 1
        queue.leave(first)
        self.assertIs(queue.next(0), None)
        queue.leave(second)
        self.assertIs(queue.next(0), third)


class QueueModel(RuleBasedStateMachine):
    """The queue compared with a model: a list in the order of arrival, and the turns of each priority."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(3, 5)
        self.now = 0.0
        self.inside: set[Ticket] = set()
        self.waiting: list[Ticket] = []
        self.turns: dict[Priority, list[bytes | None]] = {priority: [] for priority in Priority}
        self.came: dict[Ticket, float] = {}

    def mine(self, priority: Priority, whose: bytes | None) -> list[Ticket]:
        return [t for t in self.waiting if (t.priority, t.whose) == (priority, whose)]

    def gone(self, ticket: Ticket) -> None:
        self.waiting.remove(ticket)
        if not self.mine(ticket.priority, ticket.whose):
            self.turns[ticket.priority].remove(ticket.whose)

    @rule(
        target=tickets,
        priority=st.sampled_from(Priority),
        whose=st.sampled_from([None, b"a", b"b"]),
        life=st.integers(0, 30),
    )
    def enter(self, priority: Priority, whose: bytes | None, life: int) -> Ticket:
        ticket = Ticket(priority, self.now + life, whose)
        self.came[ticket] = self.now
        own = len(self.mine(priority, whose))
        refusal, pushed_out = self.queue.enter(ticket, self.now)
        if pushed_out is not None:
            worst = max(t.priority for t in self.waiting)
            theirs = self.mine(pushed_out.priority, pushed_out.whose)
            most = max(len(self.mine(worst, w)) for w in self.turns[worst])
            assert pushed_out is theirs[-1] and len(theirs) == most
            assert pushed_out.priority == worst >= priority
            assert worst > priority or most > own + 1
            self.gone(pushed_out)
        if refusal is SlotRefusal.DEADLINE:
            assert life == 0
        elif refusal is SlotRefusal.FULL:
            assert len(self.waiting) == 5
            assert all(t.priority <= priority for t in self.waiting)
            assert all(len(self.mine(priority, w)) <= own + 1 for w in self.turns[priority])
        elif ticket.standing is TicketState.IN:
            assert not self.waiting
            self.inside.add(ticket)
        else:
            self.waiting.append(ticket)
            if whose not in self.turns[priority]:
                self.turns[priority].append(whose)
        return ticket

    @rule(ticket=consumes(tickets))
    def leave(self, ticket: Ticket) -> None:
        self.queue.leave(ticket)
        self.inside.discard(ticket)
        if ticket in self.waiting:
            self.gone(ticket)
        self.fill()

    @rule(limit=st.integers(1, 5))
    def bear(self, limit: int) -> None:
        self.queue.limit = limit
        self.fill()

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def fill(self) -> None:
        while (ticket := self.queue.next(self.now)) is not None:
            # The priority whose oldest request came first, counting head starts; then the credentials whose turn it is.
            first = min(
                self.waiting, key=lambda t: (self.came[t] + HEAD_START_S[t.priority], t.priority)
            ).priority
            turns = self.turns[first]
            assert ticket is self.mine(first, turns[0])[0]
            turns.append(turns.pop(0))
            self.gone(ticket)
            if ticket.standing is TicketState.IN:
                assert ticket.deadline > self.now
                self.inside.add(ticket)
            else:
                assert ticket.deadline <= self.now

    @invariant()
    def bounds(self) -> None:
        assert self.queue.in_flight == len(self.inside) <= 5
        assert self.queue.waiting == len(self.waiting) <= 5
        assert all(t.standing is TicketState.IN for t in self.inside)
        assert all(t.standing is TicketState.WAITING for t in self.waiting)
        # No request waits while a slot is free.
        assert not self.waiting or len(self.inside) >= self.queue.limit


class Stateful(SynchronousTestCase):
    def test_no_waiter_is_lost_none_comes_in_above_the_limit(self) -> None:
        run_state_machine_as_test(QueueModel, settings=settings(max_examples=100, deadline=None))  # type: ignore[no-untyped-call]

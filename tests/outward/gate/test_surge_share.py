"""While a surge fills the queue, usual requests go before its surplus; else nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from statistics import mean

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import OverCapacity
from hospproxy.http.messages import Priority, Response
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.gate.queue import USUAL_OF, Queue, SlotRefusal, Ticket
from hospproxy.outward.gate.surge_share import (
    BURST,
    CALM_S,
    MOST_USERS,
    NEW_USUAL_S,
    WARM_UP_S,
    SurgeShare,
)
from tests.stages import identified

WRITE, READ = Priority.WRITE, Priority.READ
STAFF = [b"staff %d" % number for number in range(20)]


def usual(share: SurgeShare, until: float, per_s: float = 4.0, begin: float = 0.0) -> float:
    """Let known users ask at a steady rate."""
    now = begin
    while now < until:
        whose = STAFF[round(now * per_s) % len(STAFF)]
        share.is_surplus(whose, now, waits=False)
        share.accepted(whose, now)
        now += 1.0 / per_s
    return now


class ShareTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.share = SurgeShare()

    def surge(
        self, begin: float, seconds: float, per_s: float = 40.0, whose: bytes | None = b"new"
    ) -> list[bool]:
        return [
            self.share.is_surplus(whose, begin + number / per_s, waits=True)
            for number in range(round(seconds * per_s))
        ]

    def test_it_begins_within_seconds_and_only_if_requests_wait(self) -> None:
        now = usual(self.share, 120.0)
        for number in range(200):
            self.assertFalse(self.share.is_surplus(b"new", now + number / 40, waits=False))
        told = self.surge(now + 5.0, 5.0)
        self.assertTrue(all(told[40:]))

    def test_who_is_known_and_asks_at_a_usual_rate_is_no_surplus(self) -> None:
        now = usual(self.share, 120.0)
        self.surge(now, 5.0)
        self.assertFalse(self.share.is_surplus(STAFF[0], now + 5.0, waits=True))
        self.assertTrue(self.share.is_surplus(None, now + 5.0, waits=True))
        self.share.accepted(b"new", now + 5.0)  # right passwords do not help once it has begun
        self.assertTrue(self.share.is_surplus(b"new", now + 5.0, waits=True))

    def test_who_was_accepted_while_it_was_not_noticed_yet_is_surplus(self) -> None:
        now = usual(self.share, 120.0)
        self.share.accepted(b"new", now)
        told = self.surge(now, 20.0)
        self.assertTrue(all(told[-400:]))

    def test_a_known_user_who_asks_for_everything(self) -> None:
        now = usual(self.share, 120.0)
        told = self.surge(now, 20.0, whose=STAFF[0])
        kept = told.count(False)
        self.assertTrue(BURST + 30 < kept < BURST + 4 * 40 + 45, kept)  # until it is noticed, all of them

    def test_it_ends_when_nobody_waits(self) -> None:
        now = usual(self.share, 120.0)
        self.surge(now, 10.0)
        self.assertTrue(self.share.going_on(now + 10.0))
        self.assertFalse(self.share.going_on(now + 10.0 + CALM_S))
        self.assertFalse(self.share.is_surplus(b"new", now + 11.0 + CALM_S, waits=True))

    def test_what_lasts_is_the_new_usual(self) -> None:
        now = usual(self.share, 120.0)
        self.surge(now, NEW_USUAL_S + 10.0)
        self.assertFalse(self.share.going_on(now + NEW_USUAL_S + 10.0))
        told = self.surge(now + NEW_USUAL_S + 10.0, 60.0)
        self.assertFalse(any(told))

    def test_after_a_start_and_in_a_quiet_night_there_is_none(self) -> None:
        self.assertFalse(any(self.surge(0.0, WARM_UP_S - 1.0)))
        share = self.share = SurgeShare()
        usual(share, 120.0, per_s=0.05)
        self.assertFalse(any(self.surge(120.0, 30.0, per_s=2.0)))

    def test_what_it_remembers_is_bounded(self) -> None:
        for number in range(MOST_USERS + 50):
            self.share.accepted(b"%d" % number, 0.0)
        self.assertEqual(len(self.share._known), MOST_USERS)


class QueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue = Queue(1, 8)
        self.queue.admit(Ticket(READ, 100.0))

    def enter(
        self, whose: bytes, *, surplus: bool, priority: Priority = READ
    ) -> tuple[SlotRefusal | None, Ticket | None]:
        return self.queue.enter(Ticket(priority, 100.0, whose, surplus=surplus), 0.0)

    def served(self) -> Iterator[bool]:
        while self.queue.waiting:
            self.queue.in_flight = 0
            ticket = self.queue.next(0.0)
            assert ticket is not None
            yield ticket.surplus

    def test_usual_first_but_nobody_starves(self) -> None:
        for number in range(4):
            self.enter(b"%d" % number, surplus=True)
        for number in range(4):
            self.enter(b"s%d" % number, surplus=False)
        served = list(self.served())
        self.assertEqual(served[:USUAL_OF], [False] * (USUAL_OF - 1) + [True])
        self.assertEqual(served.count(True), 4)

    def test_the_surplus_holds_half_of_the_queue_at_most(self) -> None:
        refusals = [self.enter(b"%d" % number, surplus=True)[0] for number in range(8)]
        self.assertEqual(refusals, [None] * 4 + [SlotRefusal.FULL] * 4)
        self.assertEqual([self.enter(b"s", surplus=False)[0] for _ in range(4)], [None] * 4)

    def test_a_usual_request_takes_the_place_of_a_surplus_one_and_never_the_other_way_round(self) -> None:
        for number in range(4):
            self.enter(b"%d" % number, surplus=True)
        for number in range(4):
            self.enter(b"s%d" % number, surplus=False)
        for enters in (
            self.enter(b"x", surplus=True, priority=WRITE),
            self.enter(b"t", surplus=False),
        ):
            refusal, out = enters
            self.assertIsNone(refusal)
            assert out is not None
            self.assertTrue(out.surplus)
        self.assertEqual(self.enter(b"y", surplus=True)[0], SlotRefusal.FULL)

    def test_what_waited_already_when_it_was_noticed_is_surplus_too(self) -> None:
        now = usual(self.queue.surge, 120.0)
        for number in range(30):
            ticket = self.queue.ticket(READ, 999.0, STAFF[0] if number == 5 else b"new", now + number * 0.025)
            self.queue.enter(ticket, now + number * 0.025)
        self.assertEqual((self.queue.waiting, self.queue.surplus_waiting), (8, 0))
        number = 30
        while self.queue.surge.since is None:
            self.queue.ticket(READ, 999.0, b"new", now + number * 0.025)
            number += 1
        self.assertEqual(self.queue.waiting, 8)
        self.assertEqual(self.queue.surplus_waiting, 7)
        self.queue.in_flight = 0
        ticket = self.queue.next(now)
        assert ticket is not None
        self.assertEqual((ticket.whose, ticket.surplus), (STAFF[0], False))
        self.assertEqual(sum(self.served()), 7)
        self.assertEqual((self.queue.waiting, self.queue.surplus_waiting), (0, 0))

    def test_a_write_of_the_surplus_stays_before_a_read(self) -> None:
        for number in range(4):
            self.enter(b"%d" % number, surplus=True, priority=WRITE)
        for number in range(4):
            self.enter(b"s%d" % number, surplus=False)
        refusal, out = self.enter(b"s9", surplus=False)
        self.assertEqual((refusal, out), (SlotRefusal.FULL, None))


class NoShare(SurgeShare):
    """All take turns, as without a surge."""

    def is_surplus(self, whose: bytes | None, now: float, *, waits: bool) -> bool:
        return False


@define
class Hospital:
    """A gate, five slots by default; HOSP takes half a second for each request."""

    shares: bool
    slots: int = 5
    took_s: float = 0.5
    clock: Clock = field(factory=Clock)
    waits: list[float] = field(factory=list)
    refused: dict[str, int] = field(factory=lambda: {"usual": 0, "surge": 0})
    asked: dict[str, int] = field(factory=lambda: {"usual": 0, "surge": 0})
    random: Random = field(factory=lambda: Random(7))
    gate: Gate = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = GateSettings(concurrency=self.slots)
        self.gate = Gate(self.clock, settings, BreakerSettings(enabled=False), NullMeter())
        if not self.shares:
            self.gate._queue.surge = NoShare()

    async def hosp(self, _exchange: Exchange) -> Response:
        await deferLater(self.clock, self.took_s)
        return Response(200)

    def send(self, kind: str, whose: bytes | None) -> None:
        began = self.clock.seconds()
        self.asked[kind] += 1
        exchange = identified(deadline=began + 28.0, priority=READ, credentials=whose)

        def over(result: object) -> None:
            if isinstance(result, Response):
                if kind == "usual":
                    self.waits.append(self.clock.seconds() - began)
            else:
                result.trap(OverCapacity)  # type: ignore[attr-defined]
                self.refused[kind] += 1

        Deferred.fromCoroutine(self.gate.process(exchange, self.hosp)).addBoth(over)

    def steady(self, seconds: float, surge: Callable[[], bytes] | None = None) -> None:
        """Usual users ask for 4/s, evenly as in ``make surge``; the source for 16/s."""
        for step in range(round(seconds / 0.05)):
            if step % 5 == 0:
                self.send("usual", self.random.choice(STAFF[1:9]))
            if step % 5 and surge is not None:
                self.send("surge", surge())
            self.clock.advance(0.05)

    def run(
        self, seconds: float, surge: Callable[[], bytes | None] | None = None, per_s: float = 40.0
    ) -> None:
        for _ in range(round(seconds / 0.05)):
            if self.random.random() < 0.2:  # 4/s
                self.send("usual", self.random.choice(STAFF[1:]))
            for _ in range(round(per_s * 0.05) if surge is not None else 0):
                assert surge is not None
                self.send("surge", surge())
            self.clock.advance(0.05)

    def drain(self) -> None:
        """Let all requests end."""
        self.clock.pump([0.5] * 80)


class ModelTests(SynchronousTestCase):
    def both(self, surge: Callable[[], bytes | None]) -> tuple[Hospital, Hospital]:
        found = []
        for shares in (False, True):
            hospital = Hospital(shares)
            hospital.send("surge", STAFF[0])  # HOSP knows this account too
            hospital.run(120.0)
            hospital.run(20.0, surge)
            hospital.run(60.0)
            hospital.drain()
            found.append(hospital)
        return found[0], found[1]

    def test_usual_users_are_refused_less_in_a_surge_from_one_source(self) -> None:
        numbers = iter(range(10**6))
        sources: dict[str, Callable[[], bytes | None]] = {
            "no credentials": lambda: None,
            "ever other credentials": lambda: b"%d" % next(numbers),
            "thirty accounts": lambda: b"of thirty %d" % (next(numbers) % 30),
            "one account of the staff": lambda: STAFF[0],
        }
        for name, surge in sources.items():
            before, after = self.both(surge)
            self.assertEqual(before.asked, after.asked)
            self.assertLessEqual(after.refused["usual"], before.refused["usual"], name)
            self.assertEqual(after.refused["usual"], 0, name)
            self.assertLess(mean(after.waits), 1.1 * mean(before.waits), name)
            self.assertLess(mean(after.waits), 1.2, name)
            if name == "ever other credentials":
                self.assertGreater(before.refused["usual"], 20)
                self.assertGreater(mean(before.waits), 1.5 * mean(after.waits))
            self.assertFalse(after.gate._queue.surge.going_on(after.clock.seconds()))

    def test_one_of_two_machines_has_few_slots(self) -> None:
        """HOSP takes 4.4/s of it: what the source has in the queue when it is noticed must not take half of that."""
        hospital = Hospital(True, slots=2, took_s=0.45)
        hospital.steady(120.0)
        hospital.steady(40.0, lambda: hospital.random.choice((b"a", b"b", b"c", b"d")))
        hospital.steady(45.0)
        hospital.drain()
        self.assertEqual(hospital.refused["usual"], 0)
        self.assertGreater(hospital.refused["surge"], 100)

    def test_a_busy_day_without_a_surge_is_as_before(self) -> None:
        found = []
        for shares in (False, True):
            hospital = Hospital(shares)
            numbers = iter(range(10**6))
            hospital.run(100.0, lambda numbers=numbers: b"%d" % (next(numbers) % 40), per_s=20.0)
            hospital.drain()
            found.append((hospital.asked, hospital.refused, hospital.waits))
        self.assertGreater(found[0][1]["usual"], 0)
        self.assertEqual(found[0], found[1])

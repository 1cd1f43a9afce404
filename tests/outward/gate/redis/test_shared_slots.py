"""Exchanges of slots at HOSP while Redis is there, or away for a moment."""

from __future__ import annotations

from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import given
from hypothesis import settings as examples
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.breaker import BreakerState
from hospproxy.outward.gate.redis.shared_slots import SlotExchange, levelled
from hospproxy.outward.gate.rules import PROBE
from hospproxy.outward.gate.slots import SlotUse

from ....sharing.slots_model import shares
from ....sharing.slots_world import World, WorldCase, served


class SharesTests(SynchronousTestCase):
    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=8),
        st.integers(0, 20),
    )
    def test_all_are_shared_out_and_nobody_has_more_while_others_have_less_than_they_need(
        self, members: list[tuple[int, int]], places: int
    ) -> None:
        needs = {f"m{i}": need for i, (need, _) in enumerate(members)}
        share = shares(needs, {f"m{i}": got for i, (_, got) in enumerate(members)}, places)
        self.assertEqual(sum(share.values()), places)
        for one, need in needs.items():
            if share[one] < need:
                for other in needs:
                    self.assertLessEqual(share[other], max(share[one] + 1, 0))
                    self.assertLessEqual(share[other], needs[other])

    def test_who_waited_longest_comes_first_where_there_are_not_enough(self) -> None:
        self.assertEqual(
            shares({"a": 1, "b": 1, "c": 1}, {"a": 5, "b": 3, "c": 4}, 1), {"a": 0, "b": 1, "c": 0}
        )
        self.assertEqual(shares({"a": 0, "b": 0}, {"a": 0, "b": 0}, 5), {"a": 3, "b": 2})


class SayingTests(WorldCase):
    GOOD: ClassVar[list[Any]] = [2, 3, 5, 2, 1, b"open", 1500, 2, b"m.a"]

    def test_what_the_script_says(self) -> None:
        expected = SlotExchange(2, 3, 5, 2, 1, BreakerState.OPEN, 1.5, 2, (b"m.a",))
        self.assertEqual(levelled(self.GOOD, 1, 5), expected)

    def test_nonsense_is_none(self) -> None:
        wrong: list[tuple[int, Any]] = [
            (0, 6), (0, 0), (0, b"2"), (0, None), (1, -1), (1, 9), (2, 6), (3, 0), (4, 2), (4, -1),
            (5, b"ajar"), (5, 3), (6, "x"), (6, True), (7, -1), (7, 6), (7, b"2"),
            (8, 3), (8, b""), (8, b"x" * 129),
        ]  # fmt: skip
        for at, value in wrong:
            said = [*self.GOOD]
            said[at] = value
            self.assertIsNone(levelled(said, 1, 5), (at, value))
        for length in range(8):
            self.assertIsNone(levelled(self.GOOD[:length], 1, 5))

    def test_nonsense_is_counted_and_takes_nothing_away(self) -> None:
        world = self.made()
        worker = world.worker()
        world.advance(3)
        self.assertEqual(worker.places.owned, 5)
        world.table.exchange = lambda args: ["never", {"x"}]  # type: ignore[method-assign]
        world.advance(3)
        self.assertEqual(worker.places.owned, 5)
        self.assertGreater(worker.meter.value("places_exchanges_total", result="nonsense") or 0, 2)


class ExchangeTests(WorldCase):
    def test_after_settling_one_has_all_and_two_have_half(self) -> None:
        world = self.made()
        first = world.worker()
        world.advance(0.9)
        self.assertEqual(first.places.owned, 0)
        world.advance(1.2)
        self.assertEqual(first.places.owned, 5)
        second = world.worker()
        world.advance(1.2)
        self.assertEqual((first.places.owned, second.places.owned), (3, 2))
        self.assertEqual((first.places.workers, second.places.workers), (2, 2))

    def test_idle_ones_exchange_once_aheartbeat(self) -> None:
        world = self.made()
        workers = [world.worker() for _ in range(3)]
        world.advance(5)
        before = sum(one.exchanges for one in workers)
        world.advance(5)
        self.assertLessEqual(sum(one.exchanges for one in workers) - before, 33)

    def test_who_has_all_the_clients_has_almost_all_the_places_within_milliseconds(self) -> None:
        world = self.made()
        first, _second = world.worker(), world.worker()
        world.advance(3)
        first.ask(20)
        world.advance(0.2)
        self.assertEqual(world.busy, 5)

    def test_while_redis_is_away_all_keep_what_they_have_and_use_it_all(self) -> None:
        world = self.made()
        first, second = world.worker(), world.worker()
        world.advance(3)
        world.away = True
        first.ask(20)
        second.ask(20)
        world.advance(1)
        self.assertEqual((first.places.owned, second.places.owned), (3, 2))
        self.assertEqual(world.busy, 5)

    def test_what_may_have_been_given_back_is_used_no_more(self) -> None:
        world = self.made()
        first, second = world.worker(), world.worker()
        world.advance(3)
        second.loses = lambda args: args[1] == "0"
        first.ask(20)
        while world.busy < 5:
            world.advance(0.01)
        second.ask(5)
        world.advance(0.1)
        self.assertEqual(world.most, 5)
        self.assertEqual(second.places.owned, 0)

    def test_who_starts_without_redis_refuses_at_once_after_awhile(self) -> None:
        world = self.made()
        world.away = True
        worker = world.worker()
        worker.ask(patience_s=2.0)
        world.advance(6)
        worker.ask()
        self.assertEqual(len(worker.outcomes), 2)
        world.away = False
        world.advance(3)
        worker.ask()
        world.advance(3)
        self.assertEqual(served(worker), 1)

    def test_who_dies_keeps_its_places_while_hosp_may_be_busy_for_it(self) -> None:
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        second.kill()
        world.advance(1)
        first.ask(20)
        world.advance(0.2)
        self.assertEqual(world.busy, 3)
        world.worker(1)
        world.advance(4.5)
        self.assertEqual(first.places.owned, 3)
        world.advance(1.2)
        self.assertEqual(first.places.owned, 5)

    def test_who_stops_gives_back_at_once(self) -> None:
        world = self.made()
        first, second = world.worker(), world.worker()
        world.advance(3)
        stopped = Deferred.fromCoroutine(second.places.stop())
        world.advance(0.3)
        self.successResultOf(stopped)
        self.assertEqual((first.places.owned, second.places.owned), (5, 0))
        self.assertEqual(
            [call for call in world.clock.getDelayedCalls() if call.func == second.places._exchange], []
        )

    def test_stopping_does_not_fail_without_redis(self) -> None:
        world = self.made()
        worker = world.worker()
        world.advance(3)
        world.away = True
        stopped = Deferred.fromCoroutine(worker.places.stop())
        world.advance(1)
        self.successResultOf(stopped)

    def test_after_redis_has_lost_all_each_goes_on_with_what_it_has(self) -> None:
        world = self.made()
        first, second = world.worker(), world.worker()
        world.advance(3)
        first.ask(50)
        second.ask(50)
        world.advance(1)
        world.table.epoch, world.table.all = "f" * 16, {}
        world.advance(0.6)
        self.assertEqual(world.busy, 5)
        self.assertEqual(first.places.owned + second.places.owned, 5)

    def test_who_does_not_come_back_then_keeps_what_is_its_own(self) -> None:
        world = self.made()
        first, second = world.worker(), world.worker()
        world.advance(3)
        second.cut = True
        world.table.epoch, world.table.all = "f" * 16, {}
        world.advance(60)
        first.ask(20)
        world.advance(1)
        self.assertEqual((first.places.owned, second.places.owned), (3, 2))
        second.cut = False
        world.advance(1)
        self.assertEqual((first.places.owned + second.places.owned), 5)

    def test_thelowest_limit_is_everybodys(self) -> None:
        world = self.made()
        first, second = world.worker(), world.worker()
        world.advance(3)
        using = second.gate.using()
        second.gate.using = lambda: SlotUse(using.in_flight, 0, 2)  # type: ignore[method-assign]
        first.ask(20)
        world.advance(4)
        self.assertLessEqual(first.places.owned, 2)


class NeverAboveTests(WorldCase):
    @examples(deadline=None, max_examples=40)
    @given(st.integers(0, 1 << 30), st.integers(2, 7), st.integers(1, 6))
    def test_hosp_never_gets_more_than_it_bears_and_all_are_served(
        self, seed: int, number: int, ceiling: int
    ) -> None:
        world = self.made(seed, ceiling)
        workers = [world.worker() for _ in range(number)]
        world.advance(3, 0.02)
        for _ in range(8):
            world.trouble = world.random.choice([0.0, 0.0, 0.3])
            world.away = world.random.random() < 0.1
            for worker in workers:
                worker.cut = world.random.random() < 0.1
                worker.ask(world.random.choice([0, 0, 0, 1, 4]), patience_s=1000.0)
            world.advance(world.random.choice([0.1, 0.5, 3.0]), 0.02)
            self.assertLessEqual(world.most, ceiling)
        world.trouble, world.away = 0.0, False
        for worker in workers:
            worker.cut = False
        self.finish(world)
        self.assertLessEqual(world.most, ceiling)
        for worker in workers:
            # Without slots and without Redis no request waits.
            self.assertEqual(served(worker), worker.asked - worker.hopeless)
        world.close()

    def finish(self, world: World) -> None:
        """Continue until every request has a response."""
        for _ in range(600):
            if all(len(worker.outcomes) == worker.asked for worker in world.workers):
                return
            world.advance(0.5, 0.025)

    def test_with_fewer_places_than_workers_each_has_its_turn(self) -> None:
        world = self.made(3, 2)
        workers = [world.worker() for _ in range(6)]
        world.advance(3)
        for worker in workers:
            worker.ask(40, patience_s=1000.0)
        world.advance(60, 0.02)
        for worker in workers:
            self.assertGreater(served(worker), 8)
        self.assertEqual(world.most, 2)


class BreakerTests(WorldCase):
    def setUp(self) -> None:
        self.world = self.made()
        self.workers = [self.world.worker() for _ in range(3)]
        self.world.advance(3)
        self.world.dead = True
        for _ in range(3):
            self.workers[0].ask()
            self.world.advance(1)

    def states(self) -> list[BreakerState]:
        return [worker.gate.state for worker in self.workers]

    def test_of_ahosp_that_is_gone_all_hear(self) -> None:
        self.assertEqual(self.states(), [BreakerState.OPEN] * 3)
        self.assertEqual([worker.opened for worker in self.workers], [1, 1, 1])

    def test_one_asks_at_atime_and_it_is_not_always_the_same(self) -> None:
        asked = set()
        for _ in range(30):
            room = [i for i, worker in enumerate(self.workers) if worker.gate.has_room]
            self.assertLessEqual(len(room), 2)  # while the turn passes on
            asked |= set(room)
            self.world.advance(0.3)
        self.assertEqual(asked, {0, 1, 2})

    def test_when_one_has_an_answer_all_go_on(self) -> None:
        self.world.dead = False
        while not any(worker.gate.has_room for worker in self.workers):
            self.world.advance(0.1)
        next(worker for worker in self.workers if worker.gate.has_room).ask(own=PROBE)
        self.world.advance(3)
        self.assertEqual(self.states(), [BreakerState.HALF_OPEN] * 3)
        for worker in self.workers:
            worker.ask(2)
        self.world.advance(6)
        self.assertEqual(self.states(), [BreakerState.CLOSED] * 3)

    def test_without_redis_each_finds_out_for_itself(self) -> None:
        self.world.away = True
        self.world.advance(2)
        self.assertTrue(all(worker.gate.has_room for worker in self.workers if worker.places.owned))

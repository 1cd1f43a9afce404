"""Redis is away for long: each worker uses its base share, and HOSP never gets more than it can bear."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given
from hypothesis import settings as examples
from twisted.internet.defer import Deferred

from hospproxy.http.errors import OverCapacity

from .slots_model import Entry, Table
from .slots_world import PATIENCE_S, Worker, World, WorldCase, served

LONG_S = PATIENCE_S + 1.0


def bases(world: World) -> list[int]:
    return [worker.base.value for worker in world.workers if not worker.killed]


def owned(world: World) -> list[int]:
    return [worker.places.owned for worker in world.workers if not worker.killed]


class SharesTests(WorldCase):
    def test_they_are_fair_and_there_are_no_more_than_places(self) -> None:
        for ceiling, number, expected in (
            (5, 1, [5]),
            (5, 2, [3, 2]),
            (5, 4, [2, 1, 1, 1]),
            (2, 3, [1, 1, 0]),
        ):
            world = self.made(ceiling=ceiling)
            for _ in range(number):
                world.worker()
            world.advance(4)
            self.assertEqual(bases(world), expected)

    def test_a_new_one_gets_what_others_have_given_up_and_not_before(self) -> None:
        world = self.made()
        first = world.worker()
        world.advance(3)
        first.loses = lambda args: True
        second = world.worker()
        world.advance(3)
        self.assertEqual((first.base.value, second.base.value), (5, 0))
        first.loses = lambda args: False
        for _ in range(100):
            world.advance(0.02, 0.005)
            self.assertLessEqual(sum(bases(world)), 5)
        self.assertEqual((first.base.value, second.base.value), (3, 2))


class AwayTests(WorldCase):
    def uneven(self) -> tuple[World, Worker, Worker]:
        """The first worker has all slots and is busy; the second has none."""
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        first.ask(500, patience_s=1000.0)
        world.advance(1)
        self.assertEqual(owned(world), [5, 0])
        return world, first, second

    def test_who_has_none_gets_its_base_when_all_others_must_have_come_down_to_theirs(self) -> None:
        world, first, second = self.uneven()
        world.away = True
        second.ask(100, patience_s=1000.0)
        world.advance(5)
        self.assertEqual((first.places.owned, served(second)), (3, 0))
        world.advance(LONG_S)
        self.assertEqual(owned(world), [3, 2])
        self.assertGreater(served(second), 0)
        self.assertEqual((world.busy, world.most), (5, 5))

    def test_who_is_cut_off_alone_gets_it_from_those_who_are_not(self) -> None:
        world, _first, second = self.uneven()
        second.cut = True
        second.ask(100, patience_s=1000.0)
        world.advance(LONG_S + 1)
        self.assertEqual(owned(world), [3, 2])
        self.assertEqual((world.busy, world.most), (5, 5))
        second.cut = False
        world.advance(1)
        self.assertEqual(sum(owned(world)), 5)

    def test_also_if_all_that_is_lost_are_the_answers(self) -> None:
        world, _first, second = self.uneven()
        second.loses = lambda args: True
        for _ in range(40):
            world.advance(0.5)
            second.ask(int(second.places.owned > 0), patience_s=1000.0)
            self.assertLessEqual(world.most, 5)
        self.assertEqual(owned(world), [3, 2])

    def test_before_there_is_room_for_what_it_may_use_nobody_begins_more_than_his_own(self) -> None:
        world = self.made()
        first, _second, third = (world.worker() for _ in range(3))
        world.advance(3)
        first.ask(500, patience_s=1000.0)
        world.advance(1)
        third.cut = True
        shares = set()
        for _ in range(300):
            world.advance(0.02)
            shares.add(first.places._last.share)
        self.assertEqual(shares, {5, 2, 4})

    def test_what_one_has_not_kept_is_not_given_back_while_others_use_it(self) -> None:
        table = Table()
        table.now, table.life, table.held = 100_000, table.epoch, -1
        for name, quota, base in (("a", 2, 2), ("b", 2, 1), ("c", 2, 1)):
            table.all[name] = Entry(quota, opinion=5, seen=99_900, base=base, epoch=table.epoch)
        rules = [2000, 5000, 1000, 300_000, 1000]
        said = table.exchange([*map(str, ["b", 1, 5, 5, 5, *rules, "wake", "", 0, 0, 1, 1, 6000, ""])])
        self.assertEqual((said[0], said[7]), (1, 2))

    def test_when_redis_is_back_with_nothing_all_go_on_with_theirs(self) -> None:
        world, first, second = self.uneven()
        world.away = True
        second.ask(500, patience_s=1000.0)
        world.advance(LONG_S)
        world.loses_all()
        first.cut, world.away = True, False
        for _ in range(10):
            world.advance(3)
            self.assertEqual(owned(world), [3, 2])
        first.cut = False
        world.advance(2)
        self.assertEqual((sum(owned(world)), world.most), (5, 5))

    def test_who_has_none_then_is_not_left_without_while_another_is_missing(self) -> None:
        world, first, second = self.uneven()
        first.cut = True
        world.loses_all()
        second.ask(500, patience_s=1000.0)
        world.advance(LONG_S + 1)
        self.assertEqual(owned(world), [3, 2])
        self.assertEqual(world.most, 5)

    def test_one_that_is_left_over_refuses_at_once(self) -> None:
        world = self.made(ceiling=1)
        world.worker()
        second = world.worker()
        world.advance(4)
        world.away = True
        world.advance(6)
        self.assertTrue(second.places.hopeless)
        second.ask()
        self.assertIsInstance(second.outcomes[0], OverCapacity)

    def test_who_cannot_wait_so_long_is_told_when_it_helps_to_ask_again(self) -> None:
        world, _first, second = self.uneven()
        world.away = True
        world.advance(5.6)
        left_s = PATIENCE_S - 5.6
        second.ask(patience_s=0.2)
        second.ask(patience_s=LONG_S)
        world.advance(0.01)
        refused = second.outcomes[0]
        assert isinstance(refused, OverCapacity)
        self.assertGreaterEqual(refused.retry_after_s or 0, left_s)
        world.advance(LONG_S)
        self.assertEqual(served(second), 1)


class HeirTests(WorldCase):
    def test_who_starts_while_redis_is_away_has_what_the_one_before_had(self) -> None:
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        first.ask(200, patience_s=1000.0)
        world.away = True
        second.kill()
        heir = world.worker(1)
        heir.ask(5, patience_s=1000.0)
        world.advance(PATIENCE_S - 0.5)
        self.assertEqual(heir.places.owned, 0)
        world.advance(2)
        self.assertEqual((heir.places.owned, first.places.owned), (2, 3))
        world.away = False
        world.advance(10)
        self.assertEqual((served(heir), world.most), (5, 5))
        self.assertEqual(bases(world), [3, 2])

    def test_alone_as_well(self) -> None:
        world = self.made()
        world.worker(0)
        world.advance(3)
        world.away = True
        world.workers[0].kill()
        heir = world.worker(0)
        world.advance(LONG_S)
        self.assertEqual(heir.places.owned, 5)

    def test_of_one_that_gave_it_back_nothing_is_left(self) -> None:
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        stopped = Deferred.fromCoroutine(second.places.stop())
        world.advance(1)
        self.successResultOf(stopped)
        second.killed = True
        self.assertEqual(first.base.value, 5)
        world.away = True
        heir = world.worker(1)
        world.advance(LONG_S)
        self.assertEqual((heir.places.owned, heir.places.hopeless), (0, True))

    def test_who_stops_while_redis_is_away_leaves_it_to_the_next(self) -> None:
        world = self.made()
        _first, second = world.worker(0), world.worker(1)
        world.advance(3)
        world.away = True
        world.advance(1)
        stopped = Deferred.fromCoroutine(second.places.stop())
        world.advance(1)
        self.successResultOf(stopped)
        second.killed = True
        heir = world.worker(1)
        world.advance(LONG_S)
        self.assertEqual(heir.places.owned, 2)

    def test_while_the_one_before_lives_it_is_not_inherited(self) -> None:
        world = self.made()
        _first, second = world.worker(0), world.worker(1)
        world.advance(3)
        world.away = True
        heir = world.worker(1)
        world.advance(LONG_S)
        self.assertEqual((second.places.owned, heir.places.owned), (2, 0))
        second.kill()
        world.advance(PATIENCE_S - 0.5)
        self.assertEqual(heir.places.owned, 0)
        world.advance(1.5)
        self.assertEqual(heir.places.owned, 2)

    def test_what_the_one_before_may_have_filled_is_not_filled_again_at_once(self) -> None:
        world = self.made(ceiling=1)
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        first.ask(500, patience_s=1000.0)
        world.advance(1)
        world.loses_all()
        first.cut = True
        second.ask(1, patience_s=1000.0)
        world.advance(2 * LONG_S)
        first.kill()
        heir = world.worker(0)
        heir.ask(1, patience_s=1000.0)
        world.advance(10)
        self.assertEqual((served(heir), served(second), world.most), (1, 1, 1))

    def test_the_base_of_the_dead_is_kept_for_an_heir_that_cannot_reach_redis(self) -> None:
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        second.kill()
        heir = world.worker(1)
        heir.cut = True
        first.ask(200, patience_s=1000.0)
        heir.ask(50, patience_s=1000.0)
        world.advance(30)
        self.assertEqual((owned(world), world.most), ([3, 2], 5))

    def test_without_one_it_is_free_when_nobody_can_be_waited_for_any_more(self) -> None:
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        second.kill()
        world.advance(280, 0.05)
        self.assertEqual((first.places.owned, first.base.value), (3, 3))
        world.advance(25, 0.05)
        self.assertEqual((first.places.owned, first.base.value), (5, 5))

    def test_an_old_claim_takes_nothing_from_others(self) -> None:
        world = self.made()
        first, second = world.worker(0), world.worker(1)
        world.advance(3)
        second.kill()
        world.advance(310, 0.05)
        heir = world.worker(1)
        world.advance(0.2)
        self.assertEqual((first.base.value, heir.base.value), (5, 0))
        world.advance(2)
        self.assertEqual(bases(world), [3, 2])

    def test_what_the_file_holds_is_not_given_up(self) -> None:
        world = self.made()
        first = world.worker(0)
        world.advance(3)
        world.files[0].full = True
        second = world.worker(1)
        world.advance(3)
        self.assertEqual((first.base.value, second.base.value), (3, 0))
        world.files[0].full = False
        world.advance(3)
        self.assertEqual((first.base.value, second.base.value), (3, 2))
        self.assertEqual(len(self.flushLoggedErrors()), 0)


class NeverAboveTests(WorldCase):
    @examples(deadline=None, max_examples=12)
    @given(st.integers(0, 1 << 30), st.integers(2, 5), st.integers(1, 6))
    def test_hosp_never_gets_more_than_it_bears_and_nobody_starves(
        self, seed: int, number: int, ceiling: int
    ) -> None:
        world = self.made(seed, ceiling)
        for slot in range(number):
            world.worker(slot)
        world.advance(4, 0.02)
        for _ in range(8):
            self.trouble(world, number)
            self.assertLessEqual(sum(bases(world)), ceiling)
            self.assertLessEqual(world.most, ceiling)
        self.away(world)
        world.trouble, world.away = 0.0, False
        living = [worker for worker in world.workers if not worker.killed]
        for worker in living:
            worker.cut = False
            worker.ask(2, patience_s=1000.0)
        for _ in range(1000):  # longer than any worker is waited for
            if any(worker.pending for worker in living):
                world.advance(0.5, 0.05)
        self.assertLessEqual(world.most, ceiling)
        for worker in living:
            self.assertEqual(served(worker), worker.asked - worker.hopeless)
        world.close()

    def trouble(self, world: World, number: int) -> None:
        random = world.random
        if random.random() < 0.3:
            # All workers know of each other, as ADR 25 requires.
            world.trouble, world.away = 0.0, False
            for worker in world.workers:
                worker.cut = False
            world.advance(4, 0.02)
            random.choice([world.loses_all, world.table.evict])()
        world.trouble = random.choice([0.0, 0.0, 0.3])
        world.away = random.random() < 0.3
        living = [worker for worker in world.workers if not worker.killed]
        known = all(worker.member.decode() in world.table.all for worker in living)
        if known and random.random() < 0.3:  # otherwise no worker may be left that knows of the others
            slot = random.randrange(number)
            victim = next(worker for worker in living if worker.base._file is world.files[slot])
            victim.kill()
            living.remove(victim)
            living.append(world.worker(slot))
        for worker in living:
            worker.cut = random.random() < 0.2
            worker.ask(random.choice([0, 0, 1, 4, 20]), patience_s=1000.0)
        for _ in range(random.choice([1, 5, 15, 30])):
            world.advance(0.5, 0.02)
            self.assertLessEqual(world.most, world.ceiling)
            self.assertLessEqual(sum(bases(world)), world.ceiling)

    def away(self, world: World) -> None:
        """Take Redis away for long; each worker with a base share still sends requests."""
        world.away = True
        world.advance(LONG_S, 0.02)
        for worker in world.workers:
            if not worker.killed and worker.base.value:
                before = served(worker)
                worker.ask(1, patience_s=1000.0)
                world.advance(0.02)
                self.assertGreaterEqual(worker.places.owned, worker.base.value)
                self.assertGreaterEqual(served(worker) + worker.gate.using().in_flight, before + 1)

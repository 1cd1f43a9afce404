"""Several workers, one Redis and every possible fault: no read contradicts an acknowledged write."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing.news import EntriesInvalidated

from .world import STEP_S, TIMING, Worker, World, settled

STEPS = 4000
SEEDS = range(12)


class Trouble:
    """Sometimes causes a fault, and repairs it again.

    The design does not promise anything in two cases, which do not occur here (docs/adr/0024-leases-and-a-log.md): a
    worker that has never joined; and a new life of Redis that begins while workers are cut off that no present worker
    has known.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.calm_until = 0.0

    def step(self) -> None:
        world, random = self.world, self.world.random
        if random.random() > 0.012:
            return
        worker = random.choice(world.workers)
        what = random.choice(
            (
                "cut",
                "cut",
                "pause",
                "pause",
                "die",
                "stop redis",
                "kill redis",
                "flush",
                "evict",
                "full",
                "leave",
            )
        )
        lasts = random.choice((0.05, 0.3, 0.8, 1.5, 4.0))
        if what == "cut" and world.now > self.calm_until:
            worker.link.cut = True
            world.after(lasts, lambda: self._mend(worker))
        elif what == "pause":
            worker.paused = True
            world.after(lasts, lambda: self._resume(worker))
        elif what == "die":
            cut = [one for one in world.workers if one.link.cut]  # workers whose news no one receives
            self._replace(random.choice(cut) if cut else worker)
        elif what == "leave" and not worker.paused:
            self._leave(worker)
        elif what == "full":
            world.redis.full = True
            world.after(lasts, self._not_full)
        else:
            self._redis(what, lasts)

    def _redis(self, what: str, lasts: float) -> None:
        world = self.world
        if what == "stop redis" and world.redis_up:
            world.redis_paused = True
            world.after(lasts, world.go_on)
            return
        if what == "kill redis" and world.redis_up:
            before = world.redis.kept()
            world.kill_redis()
            self._calm(lasts)
            world.after(lasts, lambda: self._restart(before))
        elif what == "flush" and world.redis_up:
            self._calm(0.0)
            world.redis.lose()
        elif what == "evict" and world.redis_up:
            self._evict()

    def _evict(self) -> None:
        redis, name = self.world.redis, self.world.random.choice(("head", "members", "leases", "log", "dead"))
        if name != "log":
            self._calm(0.0)
        setattr(redis, name, [] if name == "log" else {})

    def _calm(self, lasts: float) -> None:
        """A new epoch: all living workers join within the settle time."""
        world = self.world
        self.calm_until = world.now + lasts + 2 * TIMING.settle_s
        for worker in world.workers:
            worker.link.cut = False
            self._resume(worker)

    def _restart(self, before: object) -> None:
        world = self.world
        if world.random.random() < 0.5:
            world.redis.lose()
        elif world.random.random() < 0.5:
            world.redis.restore(before)  # type: ignore[arg-type]
        world.start_redis()

    def _mend(self, worker: Worker) -> None:
        worker.link.cut = False

    def _resume(self, worker: Worker) -> None:
        worker.paused = False

    def _not_full(self) -> None:
        self.world.redis.full = False

    def _replace(self, worker: Worker) -> None:
        world = self.world
        worker.die()
        world.workers[world.workers.index(worker)] = world.new_worker(worker.machine)

    def _leave(self, worker: Worker) -> None:
        world = self.world
        Deferred.fromCoroutine(worker.shared.stop())
        for _ in range(30):
            worker.live()
            world.step()
        if worker in world.workers:
            self._replace(worker)

    def heal(self) -> None:
        """End all faults."""
        world = self.world
        if not world.redis_up:
            world.start_redis()
        world.go_on()
        self._not_full()
        for worker in world.workers:
            self._mend(worker)
            self._resume(worker)


def lived(seed: int) -> World:
    """Run a world through all its faults."""
    world = World(seed)
    trouble = Trouble(world)
    for _ in range(STEPS):
        trouble.step()
        for worker in world.workers:
            if not worker.paused:
                if world.random.random() < 0.15:
                    worker.read()
                if world.random.random() < 0.01:
                    worker.write()
        world.step()
    trouble.heal()
    return world


class ModelTests(SynchronousTestCase):
    """No unmarked read is older than a write that was acknowledged before the read began."""

    def test_nothing_stale_is_served_whatever_happens(self) -> None:
        hits = answered = 0
        for seed in SEEDS:
            world = lived(seed)
            self.assertEqual(world.stale, [], f"seed {seed}")
            self.flushLoggedErrors(OSError)  # of disks
            hits, answered = hits + world.hits, answered + world.answered
        self.assertGreater(hits, 500)
        self.assertGreater(answered, 500)

    def test_when_all_is_well_everybody_serves_from_memory_again(self) -> None:
        for seed in SEEDS[:4]:
            world = lived(seed)
            for _ in range(2000):
                world.step()
                if settled(world):
                    break
            self.assertTrue(settled(world), f"seed {seed}")
            self.flushLoggedErrors(OSError)


class StoryTests(SynchronousTestCase):
    """Sequences that are too rare to occur by chance."""

    def setUp(self) -> None:
        self.world = World(1, workers=2)
        self.one, self.two = self.world.workers
        self.live_until(lambda: settled(self.world))
        self.addCleanup(self.flushLoggedErrors, OSError)

    def live_until(self, condition: Callable[[], object], steps: int = 3000) -> None:
        for _ in range(steps):
            if condition():
                return
            self.world.step()
        self.fail("it did not come about")

    def live(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.world.step()

    def fill(self, worker: Worker) -> None:
        worker.read()
        self.live_until(lambda: worker.kept == self.world.value)

    def answered(self, worker: Worker) -> None:
        before = self.world.answered
        worker.write()
        self.live_until(lambda: self.world.answered > before)

    def reads_well(self, worker: Worker) -> None:
        worker.read()
        self.assertEqual(self.world.stale, [])

    def test_what_aworker_wrote_who_died_before_he_could_say_it(self) -> None:
        self.fill(self.two)
        self.one.link.cut = True
        self.answered(self.one)
        self.one.die()
        self.world.workers[0] = self.world.new_worker(self.one.machine)
        self.live_until(lambda: settled(self.world))
        self.reads_well(self.two)
        self.assertEqual(self.world.hits, 0)

    def test_who_is_cut_off_while_redis_begins_anew_is_not_forgotten(self) -> None:
        self.one.link.cut = True
        self.world.kill_redis()
        self.live(0.3)
        self.world.redis.lose()
        self.world.start_redis()
        self.live_until(lambda: self.two.shared.sees_others)
        self.live(3 * TIMING.settle_s)
        self.two.read()
        self.live(1)
        self.answered(self.one)
        self.reads_well(self.two)
        self.assertFalse(self.two.shared.may_serve)
        self.one.link.cut = False
        self.live_until(lambda: settled(self.world))

    def since(self) -> float:
        return self.two.clock.seconds() - self.two.shared.sees_since

    def test_each_break_ends_what_was_seen_without_one(self) -> None:
        """Also one that is shorter than a lease, and that of another worker."""
        for worker in (self.one, self.two):
            self.patch(worker.link, "_delay", lambda: 0.001)
        for break_link in (self.two.link.lost, self.cut_off_the_other):
            self.live(20)
            self.assertGreater(self.since(), 19)
            break_link()
            self.live(1)
            self.live_until(lambda: settled(self.world))
            self.assertLess(self.since(), 2)

    def cut_off_the_other(self) -> None:
        self.one.link.cut = True
        self.live_until(lambda: self.two.shared.held_back)
        self.live(20)
        self.one.link.cut = False

    def test_nobody_serves_at_the_beginning_of_an_epoch(self) -> None:
        self.world.redis.lose()
        self.live(2 * TIMING.lease_s)  # the leases of the epoch before have ended
        while self.world.now < self.world.redis.head["began"] / 1000 + TIMING.settle_s:
            self.assertFalse(self.two.shared.may_serve)
            self.world.step()
        self.live_until(lambda: self.two.shared.may_serve)

    def test_a_lease_is_given_when_everything_has_been_read(self) -> None:
        self.two.link.cut = True
        self.live_until(lambda: not self.two.shared.may_serve)
        for number in range(23):  # a reply holds five of them
            self.one.shared.say(EntriesInvalidated((f"t{number}",)))
            self.live(0.03)
        heard: list[int] = []
        self.two.shared.listen(lambda _news: heard.append(int(self.two.shared.may_serve)))
        self.two.link.cut = False
        self.live_until(lambda: self.two.shared.may_serve)
        self.assertEqual(heard, [0] * 23)

    def heard_by(self, worker: Worker) -> list[str | None]:
        """Return a list that collects the numbers that a worker receives as news."""
        heard: list[str | None] = []
        worker.shared.listen(
            lambda news: heard.append(news.resource) if isinstance(news, EntriesInvalidated) else None
        )
        return heard

    def say(self, count: int) -> list[str]:
        said = [f"said {number}" for number in range(count)]
        for one in said:
            self.one.shared.say(EntriesInvalidated(("t",), resource=one))
            self.live(0.03)
        return said

    def test_what_is_on_disk_is_not_trusted_before_all_that_was_missed_is_heard(self) -> None:
        """A reply holds five, and Redis may be away for long between two replies."""
        read = (self.two.shared._epoch, self.two.shared.position)
        self.two.die()
        said = self.say(23)
        back = Worker(self.world, self.two.machine, "back", read)
        self.world.workers[1], heard = back, self.heard_by(back)
        joined: list[tuple[bool, int]] = []
        back.shared.joined.listen(lambda anew: joined.append((anew, len(heard))))
        self.live_until(lambda: joined)
        self.assertEqual((joined, heard[:23]), ([(False, 23)], said))

    def test_what_redis_loses_before_all_have_read_it_is_said_again(self) -> None:
        """``Everything`` does not say whose password was changed, or from whom an entry is hidden."""
        heard = self.heard_by(self.two)
        self.two.link.cut = True
        self.answered(self.one)
        self.assertEqual(len(self.one.shared._outbox), 0)
        self.world.kill_redis()
        self.live(0.3)
        self.world.redis.lose()
        self.world.start_redis()
        self.live_until(lambda: self.one.shared.sees_others)
        self.live(1)  # it was announced again before the other is back
        self.assertEqual(heard, [])
        self.two.link.cut = False
        self.live_until(lambda: settled(self.world))
        self.assertEqual(heard, ["1"])
        self.live(1)
        self.assertEqual(self.one.shared._outbox._unread, [])

    def test_who_missed_something_for_good_is_told_so(self) -> None:
        missed: list[int] = []
        self.two.shared.missed.listen(lambda: missed.append(1))
        self.two.link.cut = True
        self.say(10)
        self.two.link.cut = False
        self.live_until(lambda: settled(self.world))
        self.assertEqual(missed, [])
        self.two.link.cut = True
        self.say(40)  # the log holds thirty
        self.two.link.cut = False
        self.live_until(lambda: settled(self.world))
        self.assertEqual(missed, [1])

    def test_who_gives_up_applying_misses_nothing(self) -> None:
        heard, missed, fails = self.heard_by(self.two), [], [True]
        self.two.shared.missed.listen(lambda: missed.append(1))
        self.two.shared.listen(lambda _news: fail(OSError("the disk")) if fails else None)
        said = self.say(60)
        fails.clear()
        self.live_until(lambda: settled(self.world))
        self.assertEqual(list(dict.fromkeys(heard)), said)
        self.assertEqual(missed, [])

    def test_goodbye_is_said_by_who_has_not_read_everything_yet(self) -> None:
        """Otherwise all workers wait for it, and none may serve."""
        back = Worker(self.world, 7, "back")
        self.world.workers.append(back)
        back.shared.listen(lambda _news: fail(OSError("the disk")))
        self.live_until(lambda: len(self.world.redis.members) == 3)
        self.assertFalse(back.shared._joined)
        self.live_until(lambda: back.shared.member in back.shared.view.members)
        Deferred.fromCoroutine(back.shared.stop())
        self.live_until(lambda: len(self.world.redis.members) == 2, 100)

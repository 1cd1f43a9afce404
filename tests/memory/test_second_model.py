"""Workers read and write one value at random, over a second level: no read is older than an earlier write.

python -m tests.memory.test_second_model 20000 7
"""

from __future__ import annotations

import random
import sys
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.memory.staleness import tags_of_write
from hospproxy.sharing.kinds import Away, NoSharing
from hospproxy.sharing.news import EntriesInvalidated
from tests.sharing.small_redis import SmallCommon, SmallRedis

from .cache_rig import Asked, CacheRig, Reading, answer, call_of

WRITE = call_of("createNote", document={})
NO_CACHE = (b"Cache-Control", b"no-cache")


class Lease(NoSharing):
    is_alone = False

    def __init__(self) -> None:
        self.may_serve = True


class Worker:
    """The part of a process that reads and receives news."""

    def __init__(self, clock: Clock, redis: SmallRedis) -> None:
        self.lease = Lease()
        self.common = SmallCommon(redis)
        self.rig = CacheRig(clock=clock, common=self.common, sharing=self.lease)
        self.rig.heard = 0
        self.reads: list[tuple[Reading, int]] = []
        self.seen: dict[int, int] = {}

    def hears(self, seq: int) -> None:
        """Receive all news up to this position of the log."""
        self.rig.memory.invalidate(WRITE)
        self.rig.heard = max(self.rig.heard, seq)


@define(eq=False)
class Write:
    """A write in progress: sent, then carried out, then announced, then received by each worker, then acknowledged.

    :param deaf: workers that have not received its news.
    :param ended: it is acknowledged. A worker that has not received its news by then has no lease. If it was not even
        announced, because its worker is cut off, no worker has.
    """

    by: Worker
    version: int = 0
    said: int = 0
    deaf: list[Worker] = field(factory=list)
    ended: bool = False


class Model:
    """HOSP has one number, which each write raises; three workers read it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.redis = SmallRedis(self.clock)
        self.workers = [Worker(self.clock, self.redis) for _ in range(3)]
        # Made before the run, because House advances the clock.
        self.spare = [Worker(self.clock, self.redis) for _ in range(20)]
        self.version = self.answered = 0
        self.writes: list[Write] = []
        self.checked = self.shared = 0

    def run(self, steps: int) -> None:
        moves = (
            self.read,
            self.read,
            self.hosp,
            self.hosp,
            self.hosp,
            self.release,
            self.release,
            self.write,
            self.hold,
        )
        for _ in range(steps):
            self.clock.advance(self.chance.choice((0.0, 0.001, 0.05, 0.3, 3.0)))
            self.chance.choice(moves)()
            self.leases()
            self.spoil()
            if self.chance.random() < 0.02:
                self.restart()
            self.check()

    def read(self) -> None:
        worker = self.chance.choice(self.workers)
        if not worker.lease.may_serve:  # the cache is not used then (other tests cover that)
            return
        wish = [NO_CACHE] if self.chance.random() < 0.1 else []
        worker.reads.append((worker.rig.send("listNotes", *wish, deadline_s=1e9), self.answered))

    def hosp(self) -> None:
        """HOSP decides on a response, or a decided one arrives."""
        worker = self.chance.choice(self.workers)
        waiting = [one for one in worker.rig.hosp if not one.reply.called]
        if waiting:
            one: Asked = self.chance.choice(waiting)
            if id(one) in worker.seen:
                one.reply.callback(answer(b"[%d]" % worker.seen.pop(id(one))))
            else:
                worker.seen[id(one)] = self.version

    def restart(self) -> None:
        """A worker ends, and a new one joins, which has received no earlier news."""
        worker = self.chance.choice(self.workers)
        if self.spare and all(worker is not write.by for write in self.writes):
            new = self.workers[self.workers.index(worker)] = self.spare.pop()
            new.rig.heard = self.redis.seq
            for write in self.writes:
                write.deaf = [one for one in write.deaf if one is not worker]

    def hold(self) -> None:
        worker = self.chance.choice(self.workers)
        worker.common.hold = self.chance.random() < 0.3

    def release(self) -> None:
        worker = self.chance.choice(self.workers)
        worker.common.release(Away("lost") if self.chance.random() < 0.1 else None)

    def spoil(self) -> None:
        """A worker's cache evicts entries; Redis evicts a value, or two values swap places."""
        if self.chance.random() < 0.2:
            self.chance.choice(self.workers).rig.store.drop_tag("list:notes")
        keys = sorted(self.redis.values)
        if keys and self.chance.random() < 0.02:
            one, two = self.chance.choice(keys), self.chance.choice(keys)
            if self.chance.random() < 0.5:
                del self.redis.values[one]
            else:
                values = self.redis.values
                values[one], values[two] = values[two], values[one]

    def write(self) -> None:
        """A write begins, or one takes its next step."""
        if len(self.writes) < 2 and self.chance.random() < 0.05:
            begun = Write(self.chance.choice(self.workers))
            begun.by.rig.memory.invalidate(WRITE)
            self.writes.append(begun)
        elif self.writes:
            self.further(self.chance.choice(self.writes))

    def further(self, write: Write) -> None:
        if not write.version:
            self.version += 1
            write.version = self.version
            write.by.rig.memory.invalidate(WRITE)
        elif not write.said and not write.ended and self.chance.random() < 0.2:
            self.end(write)
        elif not write.said:
            write.by.common.strike(*tags_of_write(WRITE))
            write.said = self.redis.seq
            write.by.rig.heard = max(write.by.rig.heard, write.said)
            write.deaf = [one for one in self.workers if one is not write.by]
        elif write.deaf and self.chance.random() < 0.7:
            write.deaf.pop(self.chance.randrange(len(write.deaf))).hears(write.said)
        else:
            self.end(write)

    def end(self, write: Write) -> None:
        write.ended, self.answered = True, max(self.answered, write.version)
        if write.said and not write.deaf:
            self.writes.remove(write)

    def leases(self) -> None:
        for worker in self.workers:
            worker.lease.may_serve = not any(
                write.ended and (not write.said or worker in write.deaf) for write in self.writes
            )

    def check(self) -> None:
        for worker in self.workers:
            for reading, floor in [one for one in worker.reads if one[0].outcome]:
                worker.reads.remove((reading, floor))
                shown = int(reading.response.body.strip(b"[]"))
                assert shown >= floor, f"{shown} was shown after {floor} was answered ({reading.status!r})"
                self.checked += 1
                self.shared += b"shared" in reading.status


class ModelTests(SynchronousTestCase):
    def test_nobody_reads_what_is_older_than_an_answered_write(self) -> None:
        shared = checked = 0
        for seed in range(100):
            model = Model(seed)
            model.run(400)
            shared, checked = shared + model.shared, checked + model.checked
        self.assertGreater(shared, 300)
        self.assertGreater(checked, 3000)

    def test_news_say_what_awrite_strikes(self) -> None:
        """The model invalidates by itself the same entries as the news of such a write."""
        from hospproxy.sharing.generations import tags_of

        self.assertEqual(tags_of(EntriesInvalidated(tags_of_write(WRITE))), tags_of_write(WRITE))


def main(arguments: list[str]) -> Any:
    steps, seed = (int(one) for one in arguments)
    model = Model(seed)
    model.run(steps)
    print(f"{model.checked} reads, {model.shared} from the second level")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The model of who may see what, with responses and log-ins in a Redis that outlives the processes.

python -m tests.memory.test_credentials_shared 20000 7
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.http.messages import Response
from hospproxy.memory.memory import Memory
from hospproxy.memory.redis.level import LevelLimits, RedisSecondLevel
from hospproxy.memory.second_level import SecondLevelAccess
from hospproxy.sharing.tags import WHO
from tests.sharing.small_redis import SmallCommon, SmallRedis

from .credentials import Fuzz, Sent, run


class SharedFuzz(Fuzz):
    """Each process tells Redis at once what it invalidates.

    Sometimes it has nothing in its own cache, like another worker that has received all news.
    """

    common: Any = None

    def second(self, memory: Memory, time: Any) -> SecondLevelAccess:
        if self.common is None:
            self.common = SmallCommon(SmallRedis(self.clock))
        self.memory, here = memory, memory.fills.doom

        def doom(tags: Iterable[str]) -> int:
            struck = tuple(tags)
            told = (WHO,) if any(one.startswith("account") for one in struck) else ()
            self.common.strike(*struck, *told)
            return here(struck)

        memory.fills.doom = doom  # type: ignore[method-assign]
        return SecondLevelAccess(RedisSecondLevel(self.common, time, NullMeter(), LevelLimits(1 << 18)))

    def step(self) -> None:
        if self.chance.random() < 0.1:
            for tag in ("accounts", "public"):
                self.memory.store.drop_tag(tag)
            for credentials in list(self.memory.accounts._accepted):
                self.memory.accounts._drop(credentials)
        super().step()

    def _judge(self, answer: Response, sent: Sent) -> None:
        self.seen["shared"] += b"detail=shared" in (answer.headers.get(b"cache-status") or b"")
        super()._judge(answer, sent)


class SharedCredentialsTests(SynchronousTestCase):
    def test_nobody_gets_anothers_answer(self) -> None:
        """A failure names its seed."""
        for seed in (1, random.randrange(1 << 32)):
            seen = run(seed, 1200, SharedFuzz)
            for what in ("shared", "asked though revoked", "revocations"):
                self.assertTrue(seen[what], f"seed {seed} never had: {what}")


if __name__ == "__main__":
    for name, count in sorted(run(int(sys.argv[2]), int(sys.argv[1]), SharedFuzz).items()):
        print(f"{count:8} {name}")

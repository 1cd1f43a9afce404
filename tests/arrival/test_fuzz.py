"""Streams that Hypothesis makes: never forwarded wrongly, never two responses, never left hanging.

``FUZZ_EXAMPLES=100000`` makes the long form (``make fuzz``), ``ARRIVAL_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, given, seed, settings
from twisted.trial.unittest import SynchronousTestCase

from tests.arrival.random_streams import SOUND, Stream, faults, run, streams
from tests.corpus import ALL
from tests.corpus.reference import allowed

SEED = int(os.environ.get("ARRIVAL_SEED", random.SystemRandom().randrange(2**32)))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 400))
BATCH = 2000
"""Examples of one search. Hypothesis keeps all of them in memory."""


class FuzzTests(SynchronousTestCase):
    def test_streams(self) -> None:
        done = {"streams": 0, "forwarded": 0, "refused": 0, "nothing": 0}

        def check(stream: Stream) -> None:
            line = run(stream)
            logged = self.flushLoggedErrors()
            found = faults(stream, line) + [str(failure) for failure in logged]
            self.assertEqual(found, [], f"ARRIVAL_SEED={SEED}: {stream!r}")
            done["streams"] += 1
            done["forwarded"] += len(line.handler.handled)
            done["refused"] += len(line.handler.refused)
            done["nothing"] += not line.handler.handled and not line.handler.refused

        for start in range(0, EXAMPLES, BATCH):
            how = settings(
                max_examples=min(BATCH, EXAMPLES - start),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            seed(SEED + start)(how(given(streams)(check)))()
        print(f"ARRIVAL_SEED={SEED} {done}")
        self.assertGreaterEqual(done["streams"], EXAMPLES)
        self.assertGreater(done["forwarded"], EXAMPLES // 10)
        self.assertGreater(done["refused"], EXAMPLES // 10)


class ReferenceTests(SynchronousTestCase):
    """The rules that arrival is checked against are right themselves, and not so narrow that nothing is tested."""

    def test_sound_ones_are_forwarded(self) -> None:
        for sent in SOUND:
            stream = Stream(sent)
            line = run(stream)
            self.assertEqual((len(allowed(sent)), len(line.handler.handled)), (1, 1), sent)
            self.assertEqual(faults(stream, line), [], sent)

    def test_it_agrees_with_the_corpus(self) -> None:
        """The corpus states what is forwarded; the reference must allow at least that."""
        for case in ALL:
            may = [(each.method, each.path, each.query, each.body) for each in allowed(case.raw)]
            for number, passed in enumerate(case.passed):
                path, mark, query = passed.target.partition(b"?")
                wanted = (passed.method, path, query if mark else None, passed.body)
                self.assertEqual(may[number : number + 1], [wanted], case.name)

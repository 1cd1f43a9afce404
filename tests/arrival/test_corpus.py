"""Every request of the corpus, whole and split: none is passed on wrongly, gets two responses, or waits for ever."""

from __future__ import annotations

import os
import random
import re

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers, Request
from tests.arrival.memory_transport import PLAIN, Line, Recorder
from tests.corpus import ALL, LIMITS, Case

SEED = int(os.environ.get("ARRIVAL_SEED", random.SystemRandom().randrange(2**32)))

# The sum of the limits, with a sweep for each, is the longest life of a silent connection.
LONGEST_S = LIMITS.header_timeout_s + LIMITS.body_timeout_s + LIMITS.keep_alive_s + LIMITS.linger_s + 5


def whole(case: Case) -> list[bytes]:
    return [case.raw]


def byte_by_byte(case: Case) -> list[bytes]:
    return [case.raw[position : position + 1] for position in range(len(case.raw))]


def at_random(case: Case, generator: random.Random) -> list[bytes]:
    cuts = sorted(generator.sample(range(len(case.raw) + 1), min(len(case.raw), generator.randint(1, 5))))
    return [case.raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(case.raw)], strict=True)]


class CorpusTests(SynchronousTestCase):
    def run_case(
        self,
        case: Case,
        pieces: list[bytes],
        *,
        delay_s: float = 0.0,
        secure: bool = False,
        unknown_body_bytes: int = 0,
    ) -> None:
        """Send a case, and compare the outcome with the expected one."""
        where = f"{case.section} {case.name!r} in {len(pieces)} pieces"
        limits = evolve(LIMITS, unknown_body_bytes=unknown_body_bytes)
        line = Line(Recorder(delay_s=delay_s), plain=None if secure else PLAIN, limits=limits)
        line.send(*pieces)
        line.pass_time(LONGEST_S, step_s=1)
        self.assertTrue(line.gone, f"{where}: hangs")
        self.assertEqual(line.statuses(), case.statuses, where)
        self.check_passed(case, line.handler.handled, where)
        refusals = [error.status for _, error in line.handler.refused]
        self.assertEqual(refusals, [each for each in case.expected if isinstance(each, int)], where)
        self.assertEqual(line.context.budget.used, 0, f"{where}: bodies stay in memory")
        self.assertEqual(line.clock.getDelayedCalls(), [], f"{where}: timers stay")
        self.assertEqual(self.flushLoggedErrors(), [], where)

    def check_passed(self, case: Case, handled: list[Request], where: str) -> None:
        seen = [(r.method, r.path + (b"" if r.query is None else b"?" + r.query), r.body) for r in handled]
        self.assertEqual(seen, [(each.method, each.target, each.body) for each in case.passed], where)
        for request in handled:
            self.check_headers(case, request.headers, where)
            if case.host is not None:
                self.assertEqual(request.client.host, case.host, where)

    def check_headers(self, case: Case, headers: Headers, where: str) -> None:
        names = {name for name, _ in headers}
        ends_here = {
            b"connection",
            b"transfer-encoding",
            b"expect",
            b"upgrade",
            b"te",
            b"keep-alive",
            *case.without,
        }
        self.assertFalse(names & ends_here, where)
        for name, value in headers:
            self.assertEqual(name, name.lower(), where)
            self.assertIsNone(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), where)
        for name, value in case.having:
            self.assertEqual(headers.get(name), value, where)

    def test_whole(self) -> None:
        for case in ALL:
            self.run_case(case, whole(case))

    def test_bodies_that_are_read_when_they_are_asked_for(self) -> None:
        for case in ALL:
            self.run_case(case, whole(case), unknown_body_bytes=1)
            if len(case.raw) <= 20_000:
                self.run_case(case, byte_by_byte(case), unknown_body_bytes=4)

    def test_whole_over_tls(self) -> None:
        for case in ALL:
            self.run_case(case, whole(case), secure=True)

    def test_answers_that_take_their_time(self) -> None:
        for case in ALL:
            self.run_case(case, whole(case), delay_s=1.0)

    def test_byte_by_byte(self) -> None:
        for case in ALL:
            if len(case.raw) <= 20_000:
                self.run_case(case, byte_by_byte(case))

    def test_cut_in_two_anywhere(self) -> None:
        for case in ALL:
            if len(case.raw) <= 120:
                for position in range(1, len(case.raw)):
                    self.run_case(case, [case.raw[:position], case.raw[position:]])

    def test_cut_at_random(self) -> None:
        generator = random.Random(SEED)
        for case in ALL:
            for _ in range(3):
                pieces = at_random(case, generator)
                try:
                    self.run_case(
                        case, pieces, delay_s=generator.choice((0.0, 0.3)), secure=generator.random() < 0.5
                    )
                except AssertionError as error:
                    raise self.failureException(f"ARRIVAL_SEED={SEED}: {error}") from error

    def test_names_are_unique(self) -> None:
        names = [(case.section, case.name) for case in ALL]
        self.assertEqual(sorted({name for name in names if names.count(name) > 1}), [])

    def test_is_large_enough(self) -> None:
        self.assertGreaterEqual(len(ALL), 150)

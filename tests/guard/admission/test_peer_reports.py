"""Limits of clients that several workers share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Exchange
from hospproxy.guard.admission.claim_keys import ClaimKeys
from hospproxy.guard.admission.key_limits import TokenBuckets
from hospproxy.guard.admission.peer_reports import MOST_KEYS, SLACK, PeerReports, UnreportedTokens
from hospproxy.guard.admission.processor import Admission
from hospproxy.guard.admission.refusals import NoRefusalCache
from hospproxy.http.messages import Client, Headers, Identity, Origin, Request, Response
from hospproxy.memory.accounts import Accounts
from hospproxy.options.admission_section import AdmissionSettings
from hospproxy.sharing.kinds import ALONE
from hospproxy.sharing.news import CredentialsAccepted, LoginResult, News, TokensUsed, packed, unpacked
from hospproxy.watch.metrics import Metrics
from tests.stages import arrived

from .test_admission import SMALL, wrong

KEY = b"k" * 32


class Joined:
    """One process's link to the others: they receive its news at once."""

    is_alone = False
    may_serve = sees_others = True
    sees_since = -math.inf
    unbroken = 0

    def __init__(self, all_: list[Joined]) -> None:
        self.all = all_
        self.said: list[News] = []
        self.listeners: list[Callable[[News], None]] = []
        all_.append(self)

    def say(self, news: News) -> None:
        news = unpacked(packed(news))
        self.said.append(news)
        for other in self.all:
            if other is not self:
                for listener in other.listeners:
                    listener(news)

    async def announce(self, *news: News) -> None:
        raise AssertionError("a request waits for nothing here")

    def listen(self, listener: Callable[[News], None]) -> None:
        self.listeners.append(listener)


class Worker:
    def __init__(self, clock: Clock, sharing: Any, workers: int, settings: AdmissionSettings) -> None:
        self.clock, self.sharing, self.meter = clock, sharing, Metrics(strict=True)
        accounts = Accounts(clock, 100, 300, 43200)
        keys = ClaimKeys(b"i" * 32, b"n" * 32)
        self.admission = Admission(
            settings,
            keys,
            accounts,
            NoRefusalCache(),
            clock,
            self.meter,
            sharing,
            lambda: workers,
            heartbeat_s=0.5,
        )

    def send(self, auth: bytes | None, status: int = 401, address: str = "10.0.0.1") -> Deferred[Response]:
        given = Headers(((b"authorization", auth),)) if auth is not None else Headers()
        client = Client(address, address, (), "https", "proxy.test", "request-1")
        exchange = arrived(Request("GET", b"/", None, (1, 1), given, None, client))

        async def proceed(exchange: Exchange) -> Response:
            if status == 200:
                exchange.trace.identity = Identity("1", "staff", b"hmac")
            return Response(status, origin=Origin.UPSTREAM)

        return Deferred.fromCoroutine(self.admission.process(exchange, proceed))


class SharedCase(SynchronousTestCase):
    settings = SMALL
    number = 4

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.all: list[Joined] = []
        self.workers = [
            Worker(self.clock, Joined(self.all), self.number, self.settings) for _ in range(self.number)
        ]

    def said(self, kind: type[News]) -> list[Any]:
        return [news for one in self.all for news in one.said if isinstance(news, kind)]


class GuessingTests(SharedCase):
    def guess(self, worker: int, number: int, name: str = "a@b.c") -> Deferred[Response]:
        return self.workers[worker].send(wrong(name, number))

    def test_failures_at_all_workers_count_together(self) -> None:
        for number in range(3):
            self.successResultOf(self.guess(number, number))
        late = self.guess(3, 3)
        self.assertNoResult(late)
        self.clock.advance(0.5)
        self.successResultOf(late)

    def test_each_is_counted_once_in_the_metrics_of_all(self) -> None:
        for number in range(3):
            self.successResultOf(self.guess(number, number))
        counts = [worker.meter.value("admission_failures_total") or 0 for worker in self.workers]
        self.assertEqual(counts, [1, 1, 1, 0])

    def test_the_same_wrong_password_at_all_workers_is_one_guess(self) -> None:
        for worker in range(4):
            self.successResultOf(self.guess(worker, 7))
        self.assertEqual(len(self.said(LoginResult)), 1)
        self.successResultOf(self.guess(0, 1))
        self.successResultOf(self.guess(1, 2))
        self.assertNoResult(late := self.guess(2, 3))
        self.clock.advance(0.5)
        self.successResultOf(late)

    def test_who_comes_back_ends_it_everywhere(self) -> None:
        for number in range(3):
            self.successResultOf(self.guess(number, number))
        right = self.workers[3].send(wrong("a@b.c", 99), 200)
        self.clock.advance(0.5)
        self.successResultOf(right)
        self.successResultOf(self.guess(0, 50))

    def test_who_is_accepted_by_one_waits_at_none_after_aheartbeat(self) -> None:
        self.successResultOf(self.workers[0].send(wrong("a@b.c", 99), 200))
        self.clock.advance(0.5)
        self.assertEqual(len(self.said(CredentialsAccepted)), 1)
        for number in range(6):
            waiting = self.guess(1, number)
            self.clock.advance(10)
            self.successResultOf(waiting)
        self.successResultOf(self.workers[2].send(wrong("a@b.c", 99), 200))

    def test_ones_that_hosp_refuses_are_accepted_by_nobody_any_more(self) -> None:
        self.successResultOf(self.workers[0].send(wrong("a@b.c", 99), 200))
        self.clock.advance(0.5)
        self.successResultOf(self.workers[1].send(wrong("a@b.c", 99), 401))
        for number in range(5):
            waiting = self.guess(1, number)
            self.clock.advance(10)
            self.successResultOf(waiting)
        self.assertNoResult(late := self.workers[2].send(wrong("a@b.c", 99), 401))
        self.clock.advance(10)
        self.successResultOf(late)

    def test_accepted_ones_are_said_once(self) -> None:
        for _ in range(5):
            self.successResultOf(self.workers[0].send(wrong("a@b.c", 99), 200))
            self.clock.advance(1)
        self.assertEqual(len(self.said(CredentialsAccepted)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nonsense_is_dropped(self) -> None:
        for news in (
            LoginResult(b"short", KEY),
            LoginResult(b""),
            CredentialsAccepted((b"x", b"")),
            TokensUsed({b"x": 5.0, KEY: math.nan}, {KEY: -1.0, b"": math.inf}),
        ):
            for listener in self.all[0].listeners:
                listener(news)
        self.assertEqual(self.workers[0].admission._by_account.failures(b"short", 100.0), 0)
        self.assertEqual(len(self.workers[0].admission._accepted), 0)
        self.assertEqual(len(self.workers[0].admission._address_rate), 0)


class RateTests(SharedCase):
    settings = evolve(SMALL, address_rate=1.0, address_burst=80)

    def passed(self, worker: int, number: int) -> int:
        results: list[Any] = []
        for _ in range(number):
            self.workers[worker].send(None, 200).addBoth(results.append)
        return sum(isinstance(one, Response) for one in results)

    def test_a_burst_over_all_workers_is_one_burst_and_an_eighth(self) -> None:
        passed = 0
        for _ in range(30):
            passed += sum(self.passed(worker, 2) for worker in range(4))
            self.clock.advance(0.5)
        # Tokens that are added meanwhile, and requests before the others get the news.
        self.assertLessEqual(passed, 80 * (1 + 1 / SLACK) + 15 + 8)
        self.assertGreaterEqual(passed, 80)

    def test_in_the_long_run_too_it_is_one_rate(self) -> None:
        for worker in range(4):
            self.passed(worker, 80)
        self.clock.advance(0.5)
        self.clock.advance(400)
        passed = 0
        for _ in range(1000):
            passed += sum(self.passed(worker, 1) for worker in range(4))
            self.clock.advance(1)
        self.assertLessEqual(passed, (1000 + 80) * (1 + 1 / SLACK) + 8)

    def test_what_others_took_never_costs_more_than_abucket(self) -> None:
        for listener in self.all[0].listeners:
            key = ClaimKeys(b"i" * 32, b"n" * 32).address("10.0.0.1")
            for _ in range(50):
                listener(TokensUsed({}, {key: 1e300}))
        self.assertEqual(self.passed(0, 1), 0)
        self.clock.advance(81)
        self.assertEqual(self.passed(0, 1), 1)

    def test_little_use_needs_no_words(self) -> None:
        for _ in range(100):
            self.passed(0, 1)
            self.clock.advance(40)
        self.assertEqual(self.said(TokensUsed), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class UnsaidTests(SynchronousTestCase):
    def test_those_who_took_most_are_said_first_and_the_rest_next(self) -> None:
        unsaid = UnreportedTokens(TokenBuckets(1.0, 8, 1000))
        for number in range(10):
            for _ in range(number):
                unsaid.add(bytes([number]), 0.0, 1)
        first = unsaid.take(0.0, 1, most=4)
        self.assertEqual(sorted(first), [bytes([n]) for n in (6, 7, 8, 9)])
        self.assertEqual(first[b"\x09"], 9.0)
        self.assertEqual(len(unsaid.take(0.0, 1)), 5)
        self.assertEqual((len(unsaid), unsaid.take(0.0, 1)), (0, {}))

    @given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3))), st.integers(1, 8))
    def test_it_is_bounded_and_never_says_more_than_was_taken(
        self, taken: list[tuple[int, float]], workers: int
    ) -> None:
        unsaid, now, said = UnreportedTokens(TokenBuckets(2.0, 20, 10), most=2), 0.0, 0.0
        for key, after_s in taken:
            now += after_s
            unsaid.add(bytes([key]), now, workers)
            self.assertLessEqual(len(unsaid), 2)
            said += sum(unsaid.take(now, workers).values())
        self.assertLessEqual(said, len(taken) + 1e-6)

    def test_what_does_not_fit_goes_with_the_next(self) -> None:
        clock, all_ = Clock(), list[Joined]()
        sharing, rate = Joined(all_), TokenBuckets(1.0, 1, 1000)
        telling = PeerReports(sharing, clock, 0.5, lambda: 2, rate, TokenBuckets(0.0, 1, 1))
        for number in range(MOST_KEYS + 5):
            for _ in range(2):
                telling.used(rate, number.to_bytes(32, "big"), 0.0)
            telling.accepted(number.to_bytes(32, "big"))
        clock.pump([0.5, 0.5, 0.5])
        used = [len(news.credentials) for news in sharing.said if isinstance(news, TokensUsed)]
        accepted = [len(news.credentials) for news in sharing.said if isinstance(news, CredentialsAccepted)]
        self.assertEqual((used, accepted), ([MOST_KEYS, 5], [MOST_KEYS, 5]))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_alone_nothing_is_said(self) -> None:
        clock, rate = Clock(), TokenBuckets(1.0, 1, 10)
        telling = PeerReports(ALONE, clock, 0.5, lambda: 1, rate, TokenBuckets(1.0, 1, 10))
        telling.used(rate, KEY, 0.0)
        telling.accepted(KEY)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_who_stops_says_no_more(self) -> None:
        clock, rate = Clock(), TokenBuckets(1.0, 1, 10)
        telling = PeerReports(Joined([]), clock, 0.5, lambda: 1, rate, TokenBuckets(1.0, 1, 10))
        telling.accepted(KEY)
        telling.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

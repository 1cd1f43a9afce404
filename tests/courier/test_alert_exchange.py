"""Alerts that count over machines: each subject raises one alert, wherever its events were."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.courier.alert_exchange import AlertExchange
from hospproxy.record.alerts.bounded import RepeatFilter
from hospproxy.record.alerts.count_rules import FailedLoginsByAddress, FailedLoginsByName, ManyPatients
from hospproxy.record.alerts.noticer import Noticer
from hospproxy.record.alerts.spread import MOST_BYTES
from tests.record.alerts.records import MONDAY, Counts, KeptJournal, failed_login, record
from tests.watch.status.machines_redis import FiguresRedis

NAMES = [f"{number:02x}" * 32 for number in range(256)]


class Machine:
    """The alert rules of one machine, and its part of Redis.

    :param at: the present time of all machines, in a list.
    """

    def __init__(self, redis: FiguresRedis, name: str, at: list[float]) -> None:
        self.journal = KeptJournal()
        self.exchange = AlertExchange(redis.worker(name), lambda: at[0])
        salt = name.encode()
        rules = (
            FailedLoginsByName(20, 300, salt),
            FailedLoginsByAddress(1000, 300, salt),
            ManyPatients(100, 3600, salt),
        )
        self.noticer = Noticer(rules, RepeatFilter(3600.0), self.journal, Counts(), lambda: at[0], self.claim)

    def claim(self, name: str, lasts_s: float) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.exchange.claim(name, lasts_s))

    def tell(self) -> None:
        """Do what the courier does every five seconds."""
        done: list[list[bytes]] = []
        Deferred.fromCoroutine(self.exchange.exchange(self.noticer.subjects())).addCallback(done.append)
        self.noticer.elsewhere(done[0])

    @property
    def alerts(self) -> list[Any]:
        return self.journal.alerts()


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.redis, self.at = FiguresRedis(), [MONDAY]
        self.one, self.two = self.machine("a"), self.machine("b")

    def machine(self, name: str) -> Machine:
        return Machine(self.redis, name, self.at)

    def tell(self) -> None:
        for _ in range(2):
            for machine in (self.one, self.two):
                machine.tell()
            self.at[0] += 5.0

    def alerts(self) -> list[Any]:
        return [*self.one.alerts, *self.two.alerts]


class SpreadTests(Case):
    def test_twenty_wrong_passwords_over_two_machines_are_one_alert(self) -> None:
        for _ in range(10):
            self.one.noticer.observe(failed_login())
            self.two.noticer.observe(failed_login())
        self.assertEqual(self.alerts(), [])
        self.tell()
        [alert] = self.alerts()
        self.assertEqual((alert["rule"], alert["count"]), ("failed-logins-name", 20))
        for _ in range(30):
            self.one.noticer.observe(failed_login())
            self.two.noticer.observe(failed_login())
        self.tell()
        self.assertEqual(len(self.alerts()), 1)

    def test_fewer_are_none(self) -> None:
        for _ in range(9):
            self.one.noticer.observe(failed_login())
            self.two.noticer.observe(failed_login())
        self.tell()
        self.assertEqual(self.alerts(), [])

    def test_enough_on_each_at_once_are_one_alert(self) -> None:
        for machine in (self.one, self.two):
            for _ in range(20):
                machine.noticer.observe(failed_login())
        self.tell()
        self.assertEqual(len(self.alerts()), 1)

    def test_in_whatever_order_they_come(self) -> None:
        for seed in range(20):
            random = Random(seed)
            self.setUp()
            for _ in range(random.randint(20, 40)):
                random.choice((self.one, self.two)).noticer.observe(failed_login())
                self.at[0] += random.random()
                if random.random() < 0.2:
                    random.choice((self.one, self.two)).tell()
            self.tell()
            self.assertEqual(len(self.alerts()), 1, seed)

    def test_what_is_old_does_not_count(self) -> None:
        for _ in range(10):
            self.one.noticer.observe(failed_login())
        self.tell()
        self.at[0] += 400.0
        for _ in range(10):
            self.two.noticer.observe(failed_login())
        self.tell()
        self.assertEqual(self.alerts(), [])

    def test_a_patient_who_is_opened_on_both_machines_counts_once(self) -> None:
        for number in range(60):
            for machine in (self.one, self.two):
                machine.noticer.observe(record(1, patient_id=str(number)))
        self.tell()
        self.assertEqual(self.alerts(), [])
        for number in range(60, 100):
            self.two.noticer.observe(record(1, patient_id=str(number)))
        self.tell()
        self.assertEqual([each["rule"] for each in self.alerts()], ["many-patients"])

    def test_what_a_machine_tells_is_bounded_and_has_the_hottest(self) -> None:
        for number, name in enumerate(NAMES):
            for _ in range(5):
                self.one.noticer.observe(failed_login(f"192.0.2.{number}", name))
        for number in range(40):
            for patient in range(90):
                self.one.noticer.observe(record(number, patient_id=str(patient)))
        for _ in range(10):
            self.one.noticer.observe(failed_login())
            self.two.noticer.observe(failed_login())
        self.assertLess(len(self.one.noticer.subjects()), MOST_BYTES)
        self.tell()
        self.assertEqual([each["rule"] for each in self.alerts()], ["failed-logins-name"])


class AwayTests(Case):
    def test_each_machine_alone_while_redis_is_away(self) -> None:
        self.redis.away = True
        for _ in range(19):
            self.one.noticer.observe(failed_login())
            self.two.noticer.observe(failed_login())
        self.tell()
        self.assertEqual(self.alerts(), [])
        for machine in (self.one, self.two):
            machine.noticer.observe(failed_login())
        self.assertEqual((len(self.one.alerts), len(self.two.alerts)), (1, 1))

    def test_what_redis_makes_up_raises_and_prevents_nothing(self) -> None:
        for _ in range(19):
            self.one.noticer.observe(failed_login())
        for value in (b"9 rubbish", b"x" * 70_000, b""):
            self.redis.data.hset(b"{p}:subjects", b"evil", value)
            self.tell()
        self.redis.data.delete(b"{p}:subjects")
        self.redis.data.set(b"{p}:subjects", b"of another type")
        self.tell()
        self.assertEqual(self.alerts(), [])
        key = b"{p}:alert:failed-logins-name " + b"ab" * 32
        for held in (b"rubbish", b""):
            self.redis.data.set(key, held)
            self.assertTrue(self.claims("failed-logins-name " + "ab" * 32))
        self.one.noticer.observe(failed_login())
        self.assertEqual(len(self.alerts()), 1)

    def claims(self, name: str) -> bool:
        return self.successResultOf(self.one.claim(name, 60.0))


class ClaimTests(Case):
    def claims(self, machine: Machine, lasts_s: float = 60.0) -> bool:
        return self.successResultOf(machine.claim("rule subject", lasts_s))

    def test_the_first_has_it_and_may_ask_again(self) -> None:
        self.assertEqual([self.claims(each) for each in (self.one, self.two, self.one)], [True, False, True])

    def test_a_claim_ends_even_if_redis_keeps_it(self) -> None:
        self.claims(self.one)
        self.redis.data.persist(b"{p}:alert:rule subject")
        self.at[0] += 61.0
        self.assertTrue(self.claims(self.two))

"""Guesses are slowed down; credentials that HOSP has accepted never are."""

from __future__ import annotations

import base64
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.arrival.front.trust import source_of
from hospproxy.guard.admission.claim_keys import ClaimKeys
from hospproxy.guard.admission.processor import COUNTED_S, Admission, KnownCredentials
from hospproxy.guard.admission.refusals import NoRefusalCache, RefusalCache
from hospproxy.guard.credentials import Credentials, parse_basic
from hospproxy.guard.identity import IdentityCheck
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.interfaces import IProcessor
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.cache import Cache
from hospproxy.memory.memory import Memory
from hospproxy.memory.store import LruStore
from hospproxy.options.admission_section import AdmissionSettings
from hospproxy.options.sections import CacheSettings
from tests.rig import CONTRACT, STAFF1, STAFF2, Rig, SmallHosp

SMALL = AdmissionSettings(account_free=3, address_free=6, account_waiting=1, address_waiting=2)
HOSPITAL = "10.0.0.1"


def wrong(name: str, number: int = 0) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:wrong{number}".encode())


class AdmissionRig:
    """A Rig with admission, and requests from any address."""

    def __init__(self, small: AdmissionSettings = SMALL, *, refusing: bool = False, **options: Any) -> None:
        from twisted.internet.task import Clock

        clock = Clock()
        hosp = SmallHosp(clock)
        accounts = Accounts(clock, 100, 300, 43200)
        self.refusals = RefusalCache(clock, small.refusal_s, 100, 25.0) if refusing else NoRefusalCache()
        memory = Memory(CONTRACT, accounts, LruStore(1 << 20), clock, let_in=self.refusals.written)

        def ask(*args: Any, **kwargs: Any) -> Any:
            return self.rig.ask(*args, **kwargs)

        keys = ClaimKeys(b"i" * 32, b"n" * 32)
        meter = options.pop("meter", None) or Rig().meter
        self.admission = Admission(small, keys, accounts, self.refusals, clock, meter, heartbeat_s=0.5)
        identity = IdentityCheck(CONTRACT, accounts, ask, b"i" * 32, meter, refusals=self.refusals)
        cache = Cache(CacheSettings(enabled=False), CONTRACT, memory, clock, meter, ask)
        parts = {"guard.admission": self.admission, "guard.identity": identity, "memory.cache": cache}
        self.rig = Rig(put_in=parts, clock=clock, hosp=hosp, **options)
        self.hosp, self.clock, self.accounts = hosp, clock, accounts

    def send(
        self, auth: bytes | None, address: str = HOSPITAL, path: bytes = b"/notes", method: str = "GET"
    ) -> Deferred[Response]:
        given = Headers(((b"authorization", auth),)) if auth is not None else Headers()
        client = Client(address, address, (), "https", "proxy.test", "request-1")
        return self.rig.chain.handle(Request(method, path, None, (1, 1), given, None, client))

    def hits(self) -> list[list[str]]:
        return [one.trace.rule_hits for one in self.rig.exchanges if not one.own]


class GuessingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.admission_rig = AdmissionRig()

    def at_once(self, *args: Any, **kwargs: Any) -> Response:
        return self.successResultOf(self.admission_rig.send(*args, **kwargs))

    def guess(self, times: int, name: str = "staff1", address: str = HOSPITAL) -> None:
        """Send wrong guesses, each after its delay."""
        for number in range(times):
            self.admission_rig.rig.get(self.admission_rig.send(wrong(name, number), address))

    def waited_s(self, *args: Any, **kwargs: Any) -> float:
        began, answer = self.admission_rig.clock.seconds(), self.admission_rig.send(*args, **kwargs)
        self.admission_rig.rig.get(answer)
        return float(round(self.admission_rig.clock.seconds() - began, 1))

    def test_it_is_a_processor(self) -> None:
        verifyObject(IProcessor, self.admission_rig.admission)

    def test_the_free_ones_then_longer_and_longer(self) -> None:
        waits = [self.waited_s(wrong("staff1", number)) for number in range(8)]
        self.assertEqual(waits, [0, 0, 0, 0.5, 1, 2, 4, 8])
        self.assertEqual(self.admission_rig.hits()[2], ["identity:refused"])
        self.assertEqual(self.admission_rig.hits()[3], ["admission:guessing", "identity:refused"])

    def test_an_address_is_slowed_whatever_the_names(self) -> None:
        waits = [self.waited_s(wrong(f"nobody{number}")) for number in range(8)]
        self.assertEqual(waits, [0, 0, 0, 0, 0, 0, 0.5, 1])
        self.assertEqual(self.waited_s(wrong("nobody99"), "10.0.0.2"), 0)

    def test_an_account_is_slowed_wherever_from_and_however_spelled(self) -> None:
        names = ["staff1", "STAFF1", " staff1", "staff1"]
        waits = [self.waited_s(wrong(name, number), f"10.1.0.{number}") for number, name in enumerate(names)]
        self.assertEqual(waits, [0, 0, 0, 0.5])

    def test_many_at_one_time_are_not_one(self) -> None:
        self.admission_rig.hosp.hold = True
        answers = [
            self.admission_rig.send(wrong("staff1", number), f"10.2.0.{number}") for number in range(9)
        ]
        self.assertEqual(len(self.admission_rig.hosp.held), 3)
        refused = [self.successResultOf(one) for one in answers[4:]]
        self.assertEqual({one.status for one in refused}, {429})
        self.assertIn(b'"status":429', refused[0].body)
        self.assertEqual(refused[0].headers.get(b"retry-after"), b"1")
        self.admission_rig.clock.advance(0.5)
        self.assertEqual(len(self.admission_rig.hosp.held), 4)

    def test_accepted_ones_pass_whatever_others_do(self) -> None:
        self.assertEqual(self.at_once(STAFF1).status, 200)
        for number in range(60):
            self.admission_rig.send(wrong("staff1", number))
        self.assertEqual(self.at_once(STAFF1).status, 200)
        self.assertEqual(self.admission_rig.hits()[-1], [])

    def test_also_when_they_were_accepted_some_hours_ago(self) -> None:
        self.at_once(STAFF1)
        self.admission_rig.clock.advance(6 * 3600)
        for number in range(60):
            self.admission_rig.send(wrong("staff1", number))
        self.assertEqual(self.at_once(STAFF1).status, 200)

    def test_also_when_a_change_of_any_account_has_made_memory_forget_them(self) -> None:
        self.at_once(STAFF1)
        self.guess(6)
        self.admission_rig.accounts.changing(None)
        self.admission_rig.accounts.changed(None)
        self.assertEqual(self.at_once(STAFF1).status, 200)
        self.assertEqual(self.admission_rig.hits()[-1], [])

    def test_also_after_a_restart_within_the_grace(self) -> None:
        """The credentials that Accounts remembers for the grace period suffice."""
        self.at_once(STAFF1)
        self.admission_rig.admission._accepted = KnownCredentials(10)
        self.admission_rig.clock.advance(6 * 3600)
        self.guess(6)
        self.assertEqual(self.at_once(STAFF1).status, 200)
        self.assertEqual(self.admission_rig.hits()[-1], [])

    def test_a_new_log_in_with_the_right_password_ends_the_accounts_guilt(self) -> None:
        self.guess(5)
        self.assertEqual(self.waited_s(STAFF1), 2)
        self.assertEqual(self.waited_s(wrong("staff1", 50), "10.0.0.9"), 0)

    def test_but_what_they_do_all_day_does_not(self) -> None:
        self.at_once(STAFF1)
        for number in range(5):
            self.waited_s(wrong("staff1", number))
            self.at_once(STAFF1)
        self.assertEqual(self.waited_s(wrong("staff1", 6)), 2)

    def test_old_credentials_lose_the_right_to_pass(self) -> None:
        self.at_once(STAFF1)
        self.admission_rig.hosp.passwords["staff1"] = "other"
        self.guess(4)
        self.assertEqual(self.at_once(STAFF1).status, 401)
        self.assertGreater(self.waited_s(STAFF1), 0)

    def test_the_same_wrong_one_counts_once(self) -> None:
        """A device that still has the old password is not an attacker."""
        for _ in range(50):
            self.assertEqual(self.waited_s(wrong("staff1")), 0)
        self.admission_rig.clock.advance(COUNTED_S)
        self.guess(3)
        self.assertEqual(self.waited_s(wrong("staff1", 4)), 0.5)

    def test_equal_ones_wait_together(self) -> None:
        self.guess(4)
        answers = [self.admission_rig.send(STAFF1) for _ in range(20)]
        self.admission_rig.clock.advance(1)
        self.assertEqual({self.successResultOf(one).status for one in answers}, {200})

    def test_the_innocent_from_a_guilty_address_goes_first(self) -> None:
        for number in range(7):
            self.waited_s(wrong("staff1", number))
        guesses = [self.admission_rig.send(wrong("staff1", 100 + number)) for number in range(2)]
        self.admission_rig.send(wrong("root"))
        answer = self.admission_rig.send(STAFF2)
        self.assertIn(429, [self.successResultOf(one).status for one in guesses if one.called])
        self.admission_rig.clock.advance(10)
        self.assertEqual(self.successResultOf(answer).status, 200)

    def test_what_hosp_could_not_say_is_no_failure(self) -> None:
        for number in range(9):
            self.admission_rig.hosp.read_faults = [500] * 5
            self.admission_rig.rig.get(self.admission_rig.send(wrong("staff1", number)))
        self.assertEqual(self.waited_s(wrong("staff1", 10)), 0)

    def test_without_credentials_or_with_malformed_ones_nothing_waits(self) -> None:
        for _ in range(60):
            for auth in (None, b"Basic", b"Bearer x"):
                self.assertEqual(self.at_once(auth).status, 401)

    def test_whoever_leaves_leaves_nothing_behind(self) -> None:
        self.guess(5)
        waiting = self.admission_rig.send(wrong("staff1", 9))
        waiting.cancel()
        self.failureResultOf(waiting)
        admission = self.admission_rig.admission
        self.assertEqual((len(admission._waiting), admission._trying, len(admission._waits)), (0, {}, 0))

    def test_a_refusal_says_whose_name_it_was(self) -> None:
        self.guess(4)
        for number in range(3):
            self.admission_rig.send(wrong("staff1", 10 + number), f"10.4.0.{number}")
        last = self.admission_rig.rig.exchanges[-1]
        self.assertEqual((last.trace.claimed_name, last.trace.rule_hits), ("staff1", ["admission:guessing"]))


class RateTests(SynchronousTestCase):
    def statuses(
        self, admission_rig: AdmissionRig, auth: bytes | None, times: int, address: str = HOSPITAL
    ) -> list[int]:
        return [self.successResultOf(admission_rig.send(auth, address)).status for _ in range(times)]

    def test_accepted_credentials_at_the_limit_and_one_beyond(self) -> None:
        admission_rig = AdmissionRig(evolve(SMALL, rate=1.0, burst=3))
        admission_rig.rig.get(admission_rig.send(STAFF1))
        self.assertEqual(self.statuses(admission_rig, STAFF1, 4), [200, 200, 200, 429])
        self.assertEqual(admission_rig.hits()[-1], ["admission:rate"])
        refused = self.successResultOf(admission_rig.send(STAFF1))
        self.assertEqual(refused.headers.get(b"ratelimit-policy"), b'"user";q=3;w=3')
        self.assertEqual(refused.headers.get(b"ratelimit"), b'"user";r=0;t=1')
        self.assertEqual(self.statuses(admission_rig, STAFF2, 1), [200])
        admission_rig.clock.advance(1)
        self.assertEqual(self.statuses(admission_rig, STAFF1, 2, "10.9.9.9"), [200, 429])

    def test_an_address_without_accepted_ones_hinders_no_accepted_ones(self) -> None:
        admission_rig = AdmissionRig(evolve(SMALL, address_rate=1.0, address_burst=3))
        self.assertEqual(self.statuses(admission_rig, STAFF1, 1), [200])
        self.assertEqual(self.statuses(admission_rig, None, 3), [401, 401, 429])
        self.assertEqual(self.statuses(admission_rig, STAFF1, 20), [200] * 20)
        self.assertEqual(self.statuses(admission_rig, None, 1, "10.0.0.2"), [401])

    def test_the_answer_says_when(self) -> None:
        admission_rig = AdmissionRig(evolve(SMALL, address_rate=0.1, address_burst=1))
        self.statuses(admission_rig, None, 1)
        refused = self.successResultOf(admission_rig.send(None))
        self.assertEqual(refused.headers.get(b"retry-after"), b"10")
        self.assertEqual(refused.headers.get(b"ratelimit-policy"), b'"address";q=1;w=10')
        self.assertEqual(refused.headers.get(b"ratelimit"), b'"address";r=0;t=10')
        self.assertIn(b"Too many requests", refused.body)


class RateFieldsTests(SynchronousTestCase):
    """How much is left of a limit is told in every response, if the operator wants that."""

    LIMITED = evolve(SMALL, rate=0.5, burst=3, address_rate=1.0, address_burst=5, rate_fields=True)

    def told(self, admission_rig: AdmissionRig, auth: bytes | None, **more: Any) -> tuple[int, str, str]:
        response = self.successResultOf(admission_rig.send(auth, **more))
        fields = [
            b"".join(response.headers.all(name)).decode() for name in (b"ratelimit", b"ratelimit-policy")
        ]
        return response.status, fields[0], fields[1]

    def test_of_the_user_once_they_are_known_and_of_the_address_before(self) -> None:
        rig = AdmissionRig(self.LIMITED)
        self.assertEqual(self.told(rig, STAFF1), (200, '"address";r=4;t=1', '"address";q=5;w=5'))
        self.assertEqual(self.told(rig, STAFF1), (200, '"user";r=2;t=2', '"user";q=3;w=6'))
        self.assertEqual(self.told(rig, STAFF1), (200, '"user";r=1;t=4', '"user";q=3;w=6'))
        rig.clock.advance(2)
        self.assertEqual(self.told(rig, STAFF1)[1], '"user";r=1;t=4')
        self.assertEqual(self.told(rig, STAFF1)[1], '"user";r=0;t=2')
        self.assertEqual(self.told(rig, STAFF1)[:2], (429, '"user";r=0;t=2'))

    def test_of_every_status(self) -> None:
        rig = AdmissionRig(self.LIMITED)
        self.assertEqual(self.told(rig, None)[:2], (401, '"address";r=4;t=1'))
        self.assertEqual(self.told(rig, None, path=b"/cats")[:2], (404, '"address";r=3;t=2'))
        self.assertEqual(self.told(rig, None, method="PUT")[:2], (405, '"address";r=2;t=3'))
        self.assertEqual(self.told(rig, wrong("staff1"))[:2], (401, '"address";r=1;t=4'))

    def test_without_a_limit_or_without_the_option_there_are_none(self) -> None:
        for changes in ({"rate_fields": False}, {"rate": 0.0}):
            rig = AdmissionRig(evolve(self.LIMITED, **changes))
            self.told(rig, STAFF1)
            self.assertEqual(self.told(rig, STAFF1), (200, "", ""))

    def test_a_limit_that_a_reload_removes_is_not_told(self) -> None:
        rig = AdmissionRig(self.LIMITED)
        self.told(rig, STAFF1)
        rig.hosp.hold = True
        waiting = rig.send(STAFF1)
        rig.admission.reload(SMALL)
        rig.hosp.held.pop().callback(None)
        self.assertIsNone(self.successResultOf(waiting).headers.get(b"ratelimit"))


class RefusedLatelyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.admission_rig = AdmissionRig(refusing=True)

    def status(self, auth: bytes = b"", **kwargs: Any) -> int:
        return int(
            self.admission_rig.rig.get(self.admission_rig.send(auth or wrong("staff1"), **kwargs)).status
        )

    def asked(self) -> int:
        return len(self.admission_rig.hosp.seen("getMe"))

    def test_hosp_is_asked_once_in_five_seconds(self) -> None:
        self.assertEqual([self.status() for _ in range(9)], [401] * 9)
        self.assertEqual(self.asked(), 1)
        self.assertEqual(self.admission_rig.hits()[-1], ["identity:refused-lately"])
        self.admission_rig.clock.advance(5)
        self.status()
        self.assertEqual(self.asked(), 2)

    def test_any_write_to_staff_ends_it(self) -> None:
        self.admission_rig.rig.get(self.admission_rig.send(STAFF1))
        for method, target, document in (
            ("POST", "/staffs", {"name": "new", "hospital_id": 1, "password": "wrong0"}),
            ("PATCH", "/staffs/2", {"name": "staff2"}),
            ("DELETE", "/staffs/2", None),
            ("DELETE", "/hospitals/1", None),
        ):
            self.admission_rig.clock.advance(60)
            self.status(wrong("new"))
            self.assertTrue(len(self.admission_rig.refusals))
            given = () if document is None else (document,)
            self.admission_rig.rig.get(self.admission_rig.rig.send(method, target, *given, auth=STAFF1))
            self.assertEqual(len(self.admission_rig.refusals), 0, (method, target))
            if method == "POST":
                self.assertEqual(self.status(wrong("new")), 200)
                self.admission_rig.hosp.passwords["new"] = "other"

    def test_a_note_does_not(self) -> None:
        self.status()
        self.admission_rig.rig.get(
            self.admission_rig.rig.send("POST", "/notes", {"title": "t", "body": "b", "patient_id": 7})
        )
        self.assertEqual(len(self.admission_rig.refusals), 1)

    def test_a_question_from_before_a_write_is_not_joined_after_it(self) -> None:
        self.admission_rig.hosp.hold = True
        first = self.admission_rig.send(wrong("staff1"))
        self.admission_rig.refusals.written()
        second = self.admission_rig.send(wrong("staff1"))
        self.assertEqual(self.asked(), 2)
        self.admission_rig.hosp.hold = False
        for held in self.admission_rig.hosp.held:
            held.callback(None)
        self.assertEqual([self.admission_rig.rig.get(one).status for one in (first, second)], [401, 401])


class KeysTests(SynchronousTestCase):
    def test_no_more_of_a_name_is_looked_at_than_a_name_has(self) -> None:
        """A head may hold thousands of accents; normalising them would delay every client."""
        keys, name = ClaimKeys(b"i" * 32, b"n" * 32), "a" + "\u0315\u0300" * 127
        one, longer, other = (
            keys.attempt("192.0.2.1", Credentials(each, each.encode(), "x"))
            for each in (name + "a", name + "a" + "\u0315\u0300" * 2500, name + "b")
        )
        self.assertEqual(one.account, longer.account)
        self.assertNotEqual(one.account, other.account)
        self.assertNotEqual(one.credentials, longer.credentials)

    def test_an_ipv6_subscriber_is_one_address(self) -> None:
        self.assertEqual(source_of("2001:db8::1"), source_of("2001:db8::ffff"))
        self.assertNotEqual(source_of("2001:db8::1"), source_of("2001:db8:0:1::1"))
        self.assertEqual(source_of("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(source_of("fe80::1%eth0"), "fe80::/64")
        self.assertEqual((source_of("10.0.0.1"), source_of("")), ("10.0.0.1", ""))

    def test_nothing_of_a_claim_is_shown(self) -> None:
        credentials = parse_basic(STAFF1)
        assert credentials is not None
        attempt = ClaimKeys(b"i" * 32, b"n" * 32).attempt("10.0.0.1", credentials)
        self.assertEqual(repr(attempt), "LoginAttempt()")
        self.assertEqual(len({attempt.address, attempt.account, attempt.credentials}), 3)

    def test_a_known_set_forgets_the_longest_unused(self) -> None:
        known = KnownCredentials(2)
        for key in (b"a", b"b", b"a", b"c"):
            known.add(key, 1.0)
        self.assertEqual([known.since(key) for key in (b"a", b"b", b"c")], [1.0, None, 1.0])
        self.assertEqual(len(known), 2)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wrong", "right", "tick"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 40)
    ),
    max_size=60,
)


class ModelTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(STEPS)
    def test_accepted_ones_are_never_delayed_and_memory_is_bounded(
        self, steps: list[tuple[str, int, int, int]]
    ) -> None:
        admission_rig = AdmissionRig(evolve(SMALL, max_remembered=8))
        admission_rig.rig.get(admission_rig.send(STAFF1))
        failed = 0
        for what, where, who, number in steps:
            address, name = f"10.0.0.{where}", f"staff{who + 1}"
            if what == "wrong":
                before = len(admission_rig.hosp.seen("getMe"))
                admission_rig.send(wrong(name, number), address)
                failed += len(admission_rig.hosp.seen("getMe")) > before
            elif what == "right":
                self.assertEqual(self.successResultOf(admission_rig.send(STAFF1, address)).status, 200)
                self.assertEqual(admission_rig.hits()[-1], [])
            else:
                admission_rig.clock.advance(number / 4)
            admission = admission_rig.admission
            for table in (
                admission._by_address,
                admission._by_account,
                admission._accepted,
                admission._counted,
            ):
                self.assertLessEqual(len(table), 8)  # type: ignore[arg-type]
            self.assertLessEqual(len(admission._waiting), 4 * SMALL.address_waiting)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(1, 8), st.integers(0, 9))
    def test_wrong_ones_come_no_faster_than_the_delays_allow(self, parallel: int, spread: int) -> None:
        admission_rig = AdmissionRig()
        for number in range(100):
            for each in range(parallel):
                admission_rig.send(wrong("staff1", number * 100 + each), f"10.0.{each % (spread + 1)}.1")
            admission_rig.clock.advance(1)
        # The free guesses, six growing delays, one every ten seconds, and those forgiven in 100 s.
        self.assertLessEqual(len(admission_rig.hosp.seen("getMe")), 3 + 6 + 10 + 2)

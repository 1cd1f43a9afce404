"""Two caches with a second level behind both: what one has fetched, the other need not request."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Identity, Origin
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.cache import Cache
from hospproxy.memory.memory import Memory
from hospproxy.memory.redis.level import LevelLimits, RedisSecondLevel
from hospproxy.memory.second_level import SecondLevelAccess
from hospproxy.memory.store import LruStore
from hospproxy.options.sections import CacheSettings
from hospproxy.sharing.generations import tags_of
from hospproxy.sharing.kinds import Away, NoSharing
from hospproxy.sharing.news import AccountChange, CredentialsRefused
from tests.rig import CONTRACT, STAFF1, STAFF2, Rig, SmallHosp
from tests.sharing.small_redis import SmallCommon, SmallRedis

from .cache_rig import ANN, BEN, CacheRig, Meter, answer, call_of

HIT = b"hospproxy; hit; ttl=%d; detail=shared"
NO_CACHE = (b"Cache-Control", b"no-cache")


class Lease(NoSharing):
    is_alone = False
    may_serve = True


class Two(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.redis = SmallRedis(self.clock)
        self.common, self.others = SmallCommon(self.redis), SmallCommon(self.redis)
        self.lease = Lease()
        self.other = CacheRig(clock=self.clock, common=self.others)
        self.rig = CacheRig(clock=self.clock, common=self.common, sharing=self.lease, renews=True)

    def warm(self, call: Any = "listNotes", body: bytes = b"[1]", **how: Any) -> Any:
        """Let the other worker fetch a response, so that the second level has it."""
        return self.other.warm(call, answer(body), **how)

    def asks(self, call: Any = "listNotes", *headers: tuple[bytes, bytes], **how: Any) -> Any:
        """Send a read that must go to HOSP."""
        before = len(self.rig.hosp)
        reading = self.rig.send(call, *headers, **how)
        self.assertEqual(len(self.rig.hosp), before + 1)
        return reading


class SharedTests(Two):
    def test_what_one_was_answered_the_other_has(self) -> None:
        self.warm()
        self.clock.advance(7)
        reading = self.rig.send("listNotes")
        self.assertEqual(reading.response.body, b"[1]")
        self.assertEqual(reading.status, HIT % 52)
        self.assertEqual(reading.response.headers.get(b"age"), b"7")
        self.assertIs(reading.response.origin, Origin.MEMORY)
        self.assertEqual((reading.exchange.trace.cache_status, reading.exchange.trace.attempts), ("hit", 0))
        self.assertEqual(self.rig.meter.counts["cache_events_total:shared_hit"], 1)
        self.assertEqual(self.rig.hosp, [])

    def test_then_it_is_in_its_own_memory(self) -> None:
        self.warm()
        self.rig.send("listNotes")
        looks = len(self.common.ran)
        self.assertEqual(self.rig.send("listNotes").status, b"hospproxy; hit; ttl=59")
        self.assertEqual(len(self.common.ran), looks)
        self.rig.memory.invalidate(call_of("createNote", document={}))
        self.asks()

    def test_it_ends_with_the_time_of_the_first(self) -> None:
        self.warm()
        self.clock.advance(50)
        self.rig.send("listNotes")
        self.clock.advance(10)
        self.assertIn(b"ttl=0; detail=stale-while-revalidate", self.rig.send("listNotes").status)

    def test_it_is_not_for_other_credentials(self) -> None:
        self.warm()
        for who in (BEN, Identity(1, "ann", b"another password"), None):
            self.asks(who=who)

    def test_or_another_host_query_or_form(self) -> None:
        self.warm()
        self.asks(host="other.example")
        self.asks(call_of("listNotes", patient_id="1"))
        self.asks(call_of("listNotes", accept="html"))

    def test_what_is_public_is_for_all(self) -> None:
        html = answer(b"ok", headers=((b"Content-Type", b"text/html"),))
        self.other.warm("getStatus", html, who=None)
        self.assertEqual(self.rig.send("getStatus", who=None).status, HIT % 4)

    def test_wishes_count(self) -> None:
        self.warm()
        self.clock.advance(20)
        for wish in (b"no-cache", b"max-age=10", b"min-fresh=45", b"no-store"):
            reading = self.asks("listNotes", (b"Cache-Control", wish))
            reading.result.cancel()
        self.assertEqual(self.rig.send("listNotes", (b"Cache-Control", b"max-age=30")).status, HIT % 39)

    def test_everybodys_wish_counts_who_waits(self) -> None:
        self.warm()
        self.clock.advance(20)
        self.common.hold = True
        first = self.rig.send("listNotes")
        second = self.rig.send("listNotes", (b"Cache-Control", b"max-age=10"))
        self.common.release()
        self.assertEqual(len(self.rig.hosp), 1)
        self.rig.reply(answer(b"[2]"))
        self.assertEqual((first.response.body, second.response.body), (b"[2]", b"[2]"))

    def test_all_who_wait_get_it_with_its_age(self) -> None:
        self.warm()
        self.clock.advance(20)
        self.common.hold = True
        readings = [self.rig.send("listNotes") for _ in range(3)]
        self.common.release()
        self.assertEqual({one.status for one in readings}, {HIT % 39})
        self.assertEqual({one.response.headers.get(b"age") for one in readings}, {b"20"})

    def test_a_renewal_is_not_answered_by_what_it_renews(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.clock.advance(61)
        self.redis.ends = dict.fromkeys(self.redis.ends, 1 << 60)  # even if Redis kept it for ever
        self.rig.send("listNotes")
        self.assertEqual(len(self.rig.hosp), 2)
        self.rig.reply(answer(b"[2]"))
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")

    def test_but_by_what_another_has_renewed(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.clock.advance(61)
        self.other.warm("listNotes", answer(b"[2]"), who=ANN)
        self.rig.send("listNotes")
        self.assertEqual(len(self.rig.hosp), 1)
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")

    def test_a_look_is_not_answered_from_here(self) -> None:
        self.warm()
        self.asks(past_cache=True)
        self.assertEqual(self.common.ran, [])

    def test_errors_are_not_shared(self) -> None:
        self.other.warm("listNotes", answer(b"{}", status=500))
        self.other.warm("listNotes", answer(b"{}", (b"Cache-Control", b"no-store")))
        self.asks()

    def test_an_etag_is_enough_where_the_client_has_it(self) -> None:
        self.warm()
        reading = self.rig.send("listNotes", (b"If-None-Match", b'"abc"'))
        self.assertEqual(reading.response.status, 304)


class StruckTests(Two):
    def test_without_alease_it_is_of_no_use(self) -> None:
        """A worker that cannot reach Redis cannot invalidate anything there."""
        self.warm()
        self.lease.may_serve = False
        self.rig.warm("listNotes", answer(b"[2]"))
        self.assertEqual(self.common.ran, [])

    def test_nor_where_the_lease_ends_during_the_look(self) -> None:
        self.warm()
        self.common.hold = True
        self.rig.send("listNotes")
        self.lease.may_serve = False
        self.common.release()
        self.assertEqual(len(self.rig.hosp), 1)
        self.rig.reply(answer(b"[2]"))
        self.assertNotIn("keep", self.common.ran)

    def test_a_write_during_the_look_sends_it_to_hosp(self) -> None:
        self.warm()
        self.common.hold = True
        reading = self.rig.send("listNotes")
        self.rig.memory.invalidate(call_of("createNote", document={}))
        self.common.release()
        self.assertEqual(len(self.rig.hosp), 1)
        self.rig.reply(answer(b"[2]"))
        self.assertEqual(reading.response.body, b"[2]")
        self.assertEqual(len(self.rig.store), 0)

    def test_a_write_of_this_process_counts_before_redis_knows_of_it(self) -> None:
        """The write has ended, and Redis has not got its news: a value from there must be marked in the cache."""
        self.warm()
        self.clock.advance(1)
        self.rig.memory.invalidate(call_of("createNote", document={}))
        self.asks().result.cancel()
        self.clock.advance(1)
        self.other.send("listNotes", NO_CACHE)
        self.other.reply(answer(b"[2]"))
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")

    def test_an_account_in_doubt_gets_nothing(self) -> None:
        self.warm()
        self.rig.accounts.changing("1")
        self.rig.warm("listNotes", answer(b"[2]"))
        self.assertEqual(self.common.ran, [])
        self.rig.accounts.changed("1")
        self.asks()  # the entry from before

    def test_or_while_it_is_looked_for(self) -> None:
        self.warm()
        self.common.hold = True
        self.rig.send("listNotes")
        self.rig.accounts.changing("1")
        self.common.release()
        self.assertEqual(len(self.rig.hosp), 1)

    def test_what_anewer_fetch_has_brought_is_not_overwritten(self) -> None:
        self.warm()
        self.common.hold = True
        self.rig.send("listNotes")
        self.common.hold = False
        self.asks("listNotes", NO_CACHE)
        self.rig.reply(answer(b"[2]"))
        self.common.release()
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")

    def test_after_achange_of_the_account_all_share_again(self) -> None:
        """Each process has its own count of changes."""
        self.rig.accounts.changing("1")
        self.rig.accounts.changed("1")
        self.clock.advance(1)
        self.warm()
        self.assertEqual(self.rig.send("listNotes").status, HIT % 59)

    def test_refused_credentials_get_nothing(self) -> None:
        self.warm()
        self.rig.accounts.forget(ANN.credentials)
        self.asks()

    def test_what_was_struck_meanwhile_is_not_shared(self) -> None:
        self.other.send("listNotes")
        self.other.memory.invalidate(call_of("createNote", document={}))
        self.other.reply(answer(b"[1]"))
        self.asks()


class TroubleTests(Two):
    def test_away_is_as_if_there_were_none(self) -> None:
        self.warm()
        self.common.away = True
        self.rig.warm("listNotes", answer(b"[2]"))
        self.assertEqual(self.rig.send("listNotes").response.body, b"[2]")

    def test_lost_during_the_look_it_is_hosps_turn(self) -> None:
        self.warm()
        self.common.hold = True
        reading = self.rig.send("listNotes")
        self.clock.advance(0.5)
        self.common.release(Away("timeout"))
        self.rig.reply(answer(b"[2]"))
        self.assertIn(b"fwd=uri-miss; fwd-status=200; stored", reading.status)

    def test_who_leaves_ends_the_look(self) -> None:
        self.common.hold = True
        reading = self.rig.send("listNotes")
        reading.result.cancel()
        self.assertEqual(len(self.rig.memory.fills), 0)
        self.assertEqual(self.rig.hosp, [])


class Worker:
    """A chain with identities, a cache and a second level."""

    def __init__(self, hosp: SmallHosp, common: SmallCommon, remember_s: float = 300.0) -> None:
        self.accounts = Accounts(hosp.clock, 100, remember_s)
        self.memory = Memory(CONTRACT, self.accounts, LruStore(1 << 20), hosp.clock)
        meter = Meter()
        self.level = RedisSecondLevel(common, hosp.clock, meter, LevelLimits(1 << 20))
        self.cache = Cache(
            CacheSettings(),
            CONTRACT,
            self.memory,
            hosp.clock,
            meter,
            None,
            SecondLevelAccess(self.level, Lease()),
        )
        self.rig = Rig(
            clock=hosp.clock, hosp=hosp, accounts=self.accounts, put_in={"memory.cache": self.cache}
        )

    def get(self, target: str = "/notes", auth: bytes = STAFF1) -> Any:
        return self.rig.get(self.rig.send("GET", target, auth=auth))

    @property
    def last(self) -> Any:
        return [one for one in self.rig.exchanges if not one.own][-1]


class WhoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.hosp = SmallHosp(self.clock)
        self.common = SmallCommon(SmallRedis(self.clock))
        self.one, self.two = (Worker(self.hosp, self.common) for _ in range(2))

    @property
    def asked(self) -> int:
        return len(self.hosp.seen("getMe"))

    def test_a_log_in_is_for_all_workers(self) -> None:
        self.assertEqual(self.one.get().status, 200)
        self.clock.advance(10)
        self.assertEqual(self.two.get().status, 200)
        self.assertEqual((self.asked, len(self.hosp.seen("listNotes"))), (1, 1))
        self.assertEqual(self.two.last.trace.identity.name, "staff1")

    def test_it_is_believed_from_when_hosp_said_it(self) -> None:
        self.one.get()
        self.clock.advance(50)
        self.two.get()
        credentials = self.two.last.trace.identity.credentials
        self.clock.advance(248)
        self.assertIsNotNone(self.two.accounts.recall(credentials))
        self.clock.advance(2)
        self.assertIsNone(self.two.accounts.recall(credentials))

    def test_another_password_is_asked_for(self) -> None:
        self.one.get()
        self.assertEqual(self.two.get(auth=STAFF2).status, 200)
        self.assertEqual(self.two.get(auth=b"Basic c3RhZmYxOndyb25n").status, 401)
        self.assertEqual(self.asked, 3)

    def test_the_answer_itself_is_theirs_too(self) -> None:
        """A user who asks "who am I" is recorded under that name."""
        self.one.get("/staffs/me")
        response = self.two.get("/staffs/me")
        self.assertEqual((response.status, self.asked), (200, 1))
        self.assertEqual(self.two.last.trace.identity.name, "staff1")
        self.assertEqual(self.two.get().status, 200)
        self.assertEqual(self.asked, 1)

    def test_any_change_of_any_account_ends_it(self) -> None:
        for news in (AccountChange("x", "1"), AccountChange("x", "2", 120.0), AccountChange("x")):
            self.clock.advance(301)
            self.one.get()
            asked = self.asked
            self.common.strike(*tags_of(news))
            self.two.get()
            self.assertEqual(self.asked, asked + 1, news)

    def test_so_does_arefusal(self) -> None:
        self.one.get()
        self.common.strike(*tags_of(CredentialsRefused(self.one.last.trace.identity.credentials)))
        self.two.get()
        self.assertEqual(self.asked, 2)

    def test_an_account_in_doubt_is_not_taken_from_there(self) -> None:
        self.two.accounts.changing("1")
        self.clock.advance(1)
        self.one.get()
        self.two.get()
        self.assertEqual(self.asked, 2)

    def test_nor_one_that_was_changed_since(self) -> None:
        self.one.get()
        self.clock.advance(1)
        self.two.accounts.changing("1")
        self.two.accounts.changed("1")
        self.two.get()
        self.assertEqual(self.asked, 2)

    def test_who_trusts_no_word_lasting_asks_each_time(self) -> None:
        strict = Worker(self.hosp, self.common, 0.0)
        self.one.get()
        strict.get()
        self.assertEqual(self.asked, 2)

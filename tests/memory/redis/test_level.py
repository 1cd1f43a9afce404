"""The second level alone: what a lookup understands, and when a response is stored."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers, Origin, Response
from hospproxy.memory.redis.entry_codec import InvalidEntry, LookReply, looked, read, written
from hospproxy.memory.redis.level import LevelLimits, RedisSecondLevel
from hospproxy.memory.second_level import LookupTicket, SharedHit
from hospproxy.sharing.generations import tags_of
from hospproxy.sharing.news import (
    AccountChange,
    CredentialsRefused,
    EntriesInvalidated,
    EverythingStale,
    LoginResult,
)
from tests.memory.cache_rig import Meter

from ...sharing.small_redis import EPOCH_MS, SmallCommon, SmallRedis

ANSWER = Response(200, Headers(((b"Content-Type", b"application/json"),)), b'["Juno"]', Origin.MEMORY)
TAGS = ("accounts", "list:notes")


class Level(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.redis = SmallRedis(self.clock)
        self.common = SmallCommon(self.redis)
        self.meter = Meter()
        self.heard = 0
        self.level = RedisSecondLevel(
            self.common, self.clock, self.meter, LevelLimits(2000, 3000), heard=lambda: self.heard
        )

    def look(self, name: bytes = b"one", tags: tuple[str, ...] = TAGS, wanted: bool = True) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.level.look(name, tags, wanted)))

    def keep(self, ticket: LookupTicket, response: Response = ANSWER, lifetime_s: float = 60.0) -> None:
        now = self.clock.seconds()
        self.level.keep(ticket, SharedHit(response, now, now), lifetime_s)

    def kept(self, name: bytes = b"one") -> SharedHit | None:
        """Store a response; return what the second level has then."""
        found, ticket = self.look(name)
        self.assertIsNone(found)
        self.keep(ticket)
        found, _ = self.look(name)
        return found

    def events(self, event: str) -> float:
        return self.meter.counts.get(f"cache_events_total:{event}", 0)


class LevelTests(Level):
    def test_what_was_kept_is_found(self) -> None:
        found = self.kept()
        assert found is not None
        self.assertEqual(found.response, ANSWER)
        self.assertEqual(self.events("shared_stored"), 1)

    def test_it_is_never_taken_for_younger_than_it_is(self) -> None:
        _, ticket = self.look()
        self.clock.advance(4.0004)
        now = self.clock.seconds()
        self.level.keep(ticket, SharedHit(ANSWER, now - 4, now), 60.0)
        self.clock.advance(7.0007)
        found, _ = self.look()
        age, since = self.clock.seconds() - found.began, self.clock.seconds() - found.answered
        self.assertTrue(11.0007 <= age < 11.01, age)
        self.assertTrue(7.0007 <= since < 7.01, since)

    def test_a_slow_redis_makes_it_older_not_younger(self) -> None:
        self.kept()
        self.common.hold = True
        result = Deferred.fromCoroutine(self.level.look(b"one", TAGS, True))
        self.clock.advance(0.4)
        self.common.release()
        found, ticket = self.successResultOf(result)
        self.assertGreaterEqual(self.clock.seconds() - found.began, 0.4)
        self.assertEqual(ticket.received, self.clock.seconds())

    def test_it_ends_with_its_time(self) -> None:
        self.kept()
        self.clock.advance(60)
        self.assertIsNone(self.look()[0])

    def test_a_write_ends_it_whatever_tag_it_strikes(self) -> None:
        for tag in (*TAGS, "everything"):
            self.assertIsNotNone(self.kept())
            self.common.strike(tag)
            self.heard += 1
            self.assertIsNone(self.look()[0], tag)
        self.assertEqual(self.events("shared_refused"), 0)

    def test_a_write_between_look_and_keep_keeps_it_out(self) -> None:
        _, ticket = self.look()
        self.common.strike("list:notes")
        self.heard = 1
        self.keep(ticket)
        self.assertIsNone(self.look()[0])

    def test_an_evicted_generation_matches_nothing(self) -> None:
        self.kept()
        for key in [key for key in self.redis.values if b":gen:" in key]:
            del self.redis.values[key]
        self.assertIsNone(self.look()[0])

    def test_another_epoch_matches_nothing(self) -> None:
        """Its generation numbers may equal those of the epoch before."""
        self.kept()
        self.redis.epoch = b"f" * 16
        self.assertIsNone(self.look()[0])

    def test_who_has_not_heard_all_keeps_nothing(self) -> None:
        """News of a change of an account may still be under way; when the doubt ends, nothing invalidates again."""
        self.common.strike("other")
        _, ticket = self.look()
        self.keep(ticket)
        self.assertIsNone(self.look()[0])
        self.heard = 1
        self.keep(ticket)
        self.assertIsNotNone(self.look()[0])

    def test_only_the_ticket_is_given_where_no_answer_is_wanted(self) -> None:
        self.kept()
        found, ticket = self.look(wanted=False)
        self.assertIsNone(found)
        self.assertEqual(len(ticket.generations), 3)

    def test_names_and_worlds_are_kept_apart(self) -> None:
        self.kept()
        self.assertIsNone(self.look(b"two")[0])
        self.level._about = b"another contract"
        self.assertIsNone(self.look()[0])

    def test_away_is_nothing(self) -> None:
        self.kept()
        self.common.away = True
        self.assertEqual(self.look(), (None, None))

    def test_away_between_look_and_keep_is_counted(self) -> None:
        _, ticket = self.look()
        self.common.away = True
        self.keep(ticket)
        self.assertEqual(self.events("shared_not_stored"), 1)

    def test_what_is_too_long_is_not_kept(self) -> None:
        for length in (1950, 3000):  # sealed, it is longer than as it is
            _, ticket = self.look()
            self.keep(ticket, Response(200, body=b"x" * length))
            self.assertIsNone(self.look()[0])
        self.assertEqual(self.common.ran.count("keep"), 0)

    def test_what_is_on_its_way_is_bounded(self) -> None:
        long = Response(200, body=b"x" * 1400)
        tickets = [self.look(b"%d" % number)[1] for number in range(3)]
        self.common.hold = True
        for ticket in tickets:
            self.keep(ticket, long)
        self.assertEqual((self.common.ran.count("keep"), self.events("shared_not_stored")), (2, 1))
        self.common.release()
        self.keep(tickets[2], long)
        self.assertEqual(self.common.ran.count("keep"), 3)

    def test_what_is_past_its_time_is_not_kept(self) -> None:
        _, ticket = self.look()
        self.keep(ticket, lifetime_s=0.0)
        self.assertEqual(self.common.ran, ["look"])

    def test_a_clock_that_was_set_back_makes_nothing_fresh(self) -> None:
        self.kept()
        self.redis.set_back_ms = 3_600_000
        self.assertIsNone(self.look()[0])
        self.assertEqual(self.events("shared_refused"), 1)


class NonsenseTests(Level):
    def test_a_swapped_value_is_refused(self) -> None:
        self.kept(b"one")
        self.kept(b"two")
        one, two = (self.common.key("a", name) for name in (b"one", b"two"))
        self.redis.values[one], self.redis.values[two] = self.redis.values[two], self.redis.values[one]
        self.assertIsNone(self.look(b"one")[0])
        self.assertIsNone(self.look(b"two")[0])
        self.assertEqual(self.events("shared_refused"), 2)

    def test_nothing_in_it_can_be_read(self) -> None:
        self.kept()
        self.assertNotIn(b"Juno", b"".join([*self.redis.values, *self.redis.values.values()]))

    @settings(max_examples=200)
    @given(st.data())
    def test_whatever_is_done_to_it_is_refused(self, data: Any) -> None:
        self.setUp()
        self.kept()
        key = self.common.key("a", b"one")
        value = self.redis.values[key]
        at = data.draw(st.integers(0, len(value) - 1))
        flipped = value[:at] + bytes([value[at] ^ data.draw(st.integers(1, 255))]) + value[at + 1 :]
        bad = data.draw(
            st.one_of(
                st.just(flipped), st.just(value[:at]), st.binary(min_size=1).map(value.__add__), st.binary()
            )
        )
        self.redis.values[key] = bad
        found, ticket = self.look()
        self.assertIsNone(found)
        self.assertIsNotNone(ticket)
        self.assertEqual(self.events("shared_refused"), 1)

    @settings(max_examples=200)
    @given(st.binary())
    def test_whatever_is_sealed_is_an_answer_or_nothing(self, plain: bytes) -> None:
        """Another version of the proxy may have sealed it."""
        self.setUp()
        key = self.common.key("a", b"one")
        self.redis.set(key, self.common.vault.seal(plain, key), 1 << 40)
        self.assertIsNone(self.look()[0])
        self.assertEqual(self.events("shared_refused"), 1)

    def test_whatever_redis_says_is_no_failure(self) -> None:
        good = [b"e" * 16, EPOCH_MS, b"0", None, [b"n1", b"n2", b"n3"]]
        bad: tuple[Any, ...] = (None, b"\xff", [], 1 << 70, -1, [b"n1", b"n2"], [1, 2, 3], [b"x" * 65] * 3)
        replies = [[], good[:4], [*good, b"more"], [[good]]]
        replies += [
            [*good[:at], one, *good[at + 1 :]]
            for at in (0, 1, 4)
            for one in bad
            if at or type(one) is not bytes
        ]
        replies += [[*good[:2], one, *good[3:]] for one in (b"x", b"-1", 5, b"1" * 30)]
        replies += [[*good[:3], one, good[4]] for one in (5, [b"x"])]
        for reply in replies:
            self.common.says = reply
            found, ticket = self.look()
            self.assertIsNone(found)
            self.assertIsNone(ticket, reply)
        self.assertEqual(self.events("shared_refused"), len(replies))


class ValueTests(SynchronousTestCase):
    said = LookReply(b"e", EPOCH_MS, 0, None, (b"1",))

    def ticket(self, **how: Any) -> LookupTicket:
        return LookupTicket(b"one", ("x",), b"e", (b"1",), EPOCH_MS, 1000.0, 0)

    def test_absurd_times_and_statuses_are_refused(self) -> None:
        for response, began, answered in (
            (ANSWER, 999.0, 1000.5),
            (ANSWER, 999.5, 999.0),
            (Response(500), 999.0, 999.0),
        ):
            data = written(self.ticket(), SharedHit(response, began, answered))
            self.assertRaises(InvalidEntry, read, data, self.said, 1000.0)

    def test_the_reply_of_ahead_without_alog_is_understood(self) -> None:
        self.assertEqual(looked([b"e", 5, None, None, [b"1"]], 1), LookReply(b"e", 5, 0, None, (b"1",)))

    @given(
        st.lists(st.tuples(st.binary(), st.binary())),
        st.binary(),
        st.floats(0, 1000),
        st.floats(0, 30),
        st.floats(0, 400),
    )
    def test_what_is_written_is_read_and_never_younger(
        self, fields: list[tuple[bytes, bytes]], body: bytes, answered: float, took: float, later: float
    ) -> None:
        response = Response(200, Headers(tuple(fields)), body, Origin.MEMORY)
        data = written(self.ticket(), SharedHit(response, answered - took, answered))
        said = LookReply(b"e", EPOCH_MS + int(later * 1000), 0, None, (b"1",))
        found = read(data, said, 5000.0)  # of a process whose clock has another reading
        assert found is not None
        self.assertEqual(found.response, response)
        true = 5000.0 - later - (1000.0 - answered)
        self.assertTrue(true - 0.005 <= found.answered <= true + 1e-6)
        self.assertTrue(true - took - 0.005 <= found.began <= true - took + 1e-6)


class GenerationTests(SynchronousTestCase):
    def test_what_news_raise(self) -> None:
        for news, tags in (
            (
                EntriesInvalidated(("list:notes", "record:notes/1"), ("account:1",)),
                ("list:notes", "record:notes/1"),
            ),
            (AccountChange("x", "7", 120.0), ("who", "account:7")),
            (AccountChange("x"), ("who", "accounts")),
            (CredentialsRefused(b"\x01\x02"), ("credentials:0102",)),
            (EverythingStale(), ("everything",)),
            (LoginResult(b"x"), ()),
        ):
            self.assertEqual(tags_of(news), tags)

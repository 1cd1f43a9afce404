"""The cache of one of several workers: what it tells the others, what it receives, and when it may serve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, NotSent, OutcomeUnknown
from hospproxy.memory.memory import NOBODY, WriteAuthor
from hospproxy.memory.persistence import NoPersistence
from hospproxy.memory.remote_invalidation import RemoteInvalidation, RevocationNotStored
from hospproxy.memory.store import EntryMark
from hospproxy.sharing.news import (
    AccountChange,
    CredentialsRefused,
    EntriesInvalidated,
    EverythingStale,
    LoginResult,
    News,
)

from .cache_rig import ANN, BEN, CacheRig, Reading, answer, call_of


class Others:
    """Several workers, one of which is under test. The others receive news when the test says so."""

    is_alone = False
    sees_others = True
    sees_since = -math.inf
    unbroken = 0

    def __init__(self) -> None:
        self.may_serve = True
        self.told: list[News] = []
        self.said: list[News] = []
        self.waiting: list[Deferred[None]] = []
        self.listeners: list[Callable[[News], object]] = []
        self.at_once = False

    def say(self, news: News) -> None:
        self.said.append(news)

    async def announce(self, *news: News) -> None:
        if not news:
            return
        self.told += news
        if not self.at_once:
            self.waiting.append(Deferred())
            await self.waiting[-1]

    def listen(self, listener: Callable[[News], object]) -> None:
        self.listeners.append(listener)

    def heard(self) -> None:
        self.waiting.pop(0).callback(None)


class _Keeper(NoPersistence):
    def __init__(self) -> None:
        self.done: list[Any] = []
        self.works = True

    def mark(self, tag: str, mark: EntryMark, owner: str | None = None) -> None:
        self.done.append((tag, mark, owner))

    def drop(self, tag: str) -> None:
        self.done.append(tag)

    async def settled(self) -> bool:
        return self.works


class TogetherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.others = Others()
        self.keeper = _Keeper()
        self.rig = CacheRig(sharing=self.others, keeper=self.keeper)
        self.forgotten: list[object] = []
        self.hearing = RemoteInvalidation(self.rig.memory, lambda *what: self.forgotten.append(what))

    def kept(self, operation: str = "getNote", *path: str) -> Reading:
        """Cache a response."""
        call = call_of(operation, *path)
        self.rig.send(call)
        self.rig.reply(answer(b'{"id":1}'))
        again = self.rig.send(call)
        self.assertIn(b"hit", again.status)
        return again

    # Telling

    def test_a_write_is_answered_when_the_others_have_heard(self) -> None:
        writing = self.rig.send(call_of("updateNote", "1", document={}))
        self.assertEqual(self.others.told, [])
        self.rig.reply(answer(b"{}"))
        self.assertEqual(writing.outcome, [])
        (struck,) = self.others.told
        assert isinstance(struck, EntriesInvalidated)
        self.assertLessEqual({"list:notes", "record:notes/1"}, set(struck.tags))
        self.assertEqual(struck.hidden_from, ("public", "account:1"))
        self.assertEqual((struck.resource, struck.record, struck.lets_in), ("notes", "1", False))
        self.others.heard()
        self.assertEqual(writing.response.status, 200)

    def test_what_hosp_refuses_is_told_and_hidden_from_nobody(self) -> None:
        writing = self.rig.send(call_of("updateNote", "1", document={}))
        self.rig.reply(answer(b"{}", status=422))
        (struck,) = self.others.told
        assert isinstance(struck, EntriesInvalidated)
        self.assertEqual(struck.hidden_from, ())
        self.others.heard()
        self.assertEqual(writing.response.status, 422)

    def test_an_account_is_in_doubt_with_others_before_its_change_is_sent(self) -> None:
        writing = self.rig.send(call_of("updateStaff", "2", document={"password": "new"}))
        self.assertEqual(self.rig.hosp, [])
        (begun,) = self.others.told
        assert isinstance(begun, AccountChange)
        self.assertEqual((begun.staff_id, begun.doubt_s), ("2", 120.0))
        self.others.heard()
        self.rig.reply(answer(b"{}"))
        self.assertEqual(self.others.told[2:], [AccountChange(begun.reference, "2", 0.0)])
        struck = self.others.told[1]
        assert isinstance(struck, EntriesInvalidated)
        self.assertTrue(struck.lets_in)
        self.others.heard()
        self.assertEqual(writing.response.status, 200)

    def failing(self, error: Exception, attempts: int) -> Reading:
        writing = self.rig.send(call_of("updateStaff", "2", document={"password": "new"}))
        self.others.heard()
        writing.exchange.trace.attempts = attempts
        self.rig.reply(error)
        return writing

    def test_what_was_never_sent_waits_for_nobody_and_ends_the_doubt(self) -> None:
        writing = self.failing(NotSent("gone"), attempts=0)
        self.assertIsInstance(writing.error, NotSent)
        reference = self.others.told[0].reference  # type: ignore[union-attr]
        self.assertEqual(self.others.said, [AccountChange(reference, "2", 0.0)])

    def test_what_may_have_been_sent_is_told_and_doubted_on(self) -> None:
        writing = self.failing(FailedAfterSending("cut"), attempts=1)
        self.assertEqual(writing.outcome, [])
        account = self.others.told[-1]
        assert isinstance(account, AccountChange)
        self.assertGreater(account.doubt_s, 0)
        self.others.heard()
        self.assertIsInstance(writing.error, FailedAfterSending)

    def test_what_is_found_later_is_said_under_the_same_reference(self) -> None:
        self.others.at_once = True
        call = call_of("updateStaff", "2", document={"password": "new"})
        self.rig.send(call)
        self.rig.reply(OutcomeUnknown("who knows", reference="r"))
        open_one = self.others.told[-1]
        assert isinstance(open_one, AccountChange) and open_one.doubt_s > 0
        on_disk: Deferred[bool] = Deferred()
        self.keeper.settled = lambda: on_disk  # type: ignore[assignment, method-assign, return-value]
        found = self.rig.memory.found_later(call, WriteAuthor(ANN))
        self.assertNoResult(found)
        on_disk.callback(True)
        self.successResultOf(found)
        struck, account = self.others.told[-2:]
        assert isinstance(struck, EntriesInvalidated)
        self.assertEqual(struck.hidden_from, ("public", "account:1"))
        self.assertEqual(account, AccountChange(open_one.reference, "2", 0.0))
        self.rig.memory.found_later(call, NOBODY)  # as after a write of an earlier process
        self.assertEqual(self.others.told[-1], AccountChange("", "2", 0.0))

    def test_a_doubt_that_ends_by_time_ends_for_who_joined_meanwhile_too(self) -> None:
        """A worker that joined meanwhile may have cached the old state, and never received the doubt."""
        self.others.at_once = True
        writing = self.failing_at_once(FailedAfterSending("cut"))
        doubt = self.others.told[-1]
        assert isinstance(writing.error, FailedAfterSending) and isinstance(doubt, AccountChange)
        self.rig.clock.advance(doubt.doubt_s - 0.1)
        self.assertEqual(self.others.said, [])
        self.rig.clock.advance(0.2)
        struck, account = self.others.said
        assert isinstance(struck, EntriesInvalidated)
        self.assertTrue(struck.lets_in)
        self.assertEqual(account, AccountChange(doubt.reference, "2", 0.0))

    def failing_at_once(self, error: Exception) -> Reading:
        writing = self.rig.send(call_of("updateStaff", "2", document={"password": "new"}))
        writing.exchange.trace.attempts = 1
        self.rig.reply(error)
        return writing

    def test_refused_credentials_are_said_once_and_not_again_by_who_hears(self) -> None:
        self.rig.accounts.forget(ANN.credentials)
        self.assertEqual(self.others.said, [CredentialsRefused(ANN.credentials)])
        self.hearing.heard(CredentialsRefused(BEN.credentials))
        self.assertEqual(len(self.others.said), 1)

    # Receiving

    def test_what_another_has_written_is_served_no_more(self) -> None:
        self.kept("getNote", "1")
        self.hearing.heard(EntriesInvalidated(("record:notes/1",), (), False, "notes", "1"))
        self.assertEqual(self.forgotten, [("notes", "1")])
        self.assertNotIn(b"hit", self.after_failure(call_of("getNote", "1")).status.partition(b";")[0])
        self.assertIn(("record:notes/1", EntryMark.STRUCK, None), self.keeper.done)

    def after_failure(self, call: Any) -> Reading:
        reading = self.rig.send(call)
        self.assertEqual(reading.outcome, [], "it was served from memory")
        self.rig.reply(NotSent("gone"))
        return reading

    def test_its_writer_never_gets_it_again(self) -> None:
        self.kept("getNote", "1")
        self.hearing.heard(EntriesInvalidated(("record:notes/1",), ("account:1",)))
        reading = self.after_failure(call_of("getNote", "1"))
        self.assertEqual(reading.error.status, 503)  # type: ignore[attr-defined]
        self.assertIn(("record:notes/1", EntryMark.HIDDEN, "account:1"), self.keeper.done)

    def test_another_owners_write_hides_nothing_from_this_one(self) -> None:
        self.kept("getNote", "1")
        self.hearing.heard(EntriesInvalidated(("record:notes/1",), ("public", "account:2")))
        reading = self.after_failure(call_of("getNote", "1"))
        self.assertIn(b"stale-if-error-invalidated", reading.status)

    def test_what_is_on_its_way_is_neither_kept_nor_joined(self) -> None:
        for news in (
            EntriesInvalidated(("record:notes/1",)),
            EverythingStale(),
            AccountChange("r", "1", 0.0),
        ):
            call = call_of("getNote", "1")
            first = self.rig.send(call)
            self.hearing.heard(news)
            second = self.rig.send(call)
            self.rig.reply(answer(b"{}"), -2)
            self.assertIn(b"invalidated", first.status)
            self.assertEqual(second.outcome, [], news)
            self.rig.reply(answer(b"{}"))
            self.rig.memory.invalidate(call_of("updateNote", "1"))

    def test_an_account_that_another_changes_is_in_doubt_until_it_is_settled_or_time_is_up(self) -> None:
        accounts = self.rig.accounts
        accounts.remember(ANN, accounts.ticket())
        self.hearing.heard(AccountChange("r", "1", 120.0))
        self.assertIsNone(accounts.recall(ANN.credentials))
        self.assertFalse(accounts.settled(ANN))
        self.assertTrue(accounts.settled(BEN))
        self.hearing.heard(AccountChange("other", "1", 0.0))
        self.assertFalse(accounts.settled(ANN))
        ticket = accounts.ticket()
        self.hearing.heard(AccountChange("r", "1", 0.0))
        self.assertTrue(accounts.settled(ANN))
        accounts.remember(ANN, ticket)
        self.assertIsNone(accounts.recall(ANN.credentials), "asked before it was settled")

        self.hearing.heard(AccountChange("all", None, 60.0))
        self.assertFalse(accounts.settled(BEN))
        ticket = accounts.ticket()
        self.rig.clock.advance(61)
        self.assertTrue(accounts.settled(BEN))
        accounts.remember(BEN, ticket)
        self.assertIsNone(accounts.recall(BEN.credentials))

    def test_doubts_of_others_are_bounded(self) -> None:
        for number in range(300):
            self.hearing.heard(AccountChange(str(number), str(number), 60.0))
        self.assertLessEqual(len(self.rig.accounts._elsewhere), 100)
        self.assertFalse(self.rig.accounts.settled(ANN), "forgotten, and so in doubt for all")

    def test_refused_elsewhere_is_forgotten_here(self) -> None:
        accounts = self.rig.accounts
        accounts.remember(ANN, accounts.ticket())
        self.hearing.heard(CredentialsRefused(ANN.credentials))
        self.assertIsNone(accounts.recall(ANN.credentials))

    def test_when_nothing_is_known_everything_is_stale_and_everybody_is_asked_for_anew(self) -> None:
        self.kept("getNote", "1")
        accounts = self.rig.accounts
        accounts.remember(ANN, accounts.ticket())
        let_in: list[None] = []
        self.rig.memory.let_in = lambda: let_in.append(None)
        self.hearing.heard(EverythingStale())
        self.assertIsNone(accounts.recall(ANN.credentials))
        self.assertEqual(let_in, [None])
        self.assertLessEqual(
            {("accounts", EntryMark.STRUCK, None), ("public", EntryMark.STRUCK, None)}, set(self.keeper.done)
        )
        self.assertEqual(self.rig.send(call_of("getNote", "1")).outcome, [])

    def test_when_nothing_is_known_records_are_asked_for_anew_too(self) -> None:
        doubted: list[None] = []
        hearing = RemoteInvalidation(self.rig.memory, doubt_all=lambda: doubted.append(None))
        hearing.heard(EntriesInvalidated(("a",)))
        self.assertEqual(doubted, [])
        hearing.heard(EverythingStale())
        self.assertEqual(doubted, [None])

    def test_what_lets_in_is_told_on(self) -> None:
        let_in: list[None] = []
        self.rig.memory.let_in = lambda: let_in.append(None)
        self.hearing.heard(EntriesInvalidated(("list:staffs",)))
        self.hearing.heard(EntriesInvalidated(("list:staffs",), lets_in=True))
        self.hearing.heard(LoginResult(b"x"))
        self.assertEqual(let_in, [None])

    def test_what_is_revoked_must_be_on_disk(self) -> None:
        self.keeper.works = False
        for news in (AccountChange("r", "1", 0.0), CredentialsRefused(b"x"), EverythingStale()):
            done = self.hearing.heard(news)
            assert done is not None
            self.failureResultOf(done, RevocationNotStored)
        done = self.hearing.heard(EntriesInvalidated(("a",), ("public",)))
        assert done is not None
        self.successResultOf(done)

    # Serving

    def test_without_alease_hosp_is_asked_each_time(self) -> None:
        self.kept("getNote", "1")
        self.others.may_serve = False
        call = call_of("getNote", "1")
        first, second = self.rig.send(call), self.rig.send(call)
        self.assertEqual(len(self.rig.hosp), 3)
        self.rig.reply(answer(b"1"), -2)
        self.rig.reply(answer(b"2"))
        self.assertIn(b"fwd=bypass; detail=no-lease", first.status)
        self.assertEqual((first.response.body, second.response.body), (b"1", b"2"))
        self.others.may_serve = True
        self.assertEqual(self.rig.send(call).response.body, b"2")

    def test_without_alease_nothing_that_is_under_way_is_joined(self) -> None:
        call = call_of("getNote", "1")
        self.rig.send(call)
        self.others.may_serve = False
        self.rig.send(call)
        self.assertEqual(len(self.rig.hosp), 2)

    def test_without_alease_what_is_kept_still_stands_for_afailure(self) -> None:
        self.kept("getNote", "1")
        self.others.may_serve = False
        reading = self.after_failure(call_of("getNote", "1"))
        self.assertIn(b"detail=stale-if-error", reading.status)
        self.assertEqual(reading.response.body, b'{"id":1}')

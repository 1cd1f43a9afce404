"""The disk cache beside other writers: how far it has received their news, and when it must not be used."""

from __future__ import annotations

import sqlite3

from hospproxy.http.errors import NothingCached
from hospproxy.memory.remote_invalidation import RemoteInvalidation
from hospproxy.sharing.news import EverythingStale

from .cache_rig import ANN, answer
from .test_disk import Lasting


class PositionTests(Lasting):
    def test_a_new_file_knows_of_nothing(self) -> None:
        self.assertIsNone(self.process.disk.position())

    def test_it_outlives_the_process(self) -> None:
        self.process.disk.note_position(b"e" * 16, 7)
        self.process.disk.note_position(b"e" * 16, 9)
        self.assertEqual(self.process.disk.position(), (b"e" * 16, 9))
        self.process = self.process.ended()
        self.assertEqual(self.process.disk.position(), (b"e" * 16, 9))

    def test_it_is_not_ahead_of_what_was_heard(self) -> None:
        """A crash loses both or neither, so missed news are received again."""
        self.rig.warm("listNotes", answer(b"[1]"))
        self.rig.clock.advance(2)
        self.process.disk.drop("list:notes")  # written at once, together with everything that was pending
        self.process.disk.note_position(b"e", 8)
        self.process = self.process.killed()
        self.assertIsNone(self.process.disk.position())
        self.assertIs(self.read(), NothingCached)

    def test_a_file_from_before_it_has_none(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.rig.clock.advance(2)
        self.process.disk._file.close()
        connection = sqlite3.connect(self.world.path)
        connection.execute("DROP TABLE position")
        connection.commit()
        connection.close()
        self.process = self.process.killed()
        self.assertIsNone(self.process.disk.position())
        self.assertEqual(self.read(), b"[1]")

    def test_a_damaged_one_is_none(self) -> None:
        self.rig.clock.advance(2)
        self.process.disk._file.close()
        connection = sqlite3.connect(self.world.path)
        connection.execute("INSERT INTO position VALUES (1, 'text', 'more')")
        connection.commit()
        connection.close()
        self.process = self.process.killed()
        self.assertIsNone(self.process.disk.position())


class TrustTests(Lasting):
    def setUp(self) -> None:
        super().setUp()
        self.accept(ANN)
        self.rig.warm("listNotes", answer(b"[1]"))
        self.process = self.process.ended()

    def among_others(self) -> None:
        """End the process, and start one that shares a Redis with others."""
        self.world.trusted = False
        self.process = self.process.ended()

    def test_among_others_nothing_is_used_before_all_that_was_missed_is_heard(self) -> None:
        self.among_others()
        self.assertIs(self.read(), NothingCached)
        self.assertIsNone(self.grace(ANN))
        self.process.disk.joined(False)
        self.assertEqual(self.read(), b"[1]")
        self.assertEqual(self.grace(ANN), ANN)

    def test_if_some_may_be_missed_for_good_all_is_deleted(self) -> None:
        self.among_others()
        self.process.disk.joined(True)
        self.assertIs(self.read(), NothingCached)
        self.assertIsNone(self.grace(ANN))
        self.world.trusted = True
        self.process = self.process.ended()
        self.assertIs(self.read(), NothingCached)
        self.assertIsNone(self.grace(ANN))

    def test_a_new_epoch_deletes_nothing_that_was_vouched_for(self) -> None:
        self.among_others()
        self.process.disk.joined(False)
        self.process.disk.joined(True)
        self.assertEqual(self.read(), b"[1]")
        self.assertEqual(self.grace(ANN), ANN)

    def test_forgetting_is_at_once_and_for_good(self) -> None:
        self.process.disk.forget_all()
        self.assertIs(self.read(), NothingCached)
        self.assertIsNone(self.grace(ANN))
        self.process = self.process.killed()
        self.assertIs(self.read(), NothingCached)
        self.assertIsNone(self.grace(ANN))

    def test_open_changes_of_accounts_are_not_forgotten(self) -> None:
        self.process.disk.doubt("1", True)
        self.process.disk.forget_all()
        self.process = self.process.ended()
        self.assertFalse(self.rig.accounts.settled(ANN))


class MissedTests(Lasting):
    def setUp(self) -> None:
        super().setUp()
        self.accept(ANN)
        self.rig.warm("listNotes", answer(b"[1]"))

    def test_who_may_have_been_revoked_has_no_grace_and_what_may_be_hidden_is_given_to_nobody(self) -> None:
        hearing = RemoteInvalidation(self.rig.memory)
        hearing.heard(EverythingStale())  # what every start of Redis causes
        self.assertEqual((self.read(), self.grace(ANN)), (b"[1]", ANN))
        hearing.missed()
        self.assertEqual((self.read(), self.grace(ANN)), (NothingCached, None))
        self.process = self.process.killed()
        self.assertEqual((self.read(), self.grace(ANN)), (NothingCached, None))


class AgoTests(Lasting):
    def test_what_hosp_said_to_another_is_as_old_as_that(self) -> None:
        self.rig.accounts.remember(ANN, self.rig.accounts.ticket(), 60.0)
        self.process = self.process.ended()
        self.world.wall += 43200 - 63
        self.assertEqual(self.grace(ANN), ANN)
        self.world.wall += 2
        self.assertIsNone(self.grace(ANN))

    def test_it_takes_nothing_from_what_is_known_here(self) -> None:
        accounts = self.rig.accounts
        accounts.remember(ANN, accounts.ticket())
        accounts.remember(ANN, accounts.ticket(), 100.0)
        self.rig.clock.advance(299)
        self.assertEqual(accounts.recall(ANN.credentials), ANN)

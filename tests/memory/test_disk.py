"""What outlives a process in the disk cache, and what must not."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import NothingCached, NotSent, OwnWriteHidden, ProxyError
from hospproxy.http.messages import Identity, Response
from hospproxy.memory import disk, disk_file
from hospproxy.memory.disk import DiskLimits
from hospproxy.memory.store import EntryMark

from .cache_rig import ANN, BEN, answer, call_of
from .restartable_cache import Process, World

AWAY = NotSent("refused")


class Lasting(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(self.mktemp())
        self.process = Process(self.world)
        self.addCleanup(lambda: self.process.disk._file.close())

    @property
    def rig(self) -> Any:
        return self.process.rig

    def accept(self, *identities: Identity) -> None:
        for one in identities:
            self.rig.accounts.remember(one, self.rig.accounts.ticket())

    def grace(self, identity: Identity) -> Identity | None:
        return self.successResultOf(Deferred.fromCoroutine(self.rig.accounts.grace(identity.credentials)))

    def read(self, call: Any = "listNotes", **how: Any) -> Any:
        """Result of a read while HOSP is away: a body, or the class of the failure."""
        outcome = self.rig.send(call, offline=True, **how).outcome[0]
        return outcome.body if isinstance(outcome, Response) else type(outcome.value)

    def write(self, call: Any, response: Any, **how: Any) -> Any:
        reading = self.rig.send(call, **how)
        self.rig.reply(response)
        return reading


class SyncTests(Lasting):
    @property
    def waits_for_the_disk(self) -> bool:
        """Whether the last group of statements was synced (FULL) or not (NORMAL)."""
        connection = self.process.disk._file._connection
        assert connection is not None
        return bool(connection.execute("PRAGMA synchronous").fetchone() == (2,))

    def test_only_what_revokes_waits_for_the_disk(self) -> None:
        self.assertTrue(self.waits_for_the_disk)
        for change in (
            lambda: self.process.disk.drop("of no entry"),
            lambda: self.process.disk.mark("of no entry", EntryMark.HIDDEN),
            lambda: self.process.disk.doubt("7", True),
            lambda: self.process.disk.note_position(os.urandom(8), 1),
            self.process.disk.forget_all,
        ):
            self.accept(ANN)
            self.rig.warm("listNotes", answer(b"[1]"))
            self.rig.clock.advance(disk.LAZY_S)
            self.assertFalse(self.waits_for_the_disk)
            change()
            self.rig.clock.advance(disk.LAZY_S)
            self.assertTrue(self.waits_for_the_disk)
            self.rig.clock.advance(100_000)


class RestartTests(Lasting):
    def test_what_was_read_is_read_again(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.process = self.process.ended()
        self.world.wall += 3600
        reading = self.rig.send("listNotes", offline=True)
        self.assertEqual(reading.response.body, b"[1]")
        self.assertEqual(reading.response.headers.get(b"age"), b"3602")
        self.assertEqual(reading.status, b"hospproxy; hit; ttl=-3542; detail=stale-if-error")
        self.assertIs(self.read("listNotes", who=BEN), NothingCached)

    def test_nothing_is_fresh_after_arestart(self) -> None:
        """While the process was down, it could not receive news of writes."""
        self.rig.warm("listHospitals", answer(b"[1]"))
        self.process = self.process.ended()
        self.assertEqual(self.read("listHospitals"), b"[1]")
        reading = self.rig.warm("listHospitals", answer(b"[2]"))
        self.assertEqual(reading.status, b"hospproxy; hit; ttl=0; detail=stale-while-revalidate")
        self.assertEqual(self.rig.send("listHospitals").response.body, b"[2]")

    def test_what_was_evicted_from_memory_is_read_from_disk(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.rig.store.drop_tag("list:notes")
        self.assertEqual(self.read(), b"[1]")
        self.assertEqual(len(self.rig.store), 1)

    def test_a_crash_costs_at_most_the_last_second(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.rig.clock.advance(1)
        self.rig.warm("listHospitals")
        self.process = self.process.killed()
        self.assertEqual(self.read(), b"[1]")
        self.assertIs(self.read("listHospitals"), NothingCached)

    def test_a_writers_own_answer_is_hidden_before_he_is_answered(self) -> None:
        for who in (ANN, BEN):
            self.rig.warm("listNotes", answer(b"[]"), who=who)
        self.write(call_of("createNote", document={}), answer(b"thanks", status=201))
        self.process = self.process.killed()
        self.assertIs(self.read(), OwnWriteHidden)
        self.assertEqual(self.read(who=BEN), b"[]")

    def test_what_is_only_on_disk_is_hidden_too(self) -> None:
        self.rig.warm("listNotes", answer(b"[]"))
        self.process = self.process.ended()
        self.write(call_of("createNote", document={}), answer(b'{"id": 7}', status=201))
        self.assertIs(self.read(), OwnWriteHidden)

    def test_what_was_set_right_stays_so(self) -> None:
        self.rig.warm("listNotes", answer(b"[]"))
        self.write(call_of("createNote", document={}), answer(b'{"id":7}', status=201))
        self.process = self.process.killed()
        self.assertEqual(self.read(), b'[{"id":7}]')
        self.assertEqual(self.rig.warm("listNotes").exchange.trace.cache_status, "miss")

    def test_a_write_while_an_answer_comes_from_disk_is_not_missed(self) -> None:
        self.rig.warm("listNotes", answer(b"[]"))
        self.process = self.process.ended()
        held: list[Any] = []
        run = self.process.disk._worker.run
        self.patch(
            self.process.disk._worker, "run", lambda work: held.append((work, done := Deferred())) or done
        )
        reading = self.rig.send("listNotes", offline=True)
        work, done = held.pop()
        result = work()  # read from the file; its result is not delivered yet
        self.rig.send(call_of("createNote", document={}), who=ANN)
        self.rig.reply(answer(b"thanks", status=201))
        self.patch(self.process.disk._worker, "run", run)
        done.callback(result)
        self.assertIsInstance(reading.error, OwnWriteHidden)


class RevocationTests(Lasting):
    def setUp(self) -> None:
        super().setUp()
        for who in (ANN, BEN):
            self.accept(who)
            self.rig.warm("listNotes", answer(b"[1]"), who=who)

    def test_whom_hosp_accepted_is_known_for_ashift(self) -> None:
        self.process = self.process.ended()
        self.world.wall += 43200 - 3
        self.assertEqual(self.grace(ANN), ANN)
        self.world.wall += 2
        self.assertIsNone(self.grace(ANN))

    def test_in_the_same_process_too(self) -> None:
        self.rig.clock.advance(43199)
        self.assertEqual((self.rig.accounts.recall(ANN.credentials), self.grace(ANN)), (None, ANN))
        self.rig.clock.advance(1)
        self.assertIsNone(self.grace(ANN))

    def test_other_credentials_of_the_same_person_are_not(self) -> None:
        self.process = self.process.ended()
        self.assertIsNone(self.grace(evolve(ANN, credentials=b"other")))

    def test_a_write_to_the_account_ends_it_before_it_is_sent(self) -> None:
        for operation in ("updateStaff", "deleteStaff"):
            self.process = self.process.ended()
            self.rig.clock.advance(600)
            self.accept(ANN)
            self.process = self.process.ended()
            self.assertEqual(self.grace(ANN), ANN)
            self.rig.send(call_of(operation, "1"), who=BEN)
            self.assertIsNone(self.grace(ANN))
            self.process = self.process.killed()
            self.assertIsNone(self.grace(ANN))
            self.assertIs(self.read(), NothingCached)
            self.assertEqual((self.grace(BEN), self.read(who=BEN)), (BEN, b"[1]"))

    def test_the_outcome_makes_no_difference(self) -> None:
        for outcome in (
            answer(),
            answer(status=404),
            answer(status=503),
            AWAY,
            ProxyError("late", status=504),
        ):
            self.process = self.process.ended()
            self.accept(ANN)
            self.process = self.process.ended()
            self.write(call_of("updateStaff", "1", document={"name": "anna"}), outcome, who=BEN)
            self.process = self.process.killed()
            self.assertIsNone(self.grace(ANN), outcome)

    def test_in_the_process_that_did_it_too(self) -> None:
        self.write(call_of("updateStaff", "1", document={"password": "new"}), answer(), who=BEN)
        self.assertTrue(self.rig.accounts.settled(ANN))
        self.assertEqual((self.grace(ANN), self.grace(BEN)), (None, BEN))
        self.write(call_of("deleteHospital", "1"), answer(), who=BEN)
        self.assertIsNone(self.grace(BEN))
        self.accept(BEN)
        self.rig.accounts.forget(BEN.credentials)
        self.assertIsNone(self.grace(BEN))

    def test_a_refusal_ends_it_at_once(self) -> None:
        self.process = self.process.ended()
        self.rig.accounts.forget(ANN.credentials)
        self.assertIsNone(self.grace(ANN))
        self.process = self.process.killed()
        self.assertIsNone(self.grace(ANN))
        self.assertIs(self.read(), NothingCached)

    def test_an_account_that_was_being_changed_is_in_doubt_for_the_next_process(self) -> None:
        self.rig.send(call_of("updateStaff", "1", document={"password": "new"}), who=BEN)
        self.process = self.process.killed()
        self.accept(ANN, BEN)
        self.assertEqual((self.grace(ANN), self.grace(BEN)), (None, BEN))
        self.rig.clock.advance(600)
        self.accept(ANN)
        self.process = self.process.ended()
        self.accept(ANN)
        self.assertEqual(self.grace(ANN), ANN)

    def test_a_change_that_is_over_leaves_no_doubt(self) -> None:
        for outcome in (answer(), answer(status=503)):
            self.write(call_of("updateStaff", "1", document={}), outcome, who=BEN)
            self.rig.clock.advance(25)
            self.assertTrue(self.rig.accounts.settled(ANN))
            self.process = self.process.ended()
            self.accept(ANN)
            self.assertEqual(self.grace(ANN), ANN)

    def test_a_hospitals_deletion_is_everybodys(self) -> None:
        self.write(call_of("deleteHospital", "1"), AWAY)
        self.process = self.process.killed()
        self.assertEqual((self.grace(ANN), self.grace(BEN)), (None, None))

    def test_the_clock_set_back_makes_nothing_younger(self) -> None:
        self.process = self.process.ended()
        self.world.wall -= 7200
        self.assertIsNone(self.grace(ANN))
        self.assertIs(self.read(), NothingCached)

    def test_where_it_cannot_be_taken_back_it_is_not_sent(self) -> None:
        self.process.disk._worker.full = True  # type: ignore[attr-defined]
        self.patch(self.process.disk._worker, "run", _not_on_disk)
        reading = self.rig.send(call_of("updateStaff", "1", document={}), who=BEN)
        self.assertEqual((reading.error.status, len(self.rig.hosp)), (503, 2))
        self.assertTrue(self.rig.accounts.settled(ANN))


def _not_on_disk(_work: object) -> Deferred[Any]:
    failed: Deferred[Any] = Deferred()
    failed.errback(disk_file.NotOnDisk("read-only"))
    return failed


class FileTests(Lasting):
    def setUp(self) -> None:
        super().setUp()
        self.accept(ANN)
        self.rig.warm("listNotes", answer(b'["Juno has a cold"]'))

    def kept(self) -> tuple[bool, bool]:
        return self.grace(ANN) is not None, self.read() is not NothingCached

    def test_it_tells_nothing(self) -> None:
        self.process = self.process.ended()
        for path in self.world.path.parent.iterdir():
            for word in (b"Juno", b"notes", b"ann", ANN.credentials):
                self.assertNotIn(word, path.read_bytes(), path.name)
            self.assertEqual(path.stat().st_mode & 0o077, 0, path.name)

    def test_another_master_key_drops_it(self) -> None:
        self.world.made_with, self.world.key = "another", b"x" * 32
        self.process = self.process.ended()
        self.assertEqual(self.kept(), (False, False))
        self.process = self.process.ended()
        self.assertEqual(self.process.disk._file.dropped, "")

    def test_a_forged_value_is_not_used(self) -> None:
        self.world.key = b"x" * 32
        process = self.process.ended()
        for table in ("entries", "accepted"):
            process.disk._file._connection.execute(f"UPDATE {table} SET value = zeroblob(200)")  # type: ignore[union-attr]
        self.world.key = b"k" * 32
        self.process = process.ended()
        self.assertEqual(self.kept(), (False, False))

    def test_a_damaged_file_is_dropped(self) -> None:
        for damage in (b"no database", b""):
            self.process.rig.clock.advance(2)
            self.process.disk._file.close()
            self.world.path.write_bytes(damage)
            self.process = Process(self.world)
            self.addCleanup(lambda: self.process.disk._file.close())
            self.assertEqual(self.kept(), (False, False))
            self.rig.warm("listNotes")
            self.process = self.process.ended()
            self.assertEqual(self.kept(), (False, True))

    def test_damage_in_the_middle_is_found_at_the_start(self) -> None:
        for number in range(100):
            self.rig.warm(call_of("getNote", str(number)))
        self.process.rig.clock.advance(2)
        self.process.disk._file.close()
        content = bytearray(self.world.path.read_bytes())
        content[8192:40960] = os.urandom(32768)
        self.world.path.write_bytes(content)
        self.process = Process(self.world)
        self.addCleanup(lambda: self.process.disk._file.close())
        self.assertEqual(self.kept(), (False, False))

    def test_a_full_disk_costs_what_is_kept_and_nothing_else(self) -> None:
        self.process = self.process.ended()
        connection = self.process.disk._file._connection
        assert connection is not None
        connection.execute("PRAGMA max_page_count = 1")
        self.rig.warm("listHospitals", answer(b"[" + b" " * 100_000 + b"]"))
        self.rig.clock.advance(2)
        self.assertEqual(self.grace(ANN), None)
        self.write(call_of("updateStaff", "1", document={}), answer(), who=BEN)

    def test_a_file_that_cannot_be_removed_is_not_taken_for_up_to_date(self) -> None:
        file = self.process.disk._file
        self.patch(Path, "unlink", _no)
        self.assertRaises(disk_file.NotOnDisk, file.run, [_broken])
        self.assertRaises(disk_file.NotOnDisk, file.run, [])
        self.patch(Path, "unlink", Path.unlink)

    def test_that_it_cannot_be_written_is_said_once(self) -> None:
        """Each write tries again, and so does each heartbeat."""
        said: list[object] = []
        self.patch(disk, "_log", SimpleNamespace(error=lambda *what, **_fields: said.append(what)))
        self.patch(self.process.disk._worker, "run", _not_on_disk)
        for _ in range(3):
            self.assertIs(self.successResultOf(Deferred.fromCoroutine(self.process.disk.settled())), False)
        self.assertEqual(len(said), 1)

    def test_the_oldest_go(self) -> None:
        self.world.limits = DiskLimits(8000, 2)
        self.process = self.process.ended()
        for number in range(20):
            self.rig.warm(call_of("getNote", str(number)), answer(b'"%s"' % (b"x" * 500)))
        self.rig.clock.advance(2)
        self.assertLessEqual(self.process.disk.bytes, 8000)
        self.assertGreater(self.process.disk.bytes, 6000)
        self.process = self.process.ended()
        self.assertIs(self.read(call_of("getNote", "0")), NothingCached)
        self.assertIsNot(self.read(call_of("getNote", "19")), NothingCached)

    def test_so_do_the_oldest_acceptances(self) -> None:
        self.world.limits = DiskLimits(8000, 2)
        self.process = self.process.ended()
        crowd = [Identity(number, "x", b"%d" % number) for number in range(3)]
        self.accept(*crowd)
        self.process = self.process.ended()
        self.assertEqual([self.grace(one) is not None for one in (ANN, *crowd)], [False, False, True, True])

    def test_without_aplace_for_it_the_proxy_runs(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "cache").write_text("a file where a folder should be")
        world = World(str(folder))
        self.patch(disk_file.CacheFile, "drop", lambda _self, _why: None)
        process = Process(world)
        process.rig.warm("listNotes")
        process.rig.clock.advance(2)
        self.assertEqual(process.rig.send("listNotes").exchange.trace.cache_status, "hit")


def _no(_self: Path, missing_ok: bool = False) -> None:
    raise PermissionError(13, f"read-only {missing_ok}")


def _broken(_connection: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("disk I/O error")


class ShutTests(Lasting):
    def test_what_waits_is_written_at_the_end(self) -> None:
        self.rig.warm("listNotes", answer(b"[1]"))
        self.successResultOf(Deferred.fromCoroutine(self.process.disk.shut()))
        self.rig.accounts.forget(BEN.credentials)
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.process.disk.settled())))
        self.process = Process(self.world)
        self.addCleanup(lambda: self.process.disk._file.close())
        self.assertEqual(self.read(), b"[1]")

    def test_nothing_is_kept_before_it_is_open(self) -> None:
        disk = self.world.disk(Clock())
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(disk.get(b"x"))))

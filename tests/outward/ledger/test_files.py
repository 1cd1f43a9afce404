"""The ledger's file and its owners: real files, real locks, a real second process."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import hospproxy
from hospproxy.outward.ledger import format as file_format
from hospproxy.outward.ledger import store
from hospproxy.outward.ledger.ledger import Ledger
from hospproxy.outward.ledger.owner import LedgerOwner
from hospproxy.outward.ledger.store import KEEP_ANSWERS_S, LedgerRow
from tests.outward.ledger.fakes import AtOnce

HOLD = """
import sys
from pathlib import Path
from hospproxy.outward.ledger.owner import LedgerOwner
owner = LedgerOwner(Path(sys.argv[1]))
print(owner.name, flush=True)
sys.stdin.read()
"""


def row(reference: str, **fields: object) -> LedgerRow:
    blank: dict[str, object] = {
        "kind": "create", "state": "open", "resource": "notes", "equal": b"e", "key": None, "author": b"a",
        "floor": None, "record": None, "entered": 1000.0, "closed": None, "handed_over": False, "call": b"sealed",
        "answer": None,
    }  # fmt: skip
    return LedgerRow(reference=reference, **{**blank, **fields})  # type: ignore[arg-type]


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "ledger.sqlite"

    def test_it_is_made_private_durable_and_opened_again(self) -> None:
        for _ in range(2):
            connection, aside = file_format.open_file(self.path)
            self.assertIsNone(aside)
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
            self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))
            connection.close()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_a_newer_major_format_is_refused_with_words_and_a_newer_minor_one_is_read(self) -> None:
        connection, _ = file_format.open_file(self.path)
        connection.execute("UPDATE about SET value = '1.9'")
        connection.close()
        file_format.open_file(self.path)[0].close()
        connection, _ = file_format.open_file(self.path)
        connection.execute("UPDATE about SET value = '2.0'")
        connection.close()
        with self.assertRaises(file_format.LedgerFormatError) as caught:
            file_format.open_file(self.path)
        self.assertIn("2.0", str(caught.exception))
        self.assertIn(str(self.path), str(caught.exception))

    def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(self) -> None:
        for number in (1, 2):
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_bytes(b"this is no database" * 500)
            connection, aside = file_format.open_file(self.path)
            connection.close()
            self.assertEqual(aside, self.path.with_name(f"ledger.sqlite.damaged-{number}"))
            self.path.unlink()

    def test_damaged_pages_are_found_at_the_start(self) -> None:
        connection, _ = file_format.open_file(self.path)
        connection.executemany(
            "INSERT INTO entries (reference, kind, state, equal, entered) VALUES (?, 'create', 'open', x'00', 1)",
            [(f"reference-{number}",) for number in range(2000)],
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        data = bytearray(self.path.read_bytes())
        data[3 * 4096 : 5 * 4096] = b"\xa5" * (2 * 4096)
        self.path.write_bytes(data)
        connection, aside = file_format.open_file(self.path)
        connection.close()
        self.assertIsNotNone(aside)

    def test_a_ledger_says_what_was_damaged_and_goes_on(self) -> None:
        self.path.parent.mkdir()
        self.path.write_bytes(b"x" * 5000)
        ledger = Ledger(self.path, AtOnce(), lambda: 0.0)
        ledger.open()
        self.assertIsNone(ledger.trouble)

    def test_an_older_program_reads_what_a_newer_one_added_to(self) -> None:
        connection, _ = file_format.open_file(self.path)
        connection.execute("ALTER TABLE entries ADD COLUMN later TEXT")
        connection.close()
        ledger = Ledger(self.path, AtOnce(), lambda: 0.0)
        ledger.open()
        self.successResultOf(_run(ledger.enter(row("a"))))
        found = self.successResultOf(_run(ledger.by_reference("a")))
        assert found is not None
        self.assertEqual((found.reference, found.handed_over), ("a", False))

    def test_a_file_of_the_version_before_gets_what_is_new(self) -> None:
        ledger = sqlite3.connect(":memory:", isolation_level=None)
        ledger.executescript(
            "CREATE TABLE entries (reference TEXT PRIMARY KEY, owner TEXT, kind TEXT NOT NULL, state TEXT NOT NULL, "
            "resource TEXT, equal BLOB NOT NULL, key BLOB, author BLOB, floor INTEGER, record TEXT, "
            "entered REAL NOT NULL, closed REAL, handed_over INTEGER NOT NULL DEFAULT 0, call BLOB, answer BLOB) "
            "WITHOUT ROWID; INSERT INTO entries (reference, kind, state, equal, entered) "
            "VALUES ('r', 'create', 'answered', x'00', 1.0)"
        )
        for _ in range(2):
            file_format.prepare(ledger, Path("memory"))
        row = store.by_reference(ledger, "r")
        assert row is not None
        self.assertEqual((row.state, row.names), ("answered", None))


class OwnerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_its_name_appears_with_its_lock(self) -> None:
        """Workers start together. One that saw a name without its lock would take over entries of a living worker."""
        first = LedgerOwner(self.folder)
        seen: list[list[str]] = []
        lock = fcntl.flock

        def watched(descriptor: int, how: int) -> None:
            seen.append(first.others())
            lock(descriptor, how)

        with mock.patch("hospproxy.outward.ledger.owner.fcntl.flock", watched):
            second = LedgerOwner(self.folder)
        self.assertEqual(seen, [[]])
        self.assertEqual(first.others(), [second.name])
        self.assertEqual(
            sorted(each.name for each in self.folder.iterdir()), sorted([first.name, second.name])
        )

    def test_a_process_is_gone_when_its_lock_is_free_however_it_ended(self) -> None:
        mine = LedgerOwner(self.folder)
        here = Path(hospproxy.__file__).parents[1]
        other = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(self.folder.absolute())],
            cwd=here,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        self.assertFalse(mine.is_gone(name))
        self.assertIn(name, mine.others())
        other.kill()
        other.communicate()
        self.assertTrue(mine.is_gone("a" * 5000))
        self.assertTrue(mine.is_gone(name))
        mine.forget(name)
        self.assertEqual(mine.others(), [])
        self.assertTrue(mine.is_gone(name))

    def test_a_lock_has_its_name_only_when_it_is_held_and_may_be_tried_by_two(self) -> None:
        """A sibling that starts meanwhile must not think that its owner is dead."""
        folder = Path(self.mktemp())
        seen: list[list[str]] = []
        first = LedgerOwner(folder)
        real = fcntl.flock

        def flock(descriptor: int, how: int) -> None:
            seen.append(first.others())
            real(descriptor, how)

        self.patch(fcntl, "flock", flock)
        second = LedgerOwner(folder)
        self.assertEqual((seen, first.others()), ([[]], [second.name]))
        name = "1-gone"
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT)
        real(descriptor, fcntl.LOCK_SH)
        self.assertTrue(first.is_gone(name))
        os.close(descriptor)

    def test_names_that_are_no_names_reach_no_file(self) -> None:
        mine = LedgerOwner(self.folder)
        self.assertTrue(mine.is_gone("../../etc/passwd"))
        mine.forget("../x")
        self.assertFalse(mine.is_gone(mine.name))
        mine.leave()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_only_the_entries_of_the_dead_are_taken_over(self) -> None:
        path = self.folder / "ledger.sqlite"
        living, dead, heir = (Ledger(path, AtOnce(), lambda: 0.0) for _ in range(3))
        for name, ledger in (("living", living), ("dead", dead)):
            ledger.open()
            self.successResultOf(_run(ledger.enter(row(name))))
        assert dead._owner is not None
        dead._owner.leave()
        heir.open()
        taken = self.successResultOf(_run(heir.take_over()))
        self.assertEqual([one.reference for one in taken], ["dead"])
        self.assertEqual(self.successResultOf(_run(heir.take_over())), [])


class StatementTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.worker = AtOnce()
        self.ledger = Ledger(Path(self.mktemp()) / "ledger.sqlite", self.worker, lambda: self.now)
        self.ledger.open()

    def do(self, work: object) -> object:
        return self.successResultOf(_run(work))

    def test_closing_wipes_what_it_was_made_with(self) -> None:
        self.do(self.ledger.enter(row("a")))
        self.do(self.ledger.close("a", "answered", "7", b"answer"))
        found = self.do(self.ledger.by_reference("a"))
        assert isinstance(found, LedgerRow)
        self.assertEqual(
            (found.call, found.answer, found.record, found.closed), (None, b"answer", "7", 1000.0)
        )

    def test_a_handed_over_answer_goes_unless_it_has_a_key(self) -> None:
        for reference, key, kept in (("a", None, None), ("b", b"k", b"answer")):
            self.do(self.ledger.enter(row(reference, key=key)))
            self.do(self.ledger.close(reference, "answered", None, b"answer"))
            self.do(self.ledger.hand_over(reference))
            found = self.do(self.ledger.by_reference(reference))
            assert isinstance(found, LedgerRow)
            self.assertEqual((found.answer, found.handed_over), (kept, True))

    def test_time_passes_as_the_monotonic_clock_does_and_goes_on_where_it_was_kept(self) -> None:
        monotonic, path = 5.0, Path(self.mktemp()) / "ledger.sqlite"

        def begun(wall: float) -> Ledger:
            ledger = Ledger(path, AtOnce(), lambda: wall, monotonic=lambda: monotonic)
            ledger.open()
            return ledger

        first = begun(1000.0)
        monotonic += 60
        self.assertEqual(first.now(), 1060.0)
        self.do(first.tidy(120))
        monotonic += 30
        for wall in (0.0, 10.0**9):
            self.assertEqual(begun(wall).now(), 1060.0)
        self.do(first.enter(row("a", entered=first.now())))
        self.assertEqual(begun(0.0).now(), 1090.0)
        # An entry with an earlier begin does not turn it back.
        self.do(first.enter(row("b", entered=1.0)))
        self.assertEqual(begun(0.0).now(), 1090.0)

    def test_what_may_be_under_way_yet_is_known_until_it_is_no_more(self) -> None:
        for reference in ("a", "b"):
            self.do(self.ledger.enter(row(reference, record="7")))
            self.do(self.ledger.close(reference, "found", None, None, pending=reference == "a"))
        found = self.do(self.ledger.pending())
        assert isinstance(found, list)
        self.assertEqual([(one.reference, one.record) for one in found], [("a", "7")])
        self.do(self.ledger.end_pending("a"))
        self.assertEqual(self.do(self.ledger.pending()), [])

    def test_the_call_of_what_may_be_under_way_stays_until_it_is_no_more_or_for_aday(self) -> None:
        def calls() -> list[object]:
            return [one.call is not None for one in self.do(self.ledger.pending())]

        self.do(self.ledger.enter(row("a"), row("b")))
        for reference in ("a", "b"):
            self.do(self.ledger.close(reference, "given up", None, None, pending=True))
        self.do(self.ledger.end_pending("b"))
        self.assertIsNone(self.do(self.ledger.by_reference("b")).call)
        self.now += KEEP_ANSWERS_S - 1
        self.do(self.ledger.tidy(120.0))
        self.assertEqual(calls(), [True])
        # Its process died, and none has started since. Its row must hold all that a turn needs.
        self.now += 2
        self.do(self.ledger.tidy(120.0))
        self.assertEqual(calls(), [False])

    def test_how_far_the_sequence_of_each_resource_is(self) -> None:
        for number, record in enumerate(["7", "12", "x", str(2**53), None, str(10**30)]):
            self.do(self.ledger.enter(row(f"{number}", kind="create", resource="notes", record=record)))
        self.do(self.ledger.enter(row("change", kind="change", resource="notes", record="500")))
        self.assertEqual(self.do(self.ledger.sequences()), [("notes", 12)])

    def test_time_takes_answers_keys_and_entries(self) -> None:
        self.do(self.ledger.enter(row("plain")))
        self.do(self.ledger.enter(row("keyed", key=b"k")))
        for reference in ("plain", "keyed"):
            self.do(self.ledger.close(reference, "answered", None, b"answer"))

        def answers() -> list[object]:
            self.do(self.ledger.tidy(120))
            rows = [self.do(self.ledger.by_reference(reference)) for reference in ("plain", "keyed")]
            return [one and one.answer for one in rows if one is None or isinstance(one, LedgerRow)]

        self.assertEqual(answers(), [b"answer", b"answer"])
        self.now += 121
        self.assertEqual(answers(), [None, b"answer"])
        self.now += 24 * 3600
        self.assertEqual(answers(), [None, None])
        self.assertIsNone(self.do(self.ledger.by_key(b"k")))
        self.now += 7 * 24 * 3600
        self.assertEqual(answers(), [None, None])
        self.assertIsNone(self.do(self.ledger.by_reference("plain")))

    def test_a_group_is_kept_whole_or_not_at_all(self) -> None:
        self.do(self.ledger.enter(row("a")))
        with self.assertRaises(Exception) as caught:
            self.do(self.ledger.enter(row("a")))
        self.assertIn("UNIQUE", self.ledger.trouble or "")
        self.assertIsNotNone(caught.exception)
        self.do(self.ledger.enter(row("b")))
        self.assertIsNone(self.ledger.trouble)

    def test_an_entry_that_could_not_be_closed_is_closed_later(self) -> None:
        for later in (lambda: self.ledger.tidy(120), lambda: self.ledger.enter(row("b"))):
            self.setUp()
            self.do(self.ledger.enter(row("a")))
            self.worker.full = True
            self.failureResultOf(_run(self.ledger.close("a", "answered", "7", b"answer")))
            self.worker.full = False
            self.do(later())
            found = self.do(self.ledger.by_reference("a"))
            self.assertEqual((found.state, found.record, found.answer), ("answered", "7", b"answer"))

    def test_one_that_cannot_be_closed_again_holds_nothing_up(self) -> None:
        self.do(self.ledger.enter(row("a")))
        self.ledger._connection.execute(
            "CREATE TRIGGER stuck BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'stuck'); END"
        )
        self.failureResultOf(_run(self.ledger.close("a", "answered", "7", None)))
        self.do(self.ledger.enter(row("b")))
        self.assertIsNone(self.ledger.trouble)
        self.ledger._connection.execute("DROP TRIGGER stuck")
        self.do(self.ledger.tidy(120))
        self.assertEqual(self.do(self.ledger.by_reference("a")).state, "answered")

    def test_after_it_is_shut_nothing_is_taken(self) -> None:
        self.do(self.ledger.shut())
        self.failureResultOf(_run(self.ledger.enter(row("a"))))
        self.do(self.ledger.shut())


def _run(work: object):
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(work)  # type: ignore[arg-type]

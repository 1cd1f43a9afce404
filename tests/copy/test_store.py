"""What the copy keeps on disk, over restarts, crashes, full disks and changed keys."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.copy import files, history
from hospproxy.copy.files import CopyUnusable, open_existing
from hospproxy.copy.rules import RecordState
from hospproxy.copy.sealing import KeyRing
from hospproxy.keys.secrets import MasterKey

from .rig import MASTER, SHAPES, Rig, body, gone, patient, shown

OTHER = MasterKey(b"o" * 32)


class OnDisk(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(Path(self.mktemp()))
        self.rig.store.open()
        self.addCleanup(lambda: self.rig.store.close())

    def contents(self, at: float | None = None) -> list[tuple[str, str, str]]:
        """(resource and id, state, name) of the records at a moment."""
        assert self.rig.store._connection is not None
        found = history.records_at(self.rig.store._connection, KeyRing(self.rig.master), None, at)
        return [
            (
                f"{one.resource}/{one.id}",
                one.state,
                str(SHAPES.by_name[one.resource].read_kept(one.content or b"").content),
            )
            for one in found
        ]

    def names(self) -> list[str]:
        return [content.split('"name":"')[1].split('"')[0] for _, _, content in self.contents()]

    def damage(self) -> list[str]:
        assert self.rig.store._connection is not None
        found = history.damage(self.rig.store._connection, KeyRing(self.rig.master), SHAPES)
        return [one for one in found if one is not None]


class StoreTests(OnDisk):
    def test_each_state_of_a_record_is_kept_once(self) -> None:
        self.assertEqual(self.rig.apply(shown(body(patient()), 1.0)), {"new": 1})
        self.assertEqual(self.rig.apply(shown(body(patient()), 3.0)), {"confirmed": 1})
        self.assertEqual(self.rig.apply(shown(body(patient(name="Rax", updated=5.0)), 6.0)), {"changed": 1})
        self.assertEqual(self.rig.rows("SELECT number, kind FROM states"), [(1, "shown"), (2, "shown")])
        self.assertEqual((self.names(), self.damage()), (["Rax"], []))

    def test_a_late_response_does_not_overwrite_what_is_newer(self) -> None:
        self.rig.apply(shown(body(patient(name="Rax", updated=5.0)), 6.0))
        self.assertEqual(self.rig.apply(shown(body(patient()), 1.0, 5.0)), {"late": 1})
        self.assertEqual(self.rig.apply(shown(body(patient()), 1.0, 9.0)), {"late": 1})
        self.assertEqual(self.names(), ["Rax"])

    def test_a_list_without_a_record_says_nothing_about_it(self) -> None:
        self.rig.apply(shown(body(patient(7), patient(8)), 1.0))
        self.rig.apply(shown(b"[]", 5.0), shown(body(patient(8)), 6.0))
        self.assertEqual([place for place, _, _ in self.contents()], ["patients/7", "patients/8"])

    def test_a_deleted_record_stays_in_its_history_only(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        self.assertEqual(self.rig.apply(gone(RecordState.DELETED, 5.0)), {"deleted": 1})
        self.assertEqual(self.rig.apply(shown(body(patient()), 4.0, 9.0)), {"late": 1})
        self.assertEqual((self.contents(), self.damage()), ([], []))
        self.assertEqual(self.rig.apply(shown(body(patient()), 10.0)), {"changed": 1})
        self.assertEqual((self.names(), self.damage()), (["Rex"], []))

    def test_a_deletion_of_an_unknown_record_holds_against_a_late_read(self) -> None:
        self.rig.apply(gone(RecordState.DELETED, 5.0))
        self.assertEqual(self.rig.apply(shown(body(patient()), 4.0, 9.0)), {"late": 1})
        self.assertEqual((self.contents(), self.damage()), ([], []))

    def test_a_record_that_is_not_found_is_shown_as_missing(self) -> None:
        self.assertEqual(self.rig.apply(gone(RecordState.MISSING, 0.5)), {})
        self.rig.apply(shown(body(patient()), 1.0))
        self.assertEqual(self.rig.apply(gone(RecordState.MISSING, 5.0)), {"missing": 1})
        self.assertEqual([state for _, state, _ in self.contents()], ["missing"])
        self.rig.apply(shown(body(patient()), 6.0))
        self.assertEqual([state for _, state, _ in self.contents()], ["present"])

    def test_a_response_about_another_record_than_was_asked_for_is_not_taken(self) -> None:
        self.assertEqual(self.rig.apply(shown(body(patient(8)), 1.0, record="7")), {"incomplete": 1})
        self.assertEqual(self.contents(), [])

    def test_nothing_that_is_said_of_a_record_is_readable_on_disk(self) -> None:
        self.rig.apply(shown(body(patient(name="Bellatrix the second")), 1.0))
        disk = self.rig.on_disk()
        for word in (b"Bellatrix", b"2020-01-02", b"hosp.test", MASTER.secret):
            self.assertNotIn(word, disk)
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.rig.folder.iterdir()}, {0o600})

    def test_a_restart_and_a_reboot_keep_the_order_of_looks(self) -> None:
        self.rig.apply(shown(body(patient(name="Rax", updated=5.0)), 900.0))
        self.rig.restart()
        self.assertEqual(self.rig.apply(shown(body(patient()), 1.0)), {"late": 1})
        self.rig.boot = 2.0  # the clock since boot begins anew
        self.rig.restart()
        self.assertEqual(self.rig.apply(shown(body(patient(name="Rox", updated=6.0)), 3.0)), {"changed": 1})
        self.assertEqual((self.names(), self.damage()), (["Rox"], []))

    def test_two_processes_share_the_files(self) -> None:
        other = self.rig.make()
        other.open()
        self.addCleanup(other.close)
        self.rig.apply(shown(body(patient(name="Rax", updated=5.0)), 6.0))
        self.assertEqual(dict(other.apply([shown(body(patient()), 1.0)], 1 << 30).events), {"late": 1})
        other.apply([shown(body(patient(8)), 7.0)], 1 << 30)
        self.assertEqual(self.names(), ["Rax", "Rex"])

    def test_a_full_copy_keeps_what_it_has_and_goes_on_confirming(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        full = self.rig.apply(shown(body(patient(8)), 2.0), shown(body(patient(name="Rax", updated=9.0)), 3.0),
                              max_bytes=1)  # fmt: skip
        self.assertEqual(full, {"full": 2})
        self.assertEqual(self.rig.apply(shown(body(patient()), 5.0), max_bytes=1), {"confirmed": 1})
        self.assertEqual(self.rig.apply(gone(RecordState.DELETED, 9.0), max_bytes=1), {"deleted": 1})
        self.assertEqual(self.rig.apply(shown(body(patient(8)), 10.0)), {"new": 1})
        self.assertEqual(self.damage(), [])

    def test_a_failure_in_the_middle_changes_nothing(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        assert self.rig.store._connection is not None
        self.rig.store._connection.execute("CREATE TEMP TRIGGER t BEFORE INSERT ON records WHEN new.id = '9'"
                                           " BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")  # fmt: skip
        with self.assertRaises(sqlite3.Error):
            self.rig.apply(shown(body(patient(name="Rax", updated=5.0)), 6.0), shown(body(patient(9)), 7.0))
        self.assertEqual((self.names(), self.damage()), (["Rex"], []))
        self.assertEqual(self.rig.rows("SELECT count(*) FROM keys.keys"), [(1,)])


class OpeningTests(OnDisk):
    def unusable(self) -> str:
        self.rig.store.close()
        before = {
            path.name: path.read_bytes() for path in self.rig.folder.iterdir() if path.suffix == ".sqlite"
        }
        with self.assertRaises(CopyUnusable) as caught:
            self.rig.make().open()
        after = {
            path.name: path.read_bytes() for path in self.rig.folder.iterdir() if path.suffix == ".sqlite"
        }
        self.assertEqual(before, after, "the files must stay as they are")
        return str(caught.exception)

    def test_a_newer_version_is_refused(self) -> None:
        for name in ("main", "keys"):
            self.rig.rows(f"UPDATE {name}.about SET value = '2.0' WHERE name = 'version'")
            self.assertIn("written by a newer hospproxy (format 2.0", self.unusable())
            self.rig.store = self.rig.make()
            with sqlite3.connect(
                self.rig.folder / (files.RECORDS if name == "main" else files.KEYS)
            ) as connection:
                connection.execute("UPDATE about SET value = '1.9' WHERE name = 'version'")
            connection.close()
            self.rig.store.open()

    def test_another_master_key_is_refused_and_the_right_one_opens_it_again(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        self.rig.master = OTHER
        self.assertIn("another master key", self.unusable())
        self.rig.restart(MASTER)
        self.assertEqual(self.names(), ["Rex"])

    def test_a_new_master_key_seals_the_keys_again(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        self.rig.restart(MasterKey(OTHER.secret, (MASTER,)))
        self.assertEqual(self.names(), ["Rex"])
        self.rig.restart(OTHER)
        self.assertEqual((self.names(), self.damage()), (["Rex"], []))

    def test_a_damaged_key_does_not_keep_the_others_from_being_sealed_again(self) -> None:
        self.rig.apply(shown(body(patient(7), patient(8)), 1.0))
        self.rig.rows("UPDATE keys.keys SET key = zeroblob(60) WHERE place = 'patients/7'")
        self.rig.restart(MasterKey(OTHER.secret, (MASTER,)))
        self.rig.restart(OTHER)
        self.assertEqual([one for one in self.damage() if not one.startswith("patients 7: its key")], [])
        self.assertEqual(
            self.rig.apply(shown(body(patient(7), patient(8)), 5.0)), {"unreadable": 1, "confirmed": 1}
        )

    def test_damage_is_refused(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        self.rig.store.close()
        (self.rig.folder / files.RECORDS).write_bytes(b"no database, but long enough for its header" * 9)
        self.assertIn("is damaged", self.unusable())

    def test_states_without_their_keys_are_refused(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        self.rig.store.close()
        (self.rig.folder / files.KEYS).rename(self.rig.folder / "elsewhere")
        self.assertIn("is missing", self.unusable())
        other = Rig(self.rig.folder.parent / "another")
        other.seed = 500
        other.store.open()
        other.store.close()
        (other.folder / files.KEYS).rename(self.rig.folder / files.KEYS)
        self.assertIn("are not of the same copy", self.unusable())

    def test_a_crash_between_the_commits_of_a_first_start(self) -> None:
        self.rig.store.close()
        for path in list(self.rig.folder.iterdir()):
            if path.name.startswith(files.KEYS):
                path.unlink()
        (self.rig.folder / files.KEYS).touch(mode=0o600)
        self.rig.restart()
        self.assertEqual(self.rig.apply(shown(body(patient()), 1.0)), {"new": 1})

    def test_a_power_cut_after_a_first_start_that_loses_what_was_not_synced_of_the_keys(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        left = Path(self.mktemp())
        left.mkdir()
        for name in (files.RECORDS, f"{files.RECORDS}-wal", files.KEYS):
            shutil.copy(self.rig.folder / name, left / name)
        self.rig.store.close()
        self.rig.folder = left
        self.rig.store = self.rig.make()
        self.rig.store.open()
        self.assertEqual(self.rig.apply(shown(body(patient()), 5.0)), {"new": 1})

    def test_a_crash_between_the_commits_of_a_start_with_old_keys_only(self) -> None:
        self.rig.store.close()
        old = (self.rig.folder / files.KEYS).read_bytes()
        (self.rig.folder / files.RECORDS).unlink()
        self.rig.seed += 100  # other random bytes than those of the first start
        self.rig.store = self.rig.make()
        self.rig.store.open()
        self.rig.store.close()
        (self.rig.folder / files.KEYS).write_bytes(old)
        self.rig.restart()
        self.assertEqual(self.rig.apply(shown(body(patient()), 1.0)), {"new": 1})

    def test_a_crash_between_the_commits_of_two_files_loses_new_states_only(self) -> None:
        self.rig.apply(shown(body(patient(8)), 1.0))
        self.rig.apply(shown(body(patient()), 1.0))
        self.rig.rows("DELETE FROM keys.keys WHERE place = 'patients/7'")
        self.rig.restart()
        self.assertEqual(self.damage(), ["patients 7: its key is missing"])
        self.assertEqual(self.rig.apply(shown(body(patient()), 5.0)), {"new": 1})
        self.assertEqual((self.names(), self.damage()), (["Rex", "Rex"], []))


class ForgetTests(OnDisk):
    def forget(self, number: int = 7) -> history.Forgotten:
        connection = open_existing(self.rig.folder, KeyRing(self.rig.master), write=True)
        try:
            return history.forget(connection, "patients", str(number), 1_700_000_999.0)
        finally:
            connection.close()

    def secrets(self) -> list[bytes]:
        """What must not be on disk afterwards: sealed key, sealed states, digest."""
        rows = self.rig.rows("SELECT key FROM keys.keys WHERE place = 'patients/7'")
        rows += self.rig.rows("SELECT content FROM states WHERE place = 'patients/7' AND content IS NOT NULL")
        rows += self.rig.rows("SELECT digest FROM records WHERE place = 'patients/7'")
        return [bytes(one) for (one,) in rows]

    def test_no_byte_of_a_forgotten_record_is_left_while_the_proxy_runs(self) -> None:
        self.rig.apply(shown(body(patient(8), patient(7)), 1.0))
        self.rig.apply(shown(body(patient(name="Rax" * 3000, updated=5.0)), 6.0))
        secrets = self.secrets()
        self.assertEqual(len(secrets), 4)
        disk = self.rig.on_disk()
        self.assertTrue(all(one[:16] in disk for one in secrets))
        found = self.forget()
        self.assertEqual((found.states, found.before, found.is_wiped), (2, False, True))
        disk = self.rig.on_disk()
        left = [
            (one[:16], at)
            for one in secrets
            for at in range(0, len(one) - 16, 40)
            if one[at : at + 16] in disk
        ]
        self.assertEqual(left, [])
        self.assertEqual((self.names(), self.damage()), (["Rex"], []))

    def test_it_is_not_learned_again(self) -> None:
        self.rig.apply(shown(body(patient()), 1.0))
        self.forget()
        self.assertEqual(self.rig.apply(shown(body(patient(8), patient(7)), 5.0), gone(RecordState.DELETED, 7.0)),
                         {"forgotten": 2, "new": 1})  # fmt: skip
        self.rig.restart()
        self.assertEqual(self.rig.apply(shown(body(patient()), 9.0)), {"forgotten": 1})
        self.assertTrue(self.forget().before)

    def test_a_record_that_is_not_known_is_not_learned(self) -> None:
        self.assertEqual(self.forget(9).states, 0)
        self.assertEqual(self.rig.apply(shown(body(patient(9)), 1.0)), {"forgotten": 1})

    def test_a_crash_after_the_key_is_erased_is_made_good_by_the_next_start(self) -> None:
        self.rig.apply(shown(body(patient(8), patient(7)), 1.0))
        self.rig.rows("UPDATE keys.keys SET key = NULL WHERE place = 'patients/7'")
        shown_ids = [place for place, _, _ in self.contents()]
        self.assertEqual((shown_ids, self.damage()), (["patients/8"], []), "until then it is no damage")
        self.rig.restart()
        self.assertEqual(self.rig.rows("SELECT DISTINCT place FROM states"), [("patients/8",)])

    def test_an_old_file_of_states_with_the_newest_keys_does_not_bring_it_back(self) -> None:
        self.rig.apply(shown(body(patient(8), patient(7)), 1.0))
        self.rig.store.close()
        old = (self.rig.folder / files.RECORDS).read_bytes()
        self.rig.store = self.rig.make()
        self.rig.store.open()
        self.forget()
        self.rig.store.close()
        (self.rig.folder / files.RECORDS).write_bytes(old)
        self.rig.restart()
        self.assertEqual([place for place, _, _ in self.contents()], ["patients/8"])
        self.assertEqual(self.rig.apply(shown(body(patient()), 5.0)), {"forgotten": 1})


class NoDiskTests(SynchronousTestCase):
    def test_a_folder_that_cannot_be_made(self) -> None:
        place = Path(self.mktemp())
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"a file")
        rig = Rig(place.parent / "there")
        rig.folder = place / "copy"
        with self.assertRaises(OSError):
            rig.make().open()
        self.assertEqual(os.listdir(place.parent / "there"), [])

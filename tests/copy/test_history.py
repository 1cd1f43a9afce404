"""What the commands read: figures, the records of one day, and damage."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.copy import cli, history
from hospproxy.copy.rules import RecordState
from hospproxy.copy.sealing import KeyRing
from hospproxy.copy.writing import iso

from .rig import DAY, MASTER, SHAPES, Rig, body, gone, patient, shown


class Copied(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(Path(self.mktemp()) / "copy")
        self.rig.store.open()
        self.addCleanup(lambda: self.rig.store.close())

    @property
    def connection(self) -> Any:
        return self.rig.store._connection

    def at(self, moment: float | None) -> dict[str, str]:
        """Names by id at a moment after DAY."""
        when = None if moment is None else DAY + moment
        found = history.records_at(self.connection, KeyRing(MASTER), "patients", when)
        return {one.id: json.loads(one.content or b"{}").get("name", "unreadable") for one in found}

    def damage(self) -> list[str]:
        return [one for one in history.damage(self.connection, KeyRing(MASTER), SHAPES) if one is not None]


class AtTests(Copied):
    def test_a_record_as_it_was(self) -> None:
        self.rig.apply(shown(body(patient(name="Rex", updated=0.0)), 10.0))
        self.rig.apply(shown(body(patient(name="Rax", updated=20.0)), 30.0))
        self.rig.apply(gone(RecordState.DELETED, 40.0))
        names = {moment: self.at(moment).get("7") for moment in (-1.0, 0.0, 19.0, 20.0, 39.0, 40.0)}
        self.assertEqual(names, {-1.0: None, 0.0: "Rex", 19.0: "Rex", 20.0: "Rax", 39.0: "Rax", 40.0: None})
        self.assertEqual(self.at(None), {})

    def test_a_record_that_existed_before_its_first_known_state_is_counted(self) -> None:
        self.rig.apply(
            shown(body(patient(7, updated=0.0), patient(8, created_at=iso(DAY + 3.0), updated=3.0)), 10.0)
        )
        for moment, expected in ((-200.0, 0), (-50.0, 1), (0.0, 0), (5.0, 0)):
            found = history.not_known_yet(self.connection, KeyRing(MASTER), SHAPES, None, DAY + moment)
            self.assertEqual(found, expected, moment)

    def test_at_any_moment_it_is_what_the_journal_of_hosp_says(self) -> None:
        """Random histories in which each state was shown once, in any order of records, with restarts between."""
        dice = random.Random(7)
        for seed in range(4):
            self.rig.store.close()
            self.rig = Rig(Path(self.mktemp()) / "copy", seed=seed * 10_000)
            self.rig.store.open()
            journal: list[tuple[float, int, str | None]] = []
            moment = 0.0
            for step in range(40):
                moment += dice.uniform(2.0, 5.0)
                number = dice.randrange(1, 6)
                alive = {one: name for _, one, name in journal}.get(number)
                if alive is not None and dice.random() < 0.25:
                    journal.append((moment, number, None))
                    self.rig.apply(gone(RecordState.DELETED, moment, number))
                else:
                    journal.append((moment, number, f"n{step}"))
                    seen = shown(body(patient(number, f"n{step}", updated=moment)), moment, moment + 1.0)
                    self.rig.apply(*[seen] * dice.randrange(1, 3))
                if dice.random() < 0.1:
                    self.rig.restart()
            self.assertEqual(self.damage(), [])
            for _ in range(25):
                when = dice.uniform(0.0, moment + 5.0)
                expected = {number: name for since, number, name in journal if since <= when}
                told = {str(number): name for number, name in expected.items() if name is not None}
                self.assertEqual(self.at(when), told, f"seed {seed} at {when}")


class FigureTests(Copied):
    def test_figures(self) -> None:
        self.rig.apply(shown(body(patient(2), patient(5), patient(9)), 10.0))
        self.rig.apply(shown(body(patient(5)), 20.0))
        self.rig.apply(gone(RecordState.DELETED, 30.0, 2), gone(RecordState.MISSING, 40.0, 5))
        history.forget(self.connection, "patients", "7", DAY)
        found = {one.resource: one for one in history.figures(self.connection, SHAPES)}
        self.assertEqual(found["patients"], history.ResourceFigures("patients", 1, 1, 1, 1, 4, 5, DAY + 11.0))
        self.assertEqual(found["notes"], history.ResourceFigures("notes", 0, 0, 0, 0, 0, 0, None))

    def test_spans(self) -> None:
        spans = [cli.span(seconds) for seconds in (-5.0, 0.0, 59.0, 60.0, 3600.0, 90000.0)]
        self.assertEqual(spans, ["0 s", "0 s", "59 s", "1 min", "1 h", "1 d"])


class DamageTests(Copied):
    def setUp(self) -> None:
        super().setUp()
        self.rig.apply(shown(body(patient(7), patient(8)), 1.0))
        self.rig.apply(shown(body(patient(7, "Rax", updated=5.0)), 6.0))

    def assert_found(self, statement: str, *words: str) -> None:
        self.assertEqual(self.damage(), [])
        self.connection.execute(statement)
        found = self.damage()
        self.assertEqual(len(found), len(words), found)
        for one, part in zip(found, words, strict=True):
            self.assertIn(part, one)

    def test_a_state_that_was_changed(self) -> None:
        self.assert_found(
            "UPDATE states SET content = zeroblob(90) WHERE number = 2", "7: state 2 cannot be read"
        )
        self.assertEqual(self.at(None), {"7": "unreadable", "8": "Rex"})

    def test_states_that_were_exchanged(self) -> None:
        self.assert_found(
            "UPDATE states SET content = (SELECT content FROM states s WHERE s.place = 'patients/7' AND s.number = 1)"
            " WHERE place = 'patients/7' AND number = 2",
            "7: state 2 cannot be read: damaged, or sealed for another",
        )

    def test_a_state_of_another_record(self) -> None:
        self.assert_found(
            "UPDATE states SET content = (SELECT content FROM states s WHERE s.place = 'patients/8')"
            " WHERE place = 'patients/7' AND number = 1", "7: state 1 cannot be read")  # fmt: skip

    def test_keys_that_were_exchanged(self) -> None:
        self.assert_found(
            "UPDATE keys.keys SET key = (SELECT key FROM keys.keys k WHERE k.place = 'patients/8')",
            "7: its key cannot be read")  # fmt: skip

    def test_a_state_that_was_removed(self) -> None:
        self.assert_found(
            "DELETE FROM states WHERE number = 1 AND place = 'patients/7'", "7: a state is missing"
        )

    def test_a_record_that_was_removed(self) -> None:
        self.assert_found("DELETE FROM records WHERE id = '7'", "2 states belong to no record")

    def test_times_out_of_order(self) -> None:
        self.assert_found(
            "UPDATE states SET since = 0 WHERE number = 2", "7: its states are not in the order"
        )

    def test_an_older_state_in_the_place_of_the_last(self) -> None:
        self.connection.execute("DELETE FROM states WHERE number = 2")
        self.assertIn("a state is missing", self.damage()[0])
        self.connection.execute("UPDATE records SET number = 1 WHERE id = '7'")
        self.assertIn("its last state is not the one that was noted", self.damage()[0])


class CommandTests(Copied):
    def setUp(self) -> None:
        super().setUp()
        self.state = self.rig.folder.parent
        key = self.state / "master.key"
        key.write_bytes(MASTER.secret)
        key.chmod(0o600)
        self.addCleanup(os.umask, os.umask(0o077))
        self.rig.apply(shown(body(patient(8), patient(7)), 1.0))
        self.rig.apply(shown(body(patient(7, "=Rax;1", updated=5.0)), 6.0))

    def run_command(self, *words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main([*words, "--state", str(self.state)])
        return status, out.getvalue(), err.getvalue()

    def test_status(self) -> None:
        status, out, _ = self.run_command("status")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"patients +2 +0 +0 +0 +3 +6 +\d+ d")
        rows = json.loads(self.run_command("status", "--json")[1])
        self.assertEqual(
            [(one["resource"], one["present"]) for one in rows][2:], [("patients", 2), ("notes", 0)]
        )

    def test_json_lines(self) -> None:
        status, out, err = self.run_command("export")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((status, err), (0, "2 records\n"))
        self.assertEqual(
            [(one["id"], one["record"]["name"]) for one in lines], [("7", "=Rax;1"), ("8", "Rex")]
        )
        self.assertEqual((lines[0]["since"], lines[0]["state"]), (iso(DAY + 5.0), "present"))
        self.assertNotIn("url", lines[0]["record"])

    def test_as_it_was(self) -> None:
        _, out, _ = self.run_command("export", "--at", iso(DAY + 2.0))
        self.assertEqual([json.loads(line)["record"]["name"] for line in out.splitlines()], ["Rex", "Rex"])
        _, out, err = self.run_command("export", "--at", iso(DAY - 50.0))
        self.assertEqual((out, err.count("2 more existed at that time")), ("", 1))

    def test_csv(self) -> None:
        target = self.state / "patients.csv"
        status, out, _ = self.run_command(
            "export", "--format", "csv", "--resource", "patient", "--to", str(target)
        )
        rows = list(csv.reader(io.StringIO(target.read_text())))
        self.assertEqual((status, out, target.stat().st_mode & 0o777), (0, "", 0o600))
        self.assertEqual(rows[0], ["id", "name", "hospital_id", "birthdate", "created_at", "updated_at",
                                   "copy_state", "copy_since", "copy_seen"])  # fmt: skip
        self.assertEqual(rows[1][:3], ["7", "'=Rax;1", "1"])
        self.assertIn("File exists", self.run_command("export", "--to", str(target))[2])
        self.assertIn("name it with --resource", self.run_command("export", "--format", "csv")[2])
        self.assertIn("marks no resource dog", self.run_command("export", "--resource", "dog")[2])

    def test_verify(self) -> None:
        self.assertEqual(self.run_command("verify")[:2], (0, "2 records are sound\n"))
        self.connection.execute("UPDATE states SET content = zeroblob(90) WHERE number = 2")
        status, out, _ = self.run_command("verify")
        self.assertEqual((status, out.splitlines()[-1]), (1, "1 records are sound; 1 problems"))
        status, out, err = self.run_command("export")
        self.assertEqual((status, len(out.splitlines())), (1, 1))
        self.assertIn("1 records could not be read", err)

    def test_forget_and_a_proxy_that_goes_on(self) -> None:
        status, out, err = self.run_command("forget", "patient", "7")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("patients 7 is forgotten: its key and 2 states are erased", out)
        self.assertIn("audit trail", out)
        self.assertEqual(
            self.rig.apply(shown(body(patient(7), patient(8)), 9.0)), {"forgotten": 1, "confirmed": 1}
        )
        self.assertIn("was forgotten before", self.run_command("forget", "patients", "7")[1])
        self.assertIn("the copy held nothing of notes 3", self.run_command("forget", "note", "3")[1])

    def test_all_commands_work_without_a_proxy(self) -> None:
        self.rig.store.close()
        for path in self.rig.folder.iterdir():
            self.assertIn(path.suffix, (".sqlite",))
        for words in (("status",), ("export",), ("verify",), ("forget", "patient", "7")):
            self.assertEqual(self.run_command(*words)[0], 0, words)
        self.rig.restart()
        self.assertEqual(self.at(None), {"8": "Rex"})

    def test_what_cannot_be_done_is_said(self) -> None:
        self.rig.store.close()
        (self.state / "master.key").write_bytes(b"o" * 32)
        self.assertIn("another master key", self.run_command("status")[2])
        (self.state / "master.key").unlink()
        status, _, err = self.run_command("status")
        self.assertEqual((status, (self.state / "master.key").exists()), (1, False))
        self.assertIn("does not exist", err)
        (self.state / "master.key").write_bytes(MASTER.secret)
        (self.state / "master.key").chmod(0o600)
        self.rig.folder.rename(self.state / "elsewhere")
        self.assertIn("there is no copy", self.run_command("verify")[2])

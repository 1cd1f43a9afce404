"""The commands as a whole, on a folder of journals."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.signing_key import signer_for
from hospproxy.record.commands import look_record
from hospproxy.record.commands.cli import main
from hospproxy.record.commands.look_record import hand_over, who_asks
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.verify import PublicKeys, verify

TIME = "2026-11-24T13:15:{:02}.000Z"
SET = "a" * 64


class CommandCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.trail = self.state / "audit"
        self.signer = signer_for(None, self.state / "audit-signing.key")
        self.keeper = TrailKeeper(self.trail, lambda: 1_795_525_000.0, signer=self.signer)
        self.keep({"kind": "disclosure", "set": SET, "patients": ["7", "8"]})
        self.keep(
            self.request(0, patient_id="7"), self.request(1, patient_id="9", outcome="refused", status=403)
        )
        self.keep(
            self.request(2, disclosed={"set": SET, "count": 2}, action="search", method="GET", route="/notes")
        )
        self.keep({**self.request(3), "kind": "own"}, {**self.request(4), "kind": "intent"})

    def request(self, number: int, **more: Any) -> dict[str, Any]:
        who = {"id": 7, "name": "Ana\x1b[31m", "certainty": "verified"}
        record = {
            "kind": "request",
            "time": TIME.format(number),
            "request_id": f"r{number}",
            "who": who,
            "action": "read",
        }
        return {"v": 1, **record, "route": "/notes/{id}", "outcome": "success", "status": 200, **more}

    def keep(self, *records: dict[str, Any]) -> None:
        self.keeper.keep([encode_record(each) for each in records])

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        out, error = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", error)
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(str(ended.code))
        out.flush()
        return status, out.buffer.getvalue().decode(), error.getvalue()  # type: ignore[attr-defined]

    def found(self, *arguments: str) -> list[str]:
        status, out, _ = self.run_it(
            "search", str(self.trail), "--format", "jsonl", "--signing-key", "no", *arguments
        )
        self.assertEqual(status, 0)
        return [json.loads(line)["request_id"] for line in out.splitlines()]


class SearchTests(CommandCase):
    def test_what_is_asked_is_answered_newest_first(self) -> None:
        for arguments, expected in (
            ((), ["r2", "r1", "r0"]),
            (("--own",), ["r3", "r2", "r1", "r0"]),
            (("--patient", "7"), ["r2", "r0"]),
            (("--outcome", "refused"), ["r1"]),
            (("--since", TIME.format(1), "--until", TIME.format(2)), ["r1"]),
            (("--trouble",), ["r1"]),
            (("--request-id", "r3"), ["r3"]),
            (("--kind", "intent"), ["r4"]),
            (("--limit", "2", "--kind", "request"), ["r2", "r1"]),
            (("--staff", "nobody"), []),
        ):
            self.assertEqual(self.found(*arguments), expected, arguments)

    def test_the_table_is_harmless(self) -> None:
        status, out, _ = self.run_it("search", str(self.trail), "--kind", "request")
        self.assertEqual(status, 0)
        self.assertEqual(len(out.splitlines()), 4)
        self.assertNotIn("\x1b", out)
        self.assertIn("Ana\\u001b[31m", out)

    def test_where_nothing_fits_it_is_said_and_no_empty_table_is_shown(self) -> None:
        status, out, error = self.run_it("search", str(self.trail), "--staff", "nobody")
        self.assertEqual((status, out), (0, ""))
        self.assertIn("no record matches the filters\n", error)

    def test_where_nothing_fits_lines_for_programs_are_none(self) -> None:
        status, out, error = self.run_it("search", str(self.trail), "--staff", "nobody", "--format", "jsonl")
        self.assertEqual((status, out), (0, ""))
        self.assertNotIn("no record", error)

    def test_what_cannot_be_asked(self) -> None:
        for arguments, words in (
            (("--status", "9"), "--status: it is not a status: give a number from 100 to 599"),
            (("--since", "yesterday"), "--since: it is neither a date"),
            (("--request-id", "a\x1bb"), "--request-id: it contains control characters"),
            (("--patient", "1", "--patient", "2"), "--patient: it is given more than once"),
            (("--limit", "0"), "--limit: it is not a number from 1 to 100000"),
            (("--limit", "many"), "--limit: it is not a number from 1 to 100000"),
        ):
            status, out, error = self.run_it("search", str(self.trail), *arguments)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(words, error)
            self.assertTrue(error.replace("\n", "").isprintable())
        self.assertEqual(self.looks(), [], "what was never asked is no look")

    def test_where_there_is_nothing_to_read(self) -> None:
        text = self.state / "notes.txt"
        text.write_text("no database")
        for source, words in (
            (self.state / "nowhere", "no such folder"),
            (text, "it is not a folder of journals"),
            ("mysql://x/y", "mysql"),
        ):
            status, out, error = self.run_it("search", str(source))
            self.assertEqual((status, out), (2, ""))
            self.assertIn(words, error)

    def test_more_than_was_asked_for(self) -> None:
        _, _, error = self.run_it("search", str(self.trail), "--limit", "1")
        self.assertIn("there are more than these 1", error)
        _, _, error = self.run_it("search", str(self.trail), "--limit", "3", "--kind", "request")
        self.assertEqual(error, "")

    def test_exports(self) -> None:
        status, out, _ = self.run_it("export", str(self.trail), "--format", "csv", "--patient", "7")
        self.assertEqual(status, 0)
        read = list(csv.DictReader(io.StringIO(out, newline="")))
        self.assertEqual(
            [(each["request_id"], each["in_list"]) for each in read], [("r2", "true"), ("r0", "false")]
        )
        _, out, _ = self.run_it("export", str(self.trail), "--format", "jsonl", "--kind", "request")
        path = self.keeper.path
        assert path is not None
        self.assertEqual(
            sorted(out.splitlines()),
            sorted(line for line in path.read_text().splitlines() if '"kind":"request"' in line),
        )
        arguments = ("--format", "fhir", "--identifier-system", "urn:oid:1.2", "--request-id", "r2")
        _, out, _ = self.run_it("export", str(self.trail), *arguments)
        event = json.loads(out)
        patients = [each["what"]["identifier"] for each in event["entity"] if each["type"]["code"] == "1"]
        self.assertEqual(patients, [{"system": "urn:oid:1.2:patients", "value": each} for each in ("7", "8")])

    def test_a_file_is_whole_or_not_there(self) -> None:
        target = self.state / "out.csv"
        arguments = ("export", str(self.trail), "--format", "csv", "--output", str(target))
        self.assertEqual(self.run_it(*arguments)[:2], (0, ""))
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)
        content = target.read_bytes()
        status, _, error = self.run_it(*arguments)
        self.assertEqual(status, 2)
        self.assertIn("exists already", error)
        self.assertEqual(target.read_bytes(), content)
        self.assertEqual(list(self.state.glob("*.part")), [])
        status, _, error = self.run_it(*arguments[:-1], str(self.state / "no" / "where"))
        self.assertEqual(status, 2)
        self.assertIn("No such file", error)

    def test_what_cannot_be_read_is_said(self) -> None:
        (self.trail / "audit-w7-00000001-20261124T131536.123Z.jsonl.gz").write_bytes(b"no gzip")
        status, out, error = self.run_it("search", str(self.trail), "--format", "jsonl", "--kind", "request")
        self.assertEqual((status, len(out.splitlines())), (1, 3))
        self.assertIn("audit-w7-00000001", error)

    def looks(self) -> list[dict[str, Any]]:
        _, out, _ = self.run_it(
            "search", str(self.trail), "--format", "jsonl", "--kind", "look", "--signing-key", "no"
        )
        return [json.loads(line) for line in out.splitlines()]

    def test_each_look_is_on_record_and_the_trail_is_whole(self) -> None:
        self.run_it("search", str(self.trail), "--patient", "7", "--own")
        self.run_it("export", str(self.trail), "--format", "csv")
        export, search = self.looks()
        self.assertEqual(
            {name: value for name, value in search.items() if name not in ("time", "request_id", "seq", "prev")},
            {
                "v": 1, "kind": "look", "who": {"id": None, "name": who_asks(), "certainty": "auditor"},
                "client": {"address": None, "peer": None, "chain": [], "scheme": "terminal"}, "method": None,
                "route": "hospproxy-audit search", "action": "search", "outcome": "success", "status": None,
                "filters": {"patient": "7", "own": "true"}, "patient_id": "7",
            },
        )  # fmt: skip
        self.assertEqual((export["route"], export["filters"]), ("hospproxy-audit export", {}))
        self.assertEqual(len(search["request_id"]), 32)
        self.keeper.close()
        report = verify(self.trail, PublicKeys.of([self.signer.public_pem]))
        self.assertEqual((report.problems, [each.journal for each in report.journals]), ([], ["w0", "w1"]))

    def test_a_look_that_cannot_be_recorded_is_said_and_goes_on(self) -> None:
        os.chmod(self.state / "audit-signing.key", 0o644)
        for arguments, words in (
            ((), "can be read or changed by others"),
            (("--signing-key", str(self.state / "none")), "No such file"),
            (("--record-in", str(self.state / "none")), "No such file"),
        ):
            status, out, error = self.run_it("search", str(self.trail), *arguments)
            self.assertEqual((status, len(out.splitlines())), (0, 4))
            self.assertIn("this look is not recorded", error)
            self.assertIn(words, error)
        self.assertEqual(self.looks(), [])

    def test_what_root_makes_is_the_proxys(self) -> None:
        """Otherwise the proxy could not take the journal's lock, and would not start."""
        self.run_it("search", str(self.trail))
        if os.geteuid() == 0:
            os.chown(self.trail, 65534, 65534)
        owner = self.trail.stat().st_uid
        given: dict[str, int] = {}
        self.patch(os, "chown", lambda path, uid, gid, **_: given.update({path.name[:14]: uid}))
        self.patch(os, "geteuid", lambda: 0)
        hand_over(self.trail, "audit-w1", owner)
        self.assertEqual(given, {"audit-w1.lock": owner, "audit-w1-00000": owner})

    def test_also_when_there_is_no_room_for_the_look(self) -> None:
        given: list[str] = []
        self.patch(look_record, "hand_over", lambda _folder, start, _owner: given.append(start))
        self.patch(
            OsFiles, "create", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        _, _, error = self.run_it("search", str(self.trail))
        self.assertIn("No space left", error)
        self.assertEqual(given, ["audit-w1"])

    def test_a_folder_of_somebody_elses_is_left_alone(self) -> None:
        self.patch(os, "geteuid", lambda: 12345)
        before = sorted(self.trail.iterdir())
        _, _, error = self.run_it("search", str(self.trail))
        self.assertIn("belongs to another user", error)
        self.assertEqual(sorted(self.trail.iterdir()), before)


class ExtractTests(CommandCase):
    def test_dates_and_kinds_without_names(self) -> None:
        status, out, error = self.run_it("extract", str(self.trail), "--patient", "7", "--format", "json")
        self.assertEqual((status, error), (0, ""))
        looks = json.loads(out)["looks"]
        self.assertEqual([each["done"] for each in looks], ["read", "seen in a list"])
        self.assertNotIn("Ana", out)

    def test_it_is_recorded_as_a_look_at_the_patient(self) -> None:
        target = self.state / "extract.html"
        arguments = ("extract", str(self.trail), "--patient", "7", "--output", str(target))
        self.assertEqual(self.run_it(*arguments)[0], 0)
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o600)
        _, out, _ = self.run_it("search", str(self.trail), "--kind", "look", "--format", "jsonl")
        recorded = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(
            [(each["route"], each["patient_id"]) for each in recorded], [("hospproxy-audit extract", "7")]
        )
        self.assertEqual(self.run_it(*arguments)[0], 2)  # it replaces no file

    def test_what_cannot_be_used(self) -> None:
        for arguments, words in (
            ((), "--patient: name one patient"),
            (("--patient", "7", "--patient", "8"), "--patient: name one patient"),
            (("--patient", "7", "--zone", "Mars/Base"), "--zone: there is no zone"),
            (("--patient", "7", "--zone", "../../etc/passwd"), "--zone: there is no zone"),
        ):
            status, _, error = self.run_it("extract", str(self.trail), *arguments)
            self.assertEqual(status, 2, arguments)
            self.assertIn(words, error)


class ByPersonTests(CommandCase):
    def test_counts_of_each_person(self) -> None:
        self.keep(self.request(5, who={"id": 8, "name": "Ben", "certainty": "verified"}))
        status, out, _ = self.run_it("search", str(self.trail), "--by-person", "--kind", "request")
        self.assertEqual(status, 0)
        lines = [line.split() for line in out.splitlines()]
        self.assertEqual(lines[1][:3], ["Ana\\u001b[31m", "3", "1"])
        self.assertEqual(lines[1][7:], ["2", "read,", "1", "search"])
        self.assertEqual(lines[2][:3], ["Ben", "1", "0"])

    def test_nobody_at_all(self) -> None:
        _, _, error = self.run_it("search", str(self.trail), "--by-person", "--staff", "nobody")
        self.assertIn("no record matches the filters", error)

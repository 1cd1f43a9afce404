from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.signing_key import PublicKeys, Signer
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.verify import verify

from .trails import DAY, Trail, read, write


class Named(SynchronousTestCase):
    """One closed file (records 1 to 12: begin, ten, digest) and a second that continues."""

    def setUp(self) -> None:
        self.trail = Trail(Path(self.mktemp()))
        self.trail.plan = RotationPlan(rotate_bytes=10**6)
        self.trail.keep(10)
        self.trail.stop()
        self.trail.keep(3)
        self.trail.stop()
        self.first, self.second = self.trail.paths
        self.lines = read(self.first).splitlines(keepends=True)

    def found(self, *anchors: str) -> list[str]:
        return [problem.partition(": ")[2] for problem in self.trail.verify(*anchors).problems]

    def test_untouched(self) -> None:
        report = self.trail.verify(self.trail.head)
        self.assertEqual((report.problems, report.notes), ([], []))
        self.assertEqual([(each.records, each.files) for each in report.journals], [(17, 2)])

    def test_a_changed_record(self) -> None:
        self.lines[4] = self.lines[4].replace(b'"n":3', b'"n":9')
        write(self.first, b"".join(self.lines))
        self.assertEqual(self.found(), ["record 5 was changed, or its hash in record 6 was"])

    def test_the_last_record_of_a_file(self) -> None:
        self.lines[-1] = self.lines[-1].replace(b'"v":1', b'"v":2')
        write(self.first, b"".join(self.lines))
        self.assertIn("record 12 was changed", self.found())
        self.assertIn("the signature of record 12 is not valid", self.found()[0])

    def test_removed_records(self) -> None:
        write(self.first, b"".join(self.lines[:3] + self.lines[5:8] + self.lines[9:]))
        self.assertEqual(
            [words for words in self.found() if "missing" in words],
            ["records 4 to 5 are missing", "record 9 is missing"],
        )

    def test_the_end_of_a_file_that_is_over(self) -> None:
        write(self.first, b"".join(self.lines[:8]))
        self.assertIn("records 9 to 12 are missing", self.found())

    def test_inserted_and_doubled_records(self) -> None:
        write(
            self.first, b"".join([*self.lines[:4], b'{"kind":"request"}\n', self.lines[2], *self.lines[4:]])
        )
        self.assertEqual(
            self.found()[:2],
            [
                "line 5 has no chain link: it was changed or inserted",
                "line 6 claims to be record 3, but line 3 is: it was inserted",
            ],
        )

    def test_a_record_with_a_vast_number_is_one_that_was_inserted(self) -> None:
        line = self.lines[3].replace(b'"seq":4', b'"seq":%d' % (10**17))
        write(self.second, b"".join([*read(self.second).splitlines(keepends=True), line]))
        self.assertTrue(any("missing" in words for words in self.found()), self.found())

    def test_reordered_records(self) -> None:
        self.lines[4], self.lines[5] = self.lines[5], self.lines[4]
        write(self.first, b"".join(self.lines))
        self.assertEqual(self.found(), ["record 5 comes after record 6: the order was changed"])

    def test_a_missing_file(self) -> None:
        self.first.unlink()
        self.assertEqual(self.trail.verify().problems, ["w0: file 1 is missing"])

    def test_a_file_under_another_name(self) -> None:
        self.second.rename(self.second.with_name(self.second.name.replace("-00000002-", "-00000003-")))
        found = self.found()
        self.assertIn("file 2 is missing", found)
        self.assertIn(
            f"was created as {self.second.name}: it was renamed, or it replaces another file", found
        )

    def test_a_file_that_nobody_wrote(self) -> None:
        (self.trail.folder / "audit-w0-1.jsonl").touch()
        self.assertEqual(self.trail.verify().problems, ["audit-w0-1.jsonl: does not belong to any journal"])

    def test_another_key(self) -> None:
        report = verify(self.trail.folder, PublicKeys.of([Signer.generate().public_pem]))
        self.assertEqual(sum("signature" in problem for problem in report.problems), 4)

    def test_several_keys(self) -> None:
        other = Signer.generate()
        self.trail.signer = other
        self.trail.keep(3)
        self.trail.stop()
        self.assertNotEqual(self.trail.verify().problems, [])
        keys = PublicKeys.of(
            [Signer.generate().public_pem, Trail(Path()).signer.public_pem, other.public_pem]
        )
        self.assertEqual(verify(self.trail.folder, keys).problems, [])

    def test_a_cut_tail_needs_an_anchor(self) -> None:
        anchor = self.trail.head
        lines = read(self.second).splitlines(keepends=True)
        write(self.second, b"".join(lines[:3]))
        without = self.trail.verify()
        self.assertEqual(without.problems, [])
        self.assertTrue(any("Without an anchor" in note for note in without.notes))
        self.assertTrue(
            any("records 14 to 15 come after the newest signature" in note for note in without.notes)
        )
        [problem] = self.trail.verify(anchor).problems
        self.assertIn(anchor, problem)

    def test_an_anchor_in_the_middle(self) -> None:
        anchor = self.trail.head
        self.trail.keep(5)
        self.assertEqual(self.trail.verify(anchor).problems, [])

    def test_what_was_removed_while_nobody_wrote_is_not_taken_for_torn(self) -> None:
        self.trail.keep(5)
        self.trail.crash()
        path = self.trail.paths[-1]
        lines = read(path).splitlines(keepends=True)
        write(path, b"".join(lines[:2] + lines[3:]))
        self.trail.keep(2)
        self.flushLoggedErrors()
        [problem] = self.trail.verify().problems
        self.assertIn("while no process wrote to it", problem)


class Tombstones(SynchronousTestCase):
    def setUp(self) -> None:
        self.trail = Trail(Path(self.mktemp()))
        self.trail.keep(40)
        self.trail.now += 10 * DAY
        self.trail.tend(retention_days=5)

    def test_a_tombstone_says_what_was_there(self) -> None:
        import msgspec

        first, second = (msgspec.json.decode(path.read_bytes()) for path in self.trail.paths[:2])
        self.assertEqual(
            (first["kind"], first["number"], first["first_seq"], first["seq"]),
            ("tombstone", 1, 1, first["records"]),
        )
        self.assertEqual(second["prev"], first["head"])
        self.assertEqual(second["first_seq"], first["seq"] + 1)
        self.assertTrue(first["first_time"].startswith("2023-11-14T22:13"))
        self.assertEqual(self.trail.verify().problems, [])

    def test_an_anchor_may_be_in_what_is_gone(self) -> None:
        import msgspec

        head = msgspec.json.decode(self.trail.paths[1].read_bytes())["head"]
        self.assertEqual(self.trail.verify(head).problems, [])

    def test_a_forged_one(self) -> None:
        path = self.trail.paths[0]
        path.write_bytes(path.read_bytes().replace(b'"records":', b'"records":1'))
        self.assertEqual(len(self.trail.verify().problems), 2, self.trail.verify().problems)

    def test_a_removed_one(self) -> None:
        self.trail.paths[1].unlink()
        self.assertIn("w0: file 2 is missing", self.trail.verify().problems)

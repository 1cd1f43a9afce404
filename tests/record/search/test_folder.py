from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.describe import timestamp
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.folder import FolderReader
from hospproxy.record.search.match import matches, time_of
from hospproxy.record.search.rows import IndexRow
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record

from ..trail.trails import EPOCH, SIGNER

SETS = {"a" * 64: ["1", "2"], "b" * 64: ["2", "3", "4"]}


@frozen
class Happened:
    """One record, and the time of its write."""

    journal: int
    wait_s: float
    late_s: float
    record: dict[str, Any]
    new_file: bool = False


records = st.fixed_dictionaries(
    {"kind": st.sampled_from(["request", "request", "own", "finding", "intent", "alert"])},
    optional={
        "patient_id": st.sampled_from(["1", "2", "3"]),
        "who": st.builds(lambda name: {"id": 7, "name": name}, st.sampled_from(["Ana", "Bo"])),
        "outcome": st.sampled_from(["success", "refused"]),
        "status": st.sampled_from([200, 401]),
        "disclosed": st.builds(lambda name: {"set": name, "count": 2}, st.sampled_from(list(SETS))),
    },
)
happenings = st.lists(
    st.builds(
        Happened,
        st.integers(0, 1),
        st.sampled_from([0.0, 0.001, 5.0, 3600.0, 90_000.0]),
        st.sampled_from([0.0, 0.5, 30.0, 20_000.0]),
        records,
        st.booleans(),
    ),
    max_size=25,
)
filters = st.builds(
    Filters,
    staff=st.none() | st.sampled_from(["Ana", "7", "nobody"]),
    patient=st.none() | st.sampled_from(["1", "2", "4"]),
    outcome=st.none() | st.just("refused"),
    since=st.none() | st.floats(EPOCH, EPOCH + 400_000),
    until=st.none() | st.floats(EPOCH, EPOCH + 400_000),
    own=st.booleans(),
    trouble=st.booleans(),
)


class Trail:
    """Two journals side by side, with each record's disclosure set in the same file before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = EPOCH
        self.keepers = [
            # Only ``new_file`` begins another file; here the test writes the sets, not the keeper.
            TrailKeeper(folder, lambda: self.now, OsFiles(), signer=SIGNER, plan=RotationPlan(rotate_s=1e9))
            for _ in range(2)
        ]
        self.sets: list[set[str]] = [set(), set()]

    def happen(self, event: Happened) -> None:
        self.now += event.wait_s
        keeper, there = self.keepers[event.journal], self.sets[event.journal]
        if event.new_file and keeper.path is not None:
            keeper._end()
            there.clear()
        lines = []
        disclosed = event.record.get("disclosed", {}).get("set")
        if disclosed is not None and disclosed not in there:
            there.add(disclosed)
            lines.append({"kind": "disclosure", "set": disclosed, "patients": SETS[disclosed]})
        lines.append({**event.record, "time": timestamp(self.now - event.late_s)})
        keeper.keep([encode_record({"v": 1, **each}) for each in lines])

    def close(self) -> None:
        for keeper in self.keepers:
            if keeper.journal is not None:
                keeper.close()

    def pack(self) -> None:
        for path in sorted(self.folder.glob("*.jsonl"))[::2]:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    def lines(self) -> list[bytes]:
        found: list[bytes] = []
        for path in self.folder.glob("*.jsonl*"):
            content = path.read_bytes()
            found += (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
        return found


def read(folder: Path, asked: Filters) -> list[IndexRow]:
    troubles: list[str] = []
    found = list(FolderReader(folder, troubles.append).rows(asked))
    assert troubles == []
    return found


class FolderTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(happenings, filters, st.booleans())
    def test_it_finds_what_the_rule_says_newest_first(
        self, events: list[Happened], asked: Filters, packed: bool
    ) -> None:
        if asked.since is not None and asked.until is not None and asked.since >= asked.until:
            asked = evolve(asked, until=None)
        with TemporaryDirectory() as place:
            trail = Trail(Path(place))
            for event in events:
                trail.happen(event)
            trail.close()
            if packed:
                trail.pack()
            found = read(Path(place), asked)
            decoded = [(line, msgspec.json.decode(line)) for line in trail.lines()]
        expected = [line for line, record in decoded if matches(record, asked, SETS)]
        self.assertEqual(sorted(row.line for row in found), sorted(expected))
        self.assertEqual([row.key for row in found], sorted((row.key for row in found), reverse=True))
        for row in found:
            self.assertEqual(row.key.time_ms, time_of(row.record))
            own = asked.patient is None or row.record.get("patient_id") == asked.patient
            self.assertEqual(row.by_list, not own)

    def trail(self) -> Trail:
        trail = Trail(Path(self.mktemp()))
        for number in range(4):
            trail.happen(Happened(0, 60, 0, {"kind": "request", "request_id": str(number)}, number == 2))
        return trail

    def test_what_does_not_count_is_passed_over(self) -> None:
        """Behind a file's end stand lines that nobody was answered for; its successor says where that is."""
        trail = self.trail()
        first, second = sorted(trail.folder.glob("*.jsonl"))
        line = b'{"kind":"request","time":"2023-11-14T22:15:00Z","request_id":"no"}'
        first.write_bytes(first.read_bytes() + line + b"\n" + line[:20])
        second.write_bytes(second.read_bytes() + b"no JSON\n" + line)
        found = read(trail.folder, Filters())
        self.assertEqual([row.record["request_id"] for row in found], ["3", "2", "1", "0"])

    def test_a_file_that_cannot_be_read_does_not_hide_the_others(self) -> None:
        trail = self.trail()
        trail.close()
        trail.pack()
        packed = next(trail.folder.glob("*.gz"))
        packed.write_bytes(packed.read_bytes()[:-30])
        troubles: list[str] = []
        found = list(FolderReader(trail.folder, troubles.append).rows(Filters()))
        self.assertEqual([row.record["request_id"] for row in found][:2], ["3", "2"])
        self.assertEqual(len(troubles), 1)
        self.assertIn(packed.name, troubles[0])

    def test_a_file_that_is_there_twice_is_read_once(self) -> None:
        trail = self.trail()
        for path in list(trail.folder.glob("*.jsonl")):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        self.assertEqual(len(read(trail.folder, Filters())), 4)

    def test_no_such_folder(self) -> None:
        reader = FolderReader(Path(self.mktemp()), self.fail)
        self.assertRaises(OSError, next, reader.rows(Filters()))

    def test_members_are_at_hand(self) -> None:
        trail = Trail(Path(self.mktemp()))
        trail.happen(Happened(0, 1, 0, {"kind": "request", "disclosed": {"set": "a" * 64, "count": 2}}))
        reader = FolderReader(trail.folder, self.fail)
        self.assertEqual(len(list(reader.rows(Filters()))), 1)
        self.assertEqual(reader.members("a" * 64), ("1", "2"))
        self.assertIsNone(reader.members("b" * 64))

"""Checks a folder of journals for an auditor: the hash chain, the signatures, missing files. Reads only."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field, frozen

from ...keys.signing_key import PublicKeys
from .differences import ChainedLine, differences
from .files import OsFiles, TrailFiles
from .hash_chain import NOTHING, ChainHead, hash_of, is_signed_by, link_of
from .names import PACKED, PLAIN, TOMBSTONE, FileName, of_journal, parse
from .scan import MAX_LINE, Scan, SignedMark, record_of, rest_of, scan

MOST = 1000
"""Problems listed by text; further ones are only counted."""

_OURS = re.compile(r"audit-w\d{1,4}\.(lock|reserve)\Z|.*\.(new|part)\Z")
_UNCHAINED = re.compile(r"audit-\d{8}T\d{6}\.\d{3}Z-\d+(-\d+)?\.jsonl\Z")
_UNREADABLE = (OSError, EOFError, zlib.error)


@frozen(slots=True)
class JournalSum:
    """What the check found in one journal: its files, its records, and the head of its chain."""

    journal: str
    files: int
    records: int
    head: str


@define(slots=True)
class VerifyReport:
    """The result of checking a folder: its problems, and what each journal holds.

    :param problems: one sentence each, beginning with the file's name.
    :param count: number of all problems, including those beyond MOST.
    :param notes: findings that are not problems, or that the check cannot decide.
    """

    problems: list[str] = field(factory=list)
    count: int = 0
    notes: list[str] = field(factory=list)
    journals: list[JournalSum] = field(factory=list)

    def problem(self, where: str, words: str) -> None:
        self.count += 1
        if len(self.problems) < MOST:
            self.problems.append(f"{where}: {words}")


def verify(directory: Path, keys: PublicKeys, anchors: Iterable[str] = ()) -> VerifyReport:
    """Check every journal in a folder.

    :param anchors: record hashes that were noted outside the folder; each must be found.
    :raise OSError: the folder cannot be listed.
    """
    report = VerifyReport()
    files = OsFiles()
    names = files.names(directory)
    journals = _journals(names, report)
    watch = frozenset(anchor.lower().encode() for anchor in anchors)
    seen: set[bytes] = set()
    for journal in journals:
        seen |= _Journal(directory, files, of_journal(names, journal), keys, watch, report).check()
    for anchor in sorted(watch - seen):
        report.problem(
            f"anchor {anchor.decode()}",
            "no record has this hash: the end of a journal was cut off, or earlier records were changed",
        )
    if not watch:
        report.notes.append(
            "Without an anchor, this check cannot know whether records at the end of a journal, or the whole journal"
            " with the highest number, were removed."
        )
    return report


def _journals(names: list[str], report: VerifyReport) -> list[str]:
    found = set()
    for name in names:
        file = parse(name)
        if file is not None:
            found.add(file.journal)
        elif _UNCHAINED.match(name):
            report.notes.append(
                f"{name} is from a version that did not chain records yet: it cannot be checked."
            )
        elif name.startswith("audit-") and not _OURS.match(name):
            report.problem(name, "does not belong to any journal")
    numbers = {int(journal[1:]) for journal in found}
    for number in range(max(numbers, default=0)):
        if number not in numbers:
            report.problem(f"w{number}", "the whole journal is missing")
    if not found:
        report.problem("the folder", "contains no journal")
    return [f"w{number}" for number in sorted(numbers)]


@frozen(slots=True)
class _Start:
    """The first record of a file whose signature is valid."""

    record: dict[str, Any]
    before: ChainHead

    @property
    def continues(self) -> dict[str, Any]:
        return self.record.get("continues") or {}


@define(slots=True)
class _Journal:
    directory: Path
    files: TrailFiles
    names: list[FileName]
    keys: PublicKeys
    watch: frozenset[bytes]
    report: VerifyReport
    seen: set[bytes] = field(factory=set)
    records: int = 0
    last: ChainHead = field(factory=ChainHead)

    def check(self) -> set[bytes]:
        by_number: dict[int, list[FileName]] = {}
        for name in self.names:
            by_number.setdefault(name.number, []).append(name)
        journal, highest = self.names[0].journal, max(by_number)
        expected, count = 1, 0
        for number in sorted(by_number):
            if number > expected:
                last = number - 1
                which = f"file {expected} is" if last == expected else f"files {expected} to {last} are"
                self.report.problem(journal, f"{which} missing")
            expected = number + 1
            count += self._check_number(by_number[number], by_number.get(number + 1), number == highest)
        self.report.journals.append(JournalSum(journal, count, self.records, self.last.hash.decode()))
        return self.seen

    def _check_number(self, names: list[FileName], following: list[FileName] | None, newest: bool) -> int:
        for extra in names[1:]:
            if extra.stem != names[0].stem:
                self.report.problem(extra.name, f"has the same number as {names[0].name}")
        same = [name for name in names if name.stem == names[0].stem]
        name = same[0]
        after = self._start(following[0]) if following else None
        if after is not None and after.continues.get("file") != name.stem and following is not None:
            self.report.problem(
                following[0].name, f"continues {after.continues.get('file')}, not {name.stem}"
            )
            after = None
        try:
            if name.form == TOMBSTONE:
                self._check_tombstone(name, after)
                return 0
            self._check_file(name, after, newest)
            if [each.form for each in same[:2]] == [PLAIN, PACKED]:
                self._check_twin(same[0], same[1])
        except _UNREADABLE as error:
            self.report.problem(name.name, f"cannot be read: {error}")
        return 1

    def _open(self, name: FileName) -> BinaryIO:
        try:
            return self.files.read(self.directory, name.name)
        except FileNotFoundError:  # compressed in the meantime
            return self.files.read(self.directory, name.stem + PACKED)

    def _start(self, name: FileName) -> _Start | None:
        """The first record of the next file, or None if it cannot be trusted.

        That file's own check then reports why.
        """
        if name.form == TOMBSTONE:
            return None
        try:
            with self._open(name) as file:
                line = file.readline(MAX_LINE).rstrip(b"\n")
        except _UNREADABLE:
            return None
        link = link_of(line)
        if link is None or not is_signed_by(line, self.keys.verify):
            return None
        return _Start(record_of(line), ChainHead(link.seq - 1, link.prev))

    def _check_tombstone(self, name: FileName, after: _Start | None) -> None:
        with self._open(name) as file:
            line, more = file.readline(MAX_LINE), file.read(1)
        # A tombstone is written atomically, including its line end.
        whole = line.endswith(b"\n") and not more
        line = line.removesuffix(b"\n")
        record = record_of(line)
        if not whole or not is_signed_by(line, self.keys.verify) or record.get("kind") != "tombstone":
            self.report.problem(name.name, "its signature is not valid: it was changed or forged")
            return
        if (record["file"], record["journal"], record["number"]) != (name.stem, name.journal, name.number):
            self.report.problem(name.name, f"is the tombstone of {record['file']}: it was renamed")
            return
        before = ChainHead(record["first_seq"] - 1, str(record["prev"]).encode())
        if (before.seq, before.hash) != (self.last.seq, self.last.hash):
            self.report.problem(name.name, "does not continue the file before it")
        told = after.continues if after is not None else {}
        if after is not None and any(
            told.get(key) != record.get(key) for key in ("sha256", "head", "seq", "torn")
        ):
            self.report.problem(name.name, "does not match what the next file says about it")
        self.last = ChainHead(record["seq"], str(record["head"]).encode())
        self.seen |= {self.last.hash} & self.watch

    def _check_file(self, name: FileName, after: _Start | None, newest: bool) -> None:
        told = after.continues if after is not None else None
        limit = int(told["bytes"]) if told is not None else None
        with self._open(name) as file:
            found = scan(file, limit, lambda signed: self._check_signed(name, signed), self.watch)
            self._check_begin(name, found)
            before = found.before if found.records else self.last
            self.seen |= found.seen
            self.records += found.records
            if told is None:
                self._check_end(name, file, found, newest)
                self.last = found.head
                return
            head = ChainHead(told["seq"], str(told["head"]).encode())
            same = (found.head.seq, found.head.hash, found.size) == (head.seq, head.hash, limit)
            if found.whole and same and found.sha256 == told["sha256"]:
                self._check_rest(name, file, told)
            else:
                torn = (told.get("torn") or {}).get("bytes", 0)
                whole = rest_of(file, 0)
                limit = whole.bytes - torn if whole is not None else 0
                self._name_differences(name, file, limit, before, head)
            self.last = head

    def _check_begin(self, name: FileName, found: Scan) -> None:
        if not found.records:
            self.report.problem(name.name, "its first record is missing or was changed")
            return
        begin, before = found.begin, found.before
        if (begin.get("file"), begin.get("journal"), begin.get("number")) != (
            name.stem,
            name.journal,
            name.number,
        ):
            self.report.problem(
                name.name, f"was created as {begin.get('file')}: it was renamed, or it replaces another file"
            )
        elif name.number == 1 and (before.seq, before.hash) != (0, NOTHING):
            self.report.problem(name.name, "has number 1, but is not the beginning of a journal")
        elif self.last.seq and (before.seq, before.hash) != (self.last.seq, self.last.hash):
            self.report.problem(name.name, "does not continue the last record of the file before it")

    def _check_signed(self, name: FileName, signed: SignedMark) -> None:
        link = link_of(signed.line)
        seq = link.seq if link is not None else 0
        record = signed.record
        if not is_signed_by(signed.line, self.keys.verify):
            self.report.problem(
                name.name,
                f"the signature of record {seq} is not valid: this record or an earlier one was changed, and the chain"
                " was computed again",
            )
        elif record.get("kind") == "digest":
            head, previous = signed.head.hash.decode(), signed.head.signed.decode()
            found = (name.stem, signed.records, signed.bytes, signed.sha256, head, previous)
            if (
                tuple(record.get(key) for key in ("file", "records", "bytes", "sha256", "head", "previous"))
                != found
            ):
                self.report.problem(
                    name.name, f"record {seq} is a digest that does not match the records before it"
                )
        elif signed.records or record.get("kind") != "begin":
            self.report.problem(name.name, f"record {seq} is signed, but does not belong in this place")

    def _check_end(self, name: FileName, file: BinaryIO, found: Scan, newest: bool) -> None:
        """Check the end of a file that no later file describes."""
        if not found.whole:
            rest = rest_of(file, found.size)
            lines = rest.lines if rest is not None else 0
            if lines:
                before = found.before if found.records else self.last
                self._name_differences(name, file, None, before, None)
            elif rest is not None and newest:
                self.report.notes.append(
                    f"{name.name} ends in {rest.bytes} bytes that are not a complete record: it is being written, or a"
                    " crash interrupted it."
                )
        if newest and found.head.seq > found.signed_seq:
            self.report.notes.append(
                f"{name.name}: records {found.signed_seq + 1} to {found.head.seq} come after the newest signature;"
                " only an anchor can show that they are unchanged."
            )

    def _check_rest(self, name: FileName, file: BinaryIO, told: dict[str, Any]) -> None:
        rest = rest_of(file, int(told["bytes"]))
        found = (
            None if rest is None else {"bytes": rest.bytes, "sha256": rest.sha256, "records": rest.records}
        )
        if found != told.get("torn"):
            self.report.problem(name.name, "the bytes after its last record were changed, added or removed")
        if told.get("how") == "unreadable" or (
            told.get("how") == "recovered" and rest is not None and rest.records
        ):
            self.report.problem(
                name.name,
                f"was changed after record {told['seq']} while no process wrote to it: the rest does not fit the chain",
            )

    def _name_differences(
        self, name: FileName, file: BinaryIO, limit: int | None, before: ChainHead, after: ChainHead | None
    ) -> None:
        file.seek(0)
        told = False
        for words in islice(differences(list(_lines(file, limit)), before, after), MOST):
            told = True
            self.report.problem(name.name, words)
        if not told:
            self.report.problem(
                name.name, "its content is not what was signed, although its chain is correct"
            )

    def _check_twin(self, plain: FileName, packed: FileName) -> None:
        """A crash between compressing a file and removing the original leaves both; they must then be equal."""
        with self._open(plain) as one, self.files.read(self.directory, packed.name) as other:
            first, second = rest_of(one, 0), rest_of(other, 0)
        if first != second:
            self.report.problem(
                packed.name, f"differs from {plain.name}, although it should be its compressed copy"
            )


def _lines(file: BinaryIO, limit: int | None) -> Iterator[ChainedLine]:
    left = limit
    for place in range(1, 1 << 62):
        line = file.readline(MAX_LINE if left is None else min(MAX_LINE, left))
        if not line:
            return
        if left is None and not line.endswith(b"\n"):
            return  # torn
        if left is not None:
            left -= len(line)
        line = line.removesuffix(b"\n")
        yield ChainedLine(place, link_of(line), hash_of(line))

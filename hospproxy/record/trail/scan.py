"""Reads one file of the journal as far as its chain holds, and sums up what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any, BinaryIO

import msgspec
from attrs import define, field, frozen

from .hash_chain import ChainHead, hash_of, link_of

_BLOCK = 1 << 20
MAX_LINE = 8 << 20
"""Longest line, in bytes, that is read as one line."""


@frozen(slots=True)
class SignedMark:
    """A signed record, with the totals of what precedes it in its file.

    :param line: without its end.
    :param record: the decoded line.
    :param records: number of records before it.
    :param bytes: bytes before it.
    :param sha256: of those bytes, in hex.
    :param head: the chain's head before it.
    """

    line: bytes
    record: dict[str, Any]
    records: int
    bytes: int
    sha256: str
    head: ChainHead


@define(slots=True)
class Scan:
    """Result of reading one file as far as its chain holds.

    :param begin: the first record.
    :param before: the head that the first record continues, as that record itself states it.
    :param head: the head after the last record that fits the chain.
    :param records: number of records that fit, including the first.
    :param size: bytes that those take; what follows them is torn, or was tampered with.
    :param content: running SHA-256 of those bytes.
    :param signed_seq: number of the newest signed record.
    :param closed: the last record is the closing digest.
    :param whole: the file holds only complete lines that fit (up to the limit, if one was given).
    :param seen: the watched hashes that were found.
    """

    begin: dict[str, Any] = field(factory=dict)
    before: ChainHead = field(factory=ChainHead)
    head: ChainHead = field(factory=ChainHead)
    records: int = 0
    size: int = 0
    content: Any = field(factory=hashlib.sha256)
    signed_seq: int = 0
    closed: bool = False
    whole: bool = True
    seen: set[bytes] = field(factory=set)

    @property
    def sha256(self) -> str:
        return str(self.content.hexdigest())


def record_of(line: bytes) -> dict[str, Any]:
    """Decode a line; an empty mapping if it is not a JSON object."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _nothing(_signed: SignedMark) -> None:
    return None


def scan(
    file: BinaryIO,
    limit: int | None = None,
    visit: Callable[[SignedMark], None] = _nothing,
    watch: frozenset[bytes] = frozenset(),
) -> Scan:
    """Read a file from the start to its end, a limit, or the first line that does not fit the chain.

    :param limit: bytes of the file that belong to the journal.
    :param visit: called with each signed record, including the first.
    :param watch: hashes of records to look for.
    """
    found = Scan()
    left = limit if limit is not None else -1
    carry = b""
    while found.whole and (block := file.read(_BLOCK if left < 0 else min(_BLOCK, left))):
        left -= len(block) if left >= 0 else 0
        data = carry + block
        lines = data.split(b"\n")
        carry = lines.pop()
        _take(found, lines, data, visit, watch)
        if len(carry) > MAX_LINE:
            found.whole = False
    if carry:
        found.whole = False
    return found


def _take(
    found: Scan, lines: list[bytes], data: bytes, visit: Callable[[SignedMark], None], watch: frozenset[bytes]
) -> None:
    """The loop for each of a million records, so it uses local names and one format and one hash per record."""
    seq, prev = found.head.seq, found.head.hash
    at = hashed = 0
    for line in lines:
        closed = False
        if not found.records or not line.endswith(b',"seq":%d,"prev":"%b"}' % (seq + 1, prev)):
            found.content.update(data[hashed:at])
            found.size += at - hashed
            hashed = at
            head = ChainHead(seq, prev, found.head.signed)
            record = _signed_record(found, line, head)
            if record is None:
                found.whole = False
                break
            if not found.records:
                head = found.before
                seq = head.seq
            visit(SignedMark(line, record, found.records, found.size, found.sha256, head))
            found.head = ChainHead(seq, prev, hash_of(line))
            found.signed_seq = seq + 1
            closed = record.get("closing") is True
        at += len(line) + 1
        seq += 1
        found.records += 1
        found.closed = closed
        prev = sha256(line).hexdigest().encode()
        if prev in watch:
            found.seen.add(prev)
    found.content.update(data[hashed:at])
    found.size += at - hashed
    found.head = ChainHead(seq, prev, found.head.signed)


def _signed_record(found: Scan, line: bytes, head: ChainHead) -> dict[str, Any] | None:
    link = link_of(line)
    if link is None or link.signature is None:
        return None
    record = record_of(line)
    if not found.records:
        if record.get("kind") != "begin":
            return None
        found.begin = record
        found.before = ChainHead(link.seq - 1, link.prev, str(record.get("previous")).encode())
        return record
    return record if (link.seq, link.prev) == (head.seq + 1, head.hash) else None


@frozen(slots=True)
class FileTail:
    """The bytes after a file's valid part.

    :param lines: number of complete lines in them.
    :param records: number of those that carry a link.
    """

    bytes: int
    sha256: str
    lines: int
    records: int


def rest_of(file: BinaryIO, offset: int) -> FileTail | None:
    """Describe the bytes after an offset; None if there are none."""
    file.seek(offset)
    content = hashlib.sha256()
    size = lines = records = 0
    while line := file.readline(MAX_LINE):
        content.update(line)
        size += len(line)
        lines += line.endswith(b"\n")
        records += line.endswith(b"}\n") and link_of(line[:-1]) is not None
    return FileTail(size, content.hexdigest(), lines, records) if size else None

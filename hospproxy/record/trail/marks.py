"""The signed records that the journal writes about itself: a file's beginning, its digest, its removal.

Pure: values in, mappings out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ..describe import VERSION, Record, timestamp
from .hash_chain import ChainHead
from .scan import FileTail


@frozen(slots=True)
class EndedFile:
    """A file that is complete: nothing is appended to it any more.

    :param name: of the file.
    :param number: in its journal.
    :param records: number of valid records.
    :param bytes: bytes that the valid records take.
    :param sha256: of those bytes, in hex.
    :param head: the chain's head after them.
    :param how: "closed" in order, "failed" on a failing or full disk, "recovered" after a crash, "unreadable"
        if its first record is missing or was changed.
    :param rest: bytes after the valid records. Their requests got no response.
    """

    name: str
    number: int
    records: int
    bytes: int
    sha256: str
    head: ChainHead
    how: str
    rest: FileTail | None = None


def begin(journal: str, name: str, number: int, wall: float, before: EndedFile | None, key_id: str) -> Record:
    """Make the first record of a file, which ties the file to the one before it.

    :param before: the file that this one continues; None for the first file of the journal.
    """
    return {
        "v": VERSION,
        "kind": "begin",
        "time": timestamp(wall),
        "journal": journal,
        "file": name,
        "number": number,
        "continues": None if before is None else _continues(before),
        "previous": before.head.signed.decode() if before is not None else ChainHead().signed.decode(),
        "key": key_id,
    }


def _continues(before: EndedFile) -> dict[str, Any]:
    rest = before.rest
    return {
        "file": before.name,
        "records": before.records,
        "bytes": before.bytes,
        "sha256": before.sha256,
        "seq": before.head.seq,
        "head": before.head.hash.decode(),
        "how": before.how,
        "torn": None
        if rest is None
        else {"bytes": rest.bytes, "sha256": rest.sha256, "records": rest.records},
    }


def digest(
    journal: str,
    name: str,
    wall: float,
    sums: tuple[int, int, str],
    head: ChainHead,
    *,
    closing: bool,
    key_id: str,
) -> Record:
    """A digest of what the file holds so far, without this record.

    :param sums: number of records, bytes, and the bytes' SHA-256 in hex.
    :param head: the chain's head before this record.
    :param closing: this is the last record of the file.
    """
    records, size, content = sums
    return {
        "v": VERSION,
        "kind": "digest",
        "time": timestamp(wall),
        "journal": journal,
        "file": name,
        "records": records,
        "bytes": size,
        "sha256": content,
        "head": head.hash.decode(),
        "previous": head.signed.decode(),
        "closing": closing,
        "key": key_id,
    }


def tombstone(
    journal: str,
    number: int,
    continues: dict[str, Any],
    first: dict[str, Any],
    last: dict[str, Any],
    wall: float,
) -> Record:
    """The record that replaces a file removed at the end of its retention.

    :param continues: what the next file's first record says about the removed file.
    :param first: first record of the removed file.
    :param last: last record of the removed file.
    """
    return {
        "v": VERSION,
        "kind": "tombstone",
        "time": timestamp(wall),
        "journal": journal,
        "number": number,
        **{
            name: continues.get(name)
            for name in ("file", "records", "bytes", "sha256", "seq", "head", "torn")
        },
        "first_seq": first.get("seq"),
        "first_time": first.get("time"),
        "last_time": last.get("time"),
        "prev": first.get("prev"),
    }


def is_older(ended: datetime, wall: float, days: float) -> bool:
    """Whether a file that ended at this time is past its retention.

    :param wall: now, seconds since the epoch.
    """
    return ended.timestamp() + days * 86_400 < wall

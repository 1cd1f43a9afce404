"""The records that the journal makes about itself: where a file begins, what it held so far, which are gone.

They are signed. Pure: values in, mappings out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ..describe import VERSION, Record, timestamp
from .linking import Head
from .scan import Rest


@frozen(slots=True)
class Ended:
    """A file that nothing is appended to any more.

    :param name: the file's.
    :param number: in its journal.
    :param records: that count.
    :param bytes: that they take.
    :param sha256: of those bytes, in hex.
    :param head: of the chain after them.
    :param how: "closed" in order, "failed" on a failing disk, "recovered" after a crash.
    :param rest: what stands after them and does not count: it was never answered.
    """

    name: str
    number: int
    records: int
    bytes: int
    sha256: str
    head: Head
    how: str
    rest: Rest | None = None


def begin(journal: str, name: str, number: int, wall: float, before: Ended | None, key_id: str) -> Record:
    """The first record of a file.

    :param before: the file that it goes on from; None for the first of all.
    """
    return {
        "v": VERSION,
        "kind": "begin",
        "time": timestamp(wall),
        "journal": journal,
        "file": name,
        "number": number,
        "continues": None if before is None else _continues(before),
        "previous": before.head.signed.decode() if before is not None else Head().signed.decode(),
        "key": key_id,
    }


def _continues(before: Ended) -> dict[str, Any]:
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
    head: Head,
    *,
    closing: bool,
    key_id: str,
) -> Record:
    """What a file holds so far, this record not included.

    :param sums: records, bytes, their SHA-256 in hex.
    :param head: of the chain before this record.
    :param closing: it is the file's last.
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
    """Stands for a file that its age has removed.

    :param continues: what the next file's first record says of it.
    :param first: its first record.
    :param last: its last one.
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
    """Whether a file that ended then is past its time.

    :param wall: now, seconds since the epoch.
    """
    return ended.timestamp() + days * 86_400 < wall

"""Check whether a read shows something older than a write that got its response before the read was sent. Pure.

A record is written by one client at a time, and each write carries the record's next version in its text. The newest
version that got its response before the read began is the floor. A read may also show a newer version, because a
write in flight may be visible or not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

_MARKER = re.compile(r"record (\d+) version (\d+)")


@define(eq=False)
class Life:
    """What is known of one record, from its creation to its end.

    :param number: identifies the record in its text; no two have the same.
    :param id: HOSP's id; 0 while it is not known.
    :param sent: the newest version that was sent; the first creates the record.
    :param answered: the newest version that got a success; 0 for none.
    :param ended: the version that deletes it, once that was sent.
    :param busy: a write is in flight.
    :param left: its last write ended without a definite response: no client writes to it any more.
    """

    number: int
    author: int
    patient: int
    id: int = 0
    sent: int = 0
    answered: int = 0
    ended: int | None = None
    busy: bool = False
    left: bool = False

    @property
    def text(self) -> str:
        """Text of its next version, which counts as sent from now on."""
        self.sent += 1
        return f"record {self.number} version {self.sent}"

    @property
    def writable(self) -> bool:
        """Whether a client may write to it now."""
        return bool(self.id) and not self.busy and not self.left and self.ended is None

    @property
    def gone(self) -> bool:
        """Whether its deletion got a success."""
        return self.ended is not None and self.answered >= self.ended


Floors = Mapping[Life, int]
"""For each record that a response should show: the newest version that got a success before the read was sent."""


def floors(lives: Iterable[Life]) -> Floors:
    """Floors as they are now: take them right before the read is sent."""
    return {life: life.answered for life in lives}


def versions(document: Any) -> dict[int, int]:
    """Number and version of each record in a response, whether it is one record or a list."""
    records = document if isinstance(document, list) else [document]
    found: dict[int, int] = {}
    for record in records:
        match = _MARKER.fullmatch(str(record.get("body", ""))) if isinstance(record, dict) else None
        if match:
            found[int(match[1])] = int(match[2])
    return found


def judge(shown: Mapping[int, int], before: Floors) -> list[str]:
    """Problems of a response that has just come.

    :param shown: see `versions`; empty for a 404.
    :param before: the records that it should show.
    :return: "old" (or present, though its deletion got a success) and "missing" are stale; "impossible" (a version
        that
        no client has sent) is an error of the trial or of HOSP.
    """
    wrong = []
    for life, floor in before.items():
        version = shown.get(life.number)
        if version is None:
            # It may be absent from the moment at which its deletion was sent.
            if floor and life.ended is None:
                wrong.append("missing")
        elif version > life.sent:
            wrong.append("impossible")
        elif version < floor:
            wrong.append("old")
    return wrong


def marks(cache_status: str) -> tuple[bool, str]:
    """Whether a response came from the cache, and how it is marked as stale ("" if it is not).

    :param cache_status: value of the Cache-Status field (RFC 9211).
    """
    params = [param.strip() for param in cache_status.split(";")[1:]]
    pairs = dict(param.partition("=")[::2] for param in params)
    detail = pairs.get("detail", "")
    if detail.startswith("stale-"):
        return "hit" in pairs, detail
    return "hit" in pairs, "past its time" if pairs.get("ttl", "0").startswith("-") else ""


@define
class Seen:
    """Results of a whole run.

    :param wrong: reads that were not marked and show something wrong, by kind.
    :param marked: reads that were marked, by mark; they are not judged.
    :param marked_older: those of them that do show something older.
    :param refusals: 503 with Retry-After, by message.
    :param errors: any other failure, by request and status.
    :param broken: no response, by whether it was a write.
    :param by_worker: reads and hits of each worker, where known.
    :param examples: some of the wrong reads.
    """

    reads: int = 0
    hits: int = 0
    writes: int = 0
    written: int = 0
    wrong: Counter[str] = field(factory=Counter)
    marked: Counter[str] = field(factory=Counter)
    marked_older: Counter[str] = field(factory=Counter)
    refusals: Counter[str] = field(factory=Counter)
    errors: Counter[str] = field(factory=Counter)
    broken: Counter[str] = field(factory=Counter)
    by_worker: dict[str, list[int]] = field(factory=dict)
    examples: list[str] = field(factory=list)

    @property
    def operations(self) -> int:
        return self.reads + self.writes

    def read(self, cache_status: str, wrong: list[str], worker: str, example: str) -> None:
        """Count a read that returned a record, a list or a 404."""
        hit, mark = marks(cache_status)
        self.hits += hit
        counts = self.by_worker.setdefault(worker, [0, 0])
        counts[0] += 1
        counts[1] += hit
        if mark:
            self.marked[mark] += 1
            self.marked_older[mark] += bool(wrong)
            return
        self.wrong.update(set(wrong))
        if wrong and len(self.examples) < 8:
            self.examples.append(f"{', '.join(wrong)}: {example} ({cache_status})")

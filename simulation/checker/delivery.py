"""Rules on what follows the journal: sinks, the index, packed files; and that the courier's death harms nobody."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ..history import Broke, CourierLife, Delivered, Due, Indexed, Left, Life, Recorded
from .truth import Truth, Violation

_ENDINGS = ("kill", "power", "restart", "disk", "clock")
"""Faults that may end a serving process."""
_BREAKS = ("kill", "power", "restart", "reset clients", "split clients", "delay clients", "disk")
"""Faults that may end a connection of a client."""
_BOOTED_S = 5.0
_FOLLOWS_S = 60.0
"""Seconds after such a fault within which a process may end of it: it may be killed at a seam that comes later."""


def undelivered(truth: Truth) -> Iterator[Violation]:
    """Each record is in each sink at least once."""
    arrived = {(each.machine, each.line) for each in truth.history.of(Delivered)}
    for record in truth.history.of(Due):
        if (record.machine, record.line) not in arrived:
            text = f"{record.machine}: record {record.seq} of {record.file} never came to the sink"
            yield Violation("delivery.lost", record.at, text)


def taken_back(truth: Truth) -> Iterator[Violation]:
    """No sink gets a record that the journal does not hold."""
    kept = {(line.machine, line.line) for line in truth.history.of(Recorded)}
    for each in truth.history.of(Delivered):
        if (each.machine, each.line) not in kept:
            text = f"{each.machine}: the sink has a record {each.seq} of {each.journal} that is not in the journal"
            yield Violation("delivery.taken_back", each.at, text)


def disordered(truth: Truth) -> Iterator[Violation]:
    """The first copies of a journal's records come in order, and none is left out."""
    last: dict[tuple[str, str, str], int] = defaultdict(int)
    for each in truth.history.of(Delivered):
        key = each.sink, each.machine, each.journal
        if each.seq > last[key] + 1:
            text = f"{each.machine}: after record {last[key]} of {each.journal} the sink got {each.seq}"
            yield Violation("delivery.order", each.at, text)
        last[key] = max(last[key], each.seq)


def indexed_once(truth: Truth) -> Iterator[Violation]:
    """Each record of a closed file is in the index exactly once, and no other record more often."""
    rows = Counter((row.machine, row.file, row.seq) for row in truth.history.of(Indexed))
    if not rows:
        return
    for (machine, file, seq), times in sorted(rows.items()):
        if times > 1:
            text = f"{machine}: record {seq} of {file} is in the index {times} times"
            yield Violation("delivery.indexed_twice", truth.history.end, text)
    for record in truth.history.of(Due):
        if record.closed and not rows[record.machine, record.file, record.seq]:
            text = f"{record.machine}: record {record.seq} of {record.file} is not in the index"
            yield Violation("delivery.not_indexed", record.at, text)
    kept = {
        (line.machine, line.file.removesuffix(".gz"), (line.record or {}).get("seq"))
        for line in _lines(truth)
    }
    for machine, file, seq in sorted(rows.keys() - kept):
        text = f"{machine}: the index has a record {seq} of {file} that is not in the journal"
        yield Violation("delivery.index_invents", truth.history.end, text)


def packed(truth: Truth) -> Iterator[Violation]:
    """A file that was closed long ago is packed, and exists once. Packing leaves no unfinished file behind."""
    names = {(file.machine, file.name) for file in truth.history.of(Left)}
    closed = {(record.machine, record.file) for record in truth.history.of(Due) if record.closed}
    for machine, file in sorted(closed):
        forms = [form for form in ("", ".gz", ".gz.part") if (machine, file + form) in names]
        if forms != [".gz"]:
            text = f"{machine}: {file} was closed long ago and exists as {forms}"
            yield Violation("delivery.not_packed", truth.history.end, text)


def verifies(truth: Truth) -> Iterator[Violation]:
    """Each record holds the hash of the one before, through packed files and others."""
    before: dict[tuple[str, str], Recorded] = {}
    for line in _lines(truth):
        assert line.record is not None
        key = line.machine, line.file.split("-")[1]
        last = before.get(key)
        if last is not None and line.record.get("prev") != last.line:
            text = (
                f"{line.machine}: line {line.number} of {line.file} does not hold the hash of the line before"
            )
            yield Violation("delivery.verify", line.at, text)
        before[key] = line


def _lines(truth: Truth) -> Iterator[Recorded]:
    return (line for line in truth.history.of(Recorded) if line.record is not None and line.line)


def harmed(truth: Truth) -> Iterator[Violation]:
    """No serving process ends, and no connection of a client breaks, for any fault of the courier's or of a sink."""
    if next(truth.history.of(CourierLife), None) is None:
        return
    for life in truth.history.of(Life):
        # A seam may be reached much later than the fault was set.
        why = truth.troubled(life.at - _FOLLOWS_S, life.at, *_ENDINGS) or truth.troubled(
            0.0, life.at, "kill seam", "kill worker"
        )
        if life.what in ("killed", "ended") and not why:
            yield Violation(
                "delivery.harmed", life.at, f"a serving process of {life.machine} was {life.what}"
            )
    if truth.troubled(0.0, truth.history.end, *_BREAKS):
        return
    for broke in truth.history.of(Broke):
        op = truth.ops.get(broke.op)
        if broke.why in ("reset", "cut", "refused") and op is not None and op.asked.at > _BOOTED_S:
            text = f"the connection of {op.asked.intent} ended ({broke.why}), and no fault explains it"
            yield Violation("delivery.harmed", broke.at, text, (broke.op,))


RULES = (undelivered, taken_back, disordered, indexed_once, packed, verifies, harmed)

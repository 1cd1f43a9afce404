"""Explains how a file with a broken chain was changed: from its lines' links and hashes to sentences. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence

from attrs import frozen

from .hash_chain import ChainHead, ChainLink


@frozen(slots=True)
class ChainedLine:
    """One line of a file, reduced to its chain fields.

    :param place: line number, counted from 1.
    :param link: None if the line carries none.
    :param hash: hash of the line.
    """

    place: int
    link: ChainLink | None
    hash: bytes


def differences(lines: Sequence[ChainedLine], before: ChainHead, after: ChainHead | None) -> Iterator[str]:
    """Name every record that was changed, removed, inserted or moved.

    :param lines: all lines of the file.
    :param before: the chain's head before the first line.
    :param after: the head after the last line, as a source outside this file states it; None if there is none.
    """
    first = before.seq + 1
    last = after.seq if after is not None else max((_seq(line) for line in lines), default=before.seq)
    by_seq: dict[int, list[ChainedLine]] = {}
    for line in lines:
        if line.link is None:
            yield f"line {line.place} has no chain link: it was changed or inserted"
        elif not first <= line.link.seq <= last:
            yield f"line {line.place} claims to be record {line.link.seq}, which is not in this file: it was inserted"
        else:
            by_seq.setdefault(line.link.seq, []).append(line)
    yield from _missing(by_seq, first, last)
    chosen = yield from _inserted(by_seq, last, after)
    yield from _moved([line for line in lines if chosen.get(_seq(line)) is line])
    yield from _changed(chosen, before, last, after)


def _seq(line: ChainedLine) -> int:
    return line.link.seq if line.link is not None else -1


def _missing(by_seq: dict[int, list[ChainedLine]], first: int, last: int) -> Iterator[str]:
    """One sentence per run of missing records.

    The code does not count through the range: a forged number may make it huge.
    """
    expected = first
    for seq in [*sorted(by_seq), last + 1]:
        if seq > expected:
            yield (
                f"record {expected} is missing"
                if seq == expected + 1
                else f"records {expected} to {seq - 1} are missing"
            )
        expected = seq + 1


def _inserted(
    by_seq: dict[int, list[ChainedLine]], last: int, after: ChainHead | None
) -> Generator[str, None, dict[int, ChainedLine]]:
    """Choose one line per number: the one that the next record continues. Report the others as inserted."""
    chosen: dict[int, ChainedLine] = {}
    for seq, found in by_seq.items():
        wanted = after.hash if after is not None and seq == last else None
        following = {line.link.prev for line in by_seq.get(seq + 1, ()) if line.link is not None}
        genuine = [line for line in found if line.hash == wanted or line.hash in following]
        kept = (genuine or found)[0]
        chosen[seq] = kept
        for line in found:
            if line is not kept:
                yield f"line {line.place} claims to be record {seq}, but line {kept.place} is: it was inserted"
    return chosen


def _moved(lines: Sequence[ChainedLine]) -> Iterator[str]:
    """Report lines that are not in the order of their numbers."""
    highest = 0
    counts = Counter[int]()
    for line in lines:
        seq = _seq(line)
        if seq < highest and not counts[seq]:
            counts[seq] += 1
            yield f"record {seq} comes after record {highest}: the order was changed"
        highest = max(highest, seq)


def _changed(
    chosen: dict[int, ChainedLine], before: ChainHead, last: int, after: ChainHead | None
) -> Iterator[str]:
    for seq, line in sorted(chosen.items()):
        assert line.link is not None
        if seq == before.seq + 1 and line.link.prev != before.hash:
            yield f"record {seq} does not continue the record before it: it was changed"
        if seq == last:
            if after is not None and line.hash != after.hash:
                yield f"record {seq} was changed"
            continue
        following = chosen.get(seq + 1)
        if following is not None and following.link is not None and following.link.prev != line.hash:
            yield f"record {seq} was changed, or its hash in record {seq + 1} was"

"""What machines tell each other of their counts: which subjects are hottest, and hashes of what was counted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from .count_rules import CountRule

MOST_SUBJECTS: Final = 50
"""Subjects of each rule that a machine tells. One that is in no list is below those in it."""
MOST_BYTES: Final = 16_000
"""Largest value of a machine. At 4 bytes for each key, 100 patients of 40 people fit."""
_HASH: Final = 4
_ROOM: Final = 100
"""Bytes of a subject beside its keys, at most."""

_Counted = dict[str, dict[str, bytes]]
"""By rule and subject: the hashes, one after another."""


def packed(rules: Sequence[CountRule], now: float) -> bytes:
    """Pack the hottest subjects of each rule, until ``MOST_BYTES`` are reached.

    :param now: seconds since the epoch.
    """
    told: _Counted = {}
    for rule in rules:
        left, subjects = MOST_BYTES // len(rules), told.setdefault(rule.rule, {})
        for subject, hashes in rule.counter.hottest(MOST_SUBJECTS, now):
            left -= _HASH * len(hashes) + _ROOM
            if left < 0:
                break
            subjects[str(subject)[:_ROOM]] = b"".join(each.to_bytes(_HASH) for each in hashes)
    return msgspec.msgpack.encode(told)


def unpacked(
    rules: Sequence[CountRule], values: Sequence[bytes]
) -> Iterator[tuple[CountRule, Mapping[str, frozenset[int]]]]:
    """Unpack what the other machines tell, added up for each rule. What cannot be read counts as nothing."""
    told = [counted for value in values if (counted := _decoded(value)) is not None]
    for rule in rules:
        found: dict[str, frozenset[int]] = {}
        for counted in told:
            for subject, hashes in list(counted.get(rule.rule, {}).items())[:MOST_SUBJECTS]:
                found[subject] = found.get(subject, frozenset()) | _hashes(hashes)
        yield rule, found


def _decoded(value: bytes) -> _Counted | None:
    if len(value) > MOST_BYTES * 2:
        return None
    try:
        return msgspec.msgpack.decode(value, type=_Counted)
    except msgspec.MsgspecError:
        return None


def _hashes(packed: bytes) -> frozenset[int]:
    places = range(0, len(packed) - len(packed) % _HASH, _HASH)
    return frozenset(int.from_bytes(packed[at : at + _HASH]) for at in places)

"""Reads and writes the fields of W3C Trace Context. Pure. Source: https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

SAMPLED: Final = 1
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER: Final = re.compile(
    rb"(?:[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
_MOST_MEMBERS: Final = 32
_MOST_BYTES: Final = 512


@frozen(slots=True)
class TraceParent:
    """The span of a client in whose trace a request belongs.

    :param trace_id: 32 hexadecimal digits.
    :param span_id: 16 hexadecimal digits.
    """

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def field(self) -> bytes:
        """The value of ``traceparent``, in version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}".encode("ascii")


def parse_parent(values: Sequence[bytes]) -> TraceParent | None:
    """Parse ``traceparent``; None if it is missing, given twice or invalid (§3.2).

    :param values: of all such fields of a request.
    """
    if len(values) != 1 or len(values[0]) > _MOST_BYTES:
        return None
    found = _PARENT.fullmatch(values[0])
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
        return None
    if not found[2].strip(b"0") or not found[3].strip(b"0"):
        return None
    return TraceParent(found[2].decode(), found[3].decode(), bool(int(found[4], 16) & SAMPLED))


def parse_state(values: Sequence[bytes]) -> bytes:
    """Return ``tracestate`` as it may be passed on: at most 32 members and 512 bytes; empty if it is invalid (§3.3).

    :param values: of all such fields of a request, in order.
    """
    kept: list[bytes] = []
    size = -1
    names: set[bytes] = set()
    if sum(map(len, values)) > 16 * _MOST_BYTES:
        return b""
    for part in b",".join(values).split(b","):
        member = part.strip(b" \t")
        if not member:
            continue
        name = member.partition(b"=")[0]
        if _MEMBER.fullmatch(member) is None or name in names or len(names) >= _MOST_MEMBERS:
            return b""
        names.add(name)
        if size + 1 + len(member) <= _MOST_BYTES:  # vendors put what is newest first
            kept.append(member)
            size += 1 + len(member)
    return b",".join(kept)

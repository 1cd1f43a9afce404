"""One row of the index for each line of the journal: the values to search by, and the place of the line. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from ..search.match import HIDDEN as HIDDEN_KINDS
from ..search.match import LOGIN_FAILURE as LOGIN_FAILURE_ACTION
from ..search.match import text, time_of
from ..search.record_values import (
    HIDDEN,
    LOGIN_FAILURE,
    OTHER_TROUBLE,
    OWN,
    SHOWN,
    ColumnValues,
    coded,
)
from ..trail import alike

_TEXT: Final = 200


class Entry(msgspec.Struct, gc=False):
    """A line as the index stores it; ``ColumnValues`` explains the values.

    :param time_ms: 0 for a line without a time.
    :param stem: the name of its file.
    :param seq: its number in its journal.
    :param place: bytes before it in the file, uncompressed.
    :param listed: hash of the disclosure set that the record refers to.
    """

    time_ms: int
    stem: str
    seq: int
    place: int
    shown: int
    kind: str
    trouble: int | None = None
    status: int | None = None
    staff: str | None = None
    name: str | None = None
    patient: str | None = None
    action: str | None = None
    outcome: str | None = None
    route: str | None = None
    resource: str | None = None
    record: str | None = None
    address: str | None = None
    request_id: str | None = None
    for_request: str | None = None
    listed: str | None = None


class SetMember(msgspec.Struct, gc=False):
    """A patient of a disclosure set that a file declares."""

    stem: str
    listed: str
    patient: str


class _Person(msgspec.Struct, gc=False):
    id: int | str | None = None
    name: str | None = None
    request_id: str | None = None


class _Client(msgspec.Struct, gc=False):
    address: str | None = None


class _Disclosed(msgspec.Struct, gc=False):
    set: str | None = None


class _Line(msgspec.Struct, gc=False):
    """What nearly every line looks like. A line that does not is read by ``coded``."""

    kind: str
    time: str
    request_id: str | None = None
    who: _Person | None = None
    on_behalf_of: _Person | None = None
    client: _Client | None = None
    route: str | None = None
    action: str | None = None
    resource: str | None = None
    record_id: int | str | None = None
    patient_id: int | str | None = None
    outcome: str | None = None
    status: int | None = None
    disclosed: _Disclosed | None = None


_NOBODY: Final = _Person()
_NOWHERE: Final = _Client()
_NOTHING: Final = _Disclosed()
_decode = msgspec.json.Decoder(_Line).decode


def entry_of(line: bytes, stem: str, seq: int, place: int) -> tuple[Entry, tuple[SetMember, ...]]:
    """The row of a line, and the members of the disclosure set that the line declares."""
    # The quick decoder passes over fields that are not in _Line. The rule reads them if they could be wrong.
    if b"\\" not in line and b'"disclosure"' not in line and _is_utf8(line):
        try:
            return _quick(_decode(line), stem, seq, place), ()
        except (msgspec.DecodeError, RecursionError):
            pass
    one = coded(line, 0)
    members = tuple(SetMember(stem, one.declares, each) for each in one.patients) if one.declares else ()
    return _entry(one, stem, seq, place), members


class RowEncoder:
    """Encodes rows as lines of JSON; rows of lines that are alike only once. One index process has one."""

    def __init__(self) -> None:
        self._alike = alike.AlikeLines(_rest_of_row)
        self._encode = msgspec.json.Encoder().encode
        self._stem, self._stem_bytes = "", b""

    def row(self, line: bytes, stem: str, seq: int, place: int) -> tuple[bytes, tuple[SetMember, ...]]:
        """What ``entry_of`` returns, the row encoded; a field that is missing has no value."""
        found = self._alike.of(line)
        if found is None:
            entry, members = entry_of(line, stem, seq, place)
            return self._encode(entry) + b"\n", members
        time_ms, request_id, rest = found
        if time_ms is None or time_ms < 0:
            time_ms = 0
        if stem is not self._stem:  # of thousands of lines in a row it is the same object
            self._stem, self._stem_bytes = stem, stem.encode()
        return b'{"time_ms":%d,"stem":"%b","seq":%d,"place":%d,"request_id":"%b",%b' % (
            time_ms, self._stem_bytes, seq, place, request_id, rest,
        ), ()  # fmt: skip


def _rest_of_row(line: bytes) -> bytes | None:
    """The rest of the row of a sample, with its end; None if time and id are not at their places."""
    entry, members = entry_of(line, "", 0, 0)
    if members or entry.request_id != alike.REQUEST_ID or entry.time_ms != _time(alike.TIME):
        return None
    values = msgspec.to_builtins(entry)
    rest = {name: value for name, value in values.items() if value is not None and name not in _OF_EACH_LINE}
    return msgspec.json.encode(rest)[1:] + b"\n"


_OF_EACH_LINE: Final = frozenset({"time_ms", "stem", "seq", "place", "request_id"})


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _entry(one: ColumnValues, stem: str, seq: int, place: int) -> Entry:
    words: dict[str, Any] = dict(one.words)
    return Entry(
        time_ms=one.time_ms,
        stem=stem,
        seq=seq,
        place=place,
        shown=one.shown,
        trouble=one.trouble,
        status=one.status,
        request_id=one.request_id,
        for_request=one.for_request,
        listed=one.set,
        **words,
    )


def _word(value: int | str | None) -> str | None:
    """``match.text`` for the values that are nearly always there."""
    if value is None:
        return None
    return value if value.__class__ is str and 0 < len(value) <= _TEXT and "\0" not in value else text(value)


def _quick(line: _Line, stem: str, seq: int, place: int) -> Entry:
    kind, action, outcome = _word(line.kind) or "unreadable", _word(line.action), _word(line.outcome)
    status = line.status if line.status is not None and 0 <= line.status < 1000 else None
    behalf = line.on_behalf_of or _NOBODY
    who = line.who or _NOBODY
    staff, name = _word(who.id), _word(who.name)
    if staff is None and name is None:
        staff, name = _word(behalf.id), _word(behalf.name)
    trouble = None
    if action == LOGIN_FAILURE_ACTION or (status == 401 and kind == "request"):
        trouble = LOGIN_FAILURE
    elif kind == "alert" or outcome == "refused":
        trouble = OTHER_TROUBLE
    return Entry(
        _time(line.time),
        stem,
        seq,
        place,
        OWN if kind == "own" else HIDDEN if kind in HIDDEN_KINDS else SHOWN,
        kind,
        trouble,
        status,
        staff,
        name,
        _word(line.patient_id),
        action,
        outcome,
        _word(line.route),
        _word(line.resource),
        _word(line.record_id),
        _word((line.client or _NOWHERE).address),
        _word(line.request_id),
        _word(behalf.request_id),
        _word((line.disclosed or _NOTHING).set),
    )


def _time(value: str) -> int:
    """Milliseconds of a time as records have it; anything else is read by the rule."""
    if (
        len(value) == 24
        and value[19] == "."
        and value[23] == "Z"
        and value.isascii()
        and value[20:23].isdigit()
    ):
        return max(0, _second(value[:19]) + int(value[20:23]))
    return max(0, time_of({"time": value}) or 0)


@lru_cache(maxsize=64)
def _second(value: str) -> int:
    at = time_of({"time": f"{value}Z"})
    return at if at is not None else -(1 << 60)

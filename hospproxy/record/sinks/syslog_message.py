"""Records as syslog messages (RFC 5424) in octet-counted frames (RFC 6587 §3.4.1, RFC 5425 §4.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from ...options.syslog_section import SyslogSettings
from ..trail.follower import Batch
from ..trail.hash_chain import hash_of
from ..trail.scan import record_of

WARNING, NOTICE, INFORMATIONAL = 4, 5, 6
"""Severities (RFC 5424 §6.2.1)."""

_BOM = b"\xef\xbb\xbf"
_NIL = "-"
_CHUNK_BYTES = 64 * 1024
_WARNING_KINDS = frozenset({"alert", "gap"})
_TROUBLE = frozenset(
    {
        "failed",
        "hosp is away",
        "over capacity",
        "not sent",
        "failed after sending",
        "bad answer",
        "unknown",
        "not recorded",
        "error",
    }
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)


_DEFAULTS: Final = SyslogSettings()


@frozen(slots=True)
class SyslogFormat:
    """Settings common to all messages.

    :param facility: 0 to 23 (RFC 5424 §6.2.1); 13 is "log audit".
    :param hostname: of this machine.
    :param app_name: the program's name.
    :param enterprise: the number after the @ in the structured data's name (RFC 5424 §7.2.2).
    :param bom: whether a byte order mark declares the message as UTF-8, as RFC 5424 §6.4 requires.
    :param max_bytes: largest message, without its frame.
    """

    facility: int = _DEFAULTS.facility
    hostname: str = _NIL
    app_name: str = "hospproxy"
    enterprise: int = _DEFAULTS.enterprise_number
    bom: bool = True
    max_bytes: int = _DEFAULTS.max_message_bytes


def severity_of(record: Mapping[str, Any]) -> int:
    """Severity of a record: warning for alerts and gaps, notice for requests that failed, else informational."""
    if str(record.get("kind")) in _WARNING_KINDS:
        return WARNING
    return NOTICE if str(record.get("outcome")) in _TROUBLE else INFORMATIONAL


def message(form: SyslogFormat, batch: Batch, index: int) -> bytes:
    """One record as SYSLOG-MSG (RFC 5424 §6).

    A line that is too long is cut; the parameter ``bytes`` then tells its full length. The hash is that of the
    whole line.

    :param index: of the record in its batch.
    """
    line = batch.lines[index]
    record = record_of(line)
    data = {
        "trail": batch.trail,
        "journal": batch.position.journal,
        "seq": str(batch.first_seq + index),
        "hash": hash_of(line).decode(),
        "head": batch.head,
    }
    head = _head(form, record)
    whole = _joined(form, head, data, line)
    if len(whole) <= form.max_bytes:
        return whole
    data["bytes"] = str(len(line))
    room = form.max_bytes - len(_joined(form, head, data, b""))
    # Drop a character cut in half: with it the message would not be valid UTF-8.
    return _joined(form, head, data, line[: max(0, room)].decode("utf-8", "ignore").encode())


def framed(text: bytes) -> bytes:
    """A message prefixed by its length, so that nothing in it can be taken for the start of another message."""
    return b"%d %b" % (len(text), text)


def chunks(form: SyslogFormat, batches: Iterable[Batch]) -> Iterator[bytes]:
    """All records as frames, in pieces of about 64 KiB, made on demand."""
    gathered: list[bytes] = []
    size = 0
    for batch in batches:
        for index in range(len(batch.lines)):
            gathered.append(framed(message(form, batch, index)))
            size += len(gathered[-1])
            if size >= _CHUNK_BYTES:
                yield b"".join(gathered)
                gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def escaped(value: str) -> str:
    """Escape a PARAM-VALUE (RFC 5424 §6.3.3)."""
    return re.sub(r'(["\\\]])', r"\\\1", value)


def _head(form: SyslogFormat, record: Mapping[str, Any]) -> str:
    priority = form.facility * 8 + severity_of(record)
    names = (_name(form.hostname, 255), _name(form.app_name, 48), _NIL, _name(record.get("kind"), 32))
    return f"<{priority}>1 {_timestamp(record.get('time'))} {' '.join(names)}"


def _joined(form: SyslogFormat, head: str, data: Mapping[str, str], text: bytes) -> bytes:
    members = " ".join(f'{name}="{escaped(value)}"' for name, value in data.items())
    start = f"{head} [hospproxy@{form.enterprise} {members}] ".encode("utf-8", "backslashreplace")
    return start + (_BOM if form.bom else b"") + text


def _name(value: object, most: int) -> str:
    """A header field: printable US-ASCII without spaces, or "-"."""
    text = value if isinstance(value, str) else ""
    return "".join(each if "!" <= each <= "~" else "_" for each in text[:most]) or _NIL


def _timestamp(value: object) -> str:
    """The record's own time if RFC 5424 §6.2.3 allows its form, else "-"."""
    if not isinstance(value, str) or _TIME.match(value) is None:
        return _NIL
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return _NIL
    return value

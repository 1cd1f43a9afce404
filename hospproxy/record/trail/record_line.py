"""Encodes a record as one line of JSON that no name, path or header can break or disguise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from attrs import frozen

# msgspec escapes only U+0000 to U+001F (RFC 8259 §7). Other characters could still control a terminal (DEL,
# C1), end a line for some readers (U+0085, U+2028, U+2029), or reverse or hide text (bidirectional and
# zero-width characters), so that the log misleads its reader.
_STEERING = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def encode_record(record: Mapping[str, Any]) -> bytes:
    """One line without its line end: printable, valid UTF-8, valid JSON.

    :param record: strings, numbers, lists and mappings; strings may hold anything, including lone surrogates.
    :raise TypeError: a value that JSON cannot hold.
    """
    try:
        line = msgspec.json.encode(record)
    except UnicodeEncodeError:  # a lone surrogate, which stands for a byte of invalid UTF-8
        line = msgspec.json.encode(_without_surrogates(record))
    if line.isascii() and b"\x7f" not in line:
        return line
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_without_surrogates(name): _without_surrogates(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(inner) for inner in value]
    return value


_GAPS: Final = {"time": "time:5b1d0c6e9f4a42", "request_id": "request-id:5b1d0c6e9f4a42"}
_PLAIN = re.compile(r"[ !#-\[\]-~]+")
"""Texts that JSON writes as they are."""


@frozen(slots=True, eq=False)
class LineTemplate:
    """The line of a record that is written again and again, each time with another time and request id.

    Nearly all of a record is the same when an equal request comes again. Encoding it once saves a third of what the
    record costs.
    """

    before: bytes
    between: bytes
    after: bytes
    record: Mapping[str, Any]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> LineTemplate | None:
        """Return the template of a record; None if some text in it prevents one."""
        line = encode_record({**record, **_GAPS})
        time, request_id = (b'"%b"' % gap.encode() for gap in _GAPS.values())
        before, *middle = line.split(time)
        if len(middle) != 1 or middle[0].count(request_id) != 1:
            return None
        between, _, after = middle[0].partition(request_id)
        return cls(before + b'"', b'"' + between + b'"', b'"' + after, record)

    def filled(self, time: str, request_id: str) -> bytes:
        """Return the line with these values, as ``encode_record`` writes it."""
        if not (request_id.isalnum() and request_id.isascii()) and _PLAIN.fullmatch(request_id) is None:
            return encode_record({**self.record, "time": time, "request_id": request_id})
        return b"%b%b%b%b%b" % (
            self.before, time.encode(), self.between, request_id.encode(), self.after,
        )  # fmt: skip

"""Encodes a record as one line of JSON that no name, path or header can break or disguise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

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

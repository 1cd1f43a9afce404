"""Makes any text safe in a line of the access log. Pure.

Clients choose host and user agent, and a proxy in front may report any address. What is not printable ASCII, quotes and
backslashes become ``\\xHH``, as nginx writes them: so a quote never ends a field, and a line feed never ends a line.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote as percent_encoded

_UNSAFE = re.compile(rb"[^ !#-\[\]-~]")
_UNSAFE_WORD = re.compile(rb"[^!#-\[\]-~]")
_IN_URL: Final = "/:?&=[]{}@!$'()*+,;%~"
"""Characters of a URL that stay as they are. A template's braces too; they are easier to read so."""


def _hexadecimal(found: re.Match[bytes]) -> bytes:
    return b"\\x%02X" % found[0][0]


def text(value: str | None) -> str:
    """A text for a quoted field; "-" if there is none."""
    return _UNSAFE.sub(_hexadecimal, value.encode("utf-8", "backslashreplace")).decode() if value else "-"


def word(value: str | None) -> str:
    """A text for a field without quotes, so without spaces; "-" if there is none."""
    return (
        _UNSAFE_WORD.sub(_hexadecimal, value.encode("utf-8", "backslashreplace")).decode() if value else "-"
    )


def url(value: str) -> str:
    """A part of a URL; what may not stand in one is percent-encoded."""
    return percent_encoded(value, safe=_IN_URL, errors="replace")

"""Which content coding a client accepts, and entity tags of coded content (RFC 9110 §8.4, §8.8.3, §12.5.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

GZIP = b"gzip"
ZSTD = b"zstd"
CODINGS = (GZIP, ZSTD)
"""The codings that the proxy knows."""

_ALIASES = {b"x-gzip": GZIP}
_WEIGHT = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_OWN_TAG = re.compile(rb'"([0-9a-f]{32})-(%b)"' % b"|".join(CODINGS))
"""A tag of ``coded_tag``, made from one of the proxy's own (``outward/validators.py``)."""


def accepted_coding(values: Sequence[bytes], offered: Iterable[bytes]) -> bytes | None:
    """Return the coding in which to send content; None: as it is.

    A client that sends no Accept-Encoding gets no coding: the standard would allow any, but such clients know none.
    If nothing is acceptable, not even content as it is, it is sent as it is, which the standard allows too.

    :param values: of the request's Accept-Encoding.
    :param offered: codings that may be used, the preferred one first.
    """
    weights: dict[bytes, float] = {}
    for member in b",".join(values).split(b","):
        name, weight = _weighted(member)
        if name:
            weights[name] = min(weight, weights.get(name, weight))
    chosen, best = None, 0.0
    for coding in offered:
        weight = weights.get(coding, weights.get(b"*", 0.0))
        if weight > best:
            chosen, best = coding, weight
    return None if weights.get(b"identity", 0.0) > best else chosen


def _weighted(member: bytes) -> tuple[bytes, float]:
    """The coding that a member of the list names, and its weight; a malformed weight counts as 0."""
    name, *parameters = (part.strip(b" \t").lower() for part in member.split(b";"))
    weight = 1.0
    for parameter in parameters:
        if parameter[:2] == b"q=":
            weight = float(parameter[2:]) if _WEIGHT.fullmatch(parameter[2:]) else 0.0
        else:
            weight = 0.0
    return _ALIASES.get(name, name), weight


def coded_tag(tag: bytes, coding: bytes) -> bytes:
    """Return the entity tag of content in a coding: a strong tag belongs to one sequence of bytes only.

    :param tag: of the content as it is.
    """
    return tag if tag.startswith(b"W/") or not tag.endswith(b'"') else b'%b-%b"' % (tag[:-1], coding)


def plain_tags(value: bytes, codings: Sequence[bytes]) -> bytes:
    """Return a list of entity tags in which tags of coded content have become those of the content as it is.

    :param value: of If-Match or If-None-Match.
    :param codings: only tags of content in one of these change.
    """
    return _OWN_TAG.sub(lambda tag: b'"%b"' % tag[1] if tag[2] in codings else tag[0], value)

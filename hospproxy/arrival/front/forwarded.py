"""Parse ``Forwarded`` (RFC 7239) from the right: the nearest proxy's element is last. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # RFC 9110 §5.6.2; nothing secret
# Possessive quantifiers: no run of spaces or other characters can make this backtrack.
_PAIR: Final = re.compile(
    rf"[ \t]*+(?:({_TOKEN}+)=(?:({_TOKEN}+)|\"((?:[^\"\\]|\\.)*+)\"))?+[ \t]*+(?:;|\Z)", re.DOTALL
)
_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")


@frozen(slots=True)
class ForwardedHop:
    """What one proxy said about the request that it received.

    :param address: of the sender; "" if the proxy gives none (``unknown``, an obfuscated name, or nothing).
    :param scheme: "http" or "https"; "" if the proxy gives none.
    """

    address: str = ""
    scheme: str = ""


def hops(values: list[bytes], most: int) -> Iterator[ForwardedHop]:
    """Yield the elements of the field from the right, up to the first malformed one.

    Splitting starts from the right too. Otherwise a client could send an unclosed quoted string and so swallow what
    the proxy appended after it.

    :param values: of each line of the field, in order.
    :param most: maximum number of elements to look at.
    """
    text = b",".join(values).decode("latin-1")
    for _, element in zip(range(most), _split(text), strict=False):
        hop = _hop(element)
        if hop is None:
            return
        yield hop


def _split(text: str) -> Iterator[str]:
    """Yield the parts between commas that are not inside quoted strings, from the right."""
    end, quoted = len(text), False
    for at in range(len(text) - 1, -1, -1):
        if text[at] == '"' and not _escaped(text, at):
            quoted = not quoted
        elif text[at] == "," and not quoted:
            yield text[at + 1 : end]
            end = at
    yield text[:end]


def _escaped(text: str, at: int) -> bool:
    """Whether an odd number of backslashes precedes this position."""
    before = at
    while before > 0 and text[before - 1] == "\\":
        before -= 1
    return (at - before) % 2 == 1


def _hop(element: str) -> ForwardedHop | None:
    """Parse one element; None if it is malformed or empty."""
    found: dict[str, str] = {}
    at = 0
    while at < len(element):
        match = _PAIR.match(element, at)
        if match is None:
            return None
        at = match.end()
        if match[1] is None:  # RFC 7239 §4 allows empty pairs
            continue
        name = match[1].lower()
        if name in found:  # RFC 7239 §4: each parameter at most once
            return None
        found[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3], flags=re.DOTALL)
    if not found:
        return None
    scheme = found.get("proto", "").lower()
    return ForwardedHop(_address(found.get("for", "")), scheme if scheme in ("http", "https") else "")


def _address(node: str) -> str:
    """Return the address of a node (RFC 7239 §6), which is in brackets for IPv6; "" if it has none."""
    match = _NODE.fullmatch(node)
    if match is None:
        return ""
    try:
        address = ipaddress.IPv6Address(match[1]) if match[1] else ipaddress.IPv4Address(match[2])
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)

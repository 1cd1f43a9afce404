"""Parse Basic credentials (RFC 7617), leniently: existing clients cannot be updated."""

from __future__ import annotations

import base64
import binascii
import re

from attrs import field, frozen

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ALPHABET = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}\Z")


@frozen(slots=True)
class Credentials:
    """The name and password that a request carries. Only the name is shown in a repr.

    :param canonical: the one ``Basic …`` value under which they are sent on and remembered.
    """

    name: str
    canonical: bytes = field(repr=False)
    password: str = field(repr=False)


def parse_basic(value: bytes | None) -> Credentials | None:
    """Parse the value of Authorization; None if it is missing or malformed.

    Also accepted: any case of the scheme, several spaces after it, base64 without padding or in the URL-safe
    alphabet. The text is UTF-8 (RFC 7617 §2.1), or Latin-1 if it is not valid UTF-8.
    """
    if value is None:
        return None
    scheme, _, rest = value.strip().partition(b" ")
    token = rest.strip(b" \t")
    if scheme.lower() != b"basic" or not _ALPHABET.match(token):
        return None
    bare = token.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        raw = binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = raw.partition(b":")
    if not colon or _CONTROL.search(raw) is not None:
        return None
    canonical = b"Basic " + binascii.b2a_base64(raw, newline=False)
    return Credentials(name=_text(name), password=_text(password), canonical=canonical)


def basic(name: str, password: str) -> bytes:
    """Return the canonical value of Authorization for a name and a password."""
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")

"""Each record carries the hash of the one before, and some carry a signature: the last fields of a line.

``…,"seq":17,"prev":"<sha256 of line 16>"}``, and of a signed one ``…,"signature":"<Ed25519 of all before it>"}``.
They are put on and read as bytes, so that a million of them are checked in seconds, and no reader's idea of
JSON matters.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256

from attrs import frozen

NOTHING = b"0" * 64
"""The hash before the first record."""

_DOMAIN = b"hospproxy audit record 1\n"
"""Goes before what is signed: a signature made for one purpose can serve no other."""

_TRAILER = re.compile(
    rb',"seq":(\d{1,18}),"prev":"([0-9a-f]{64})"(?:,"signature":"([A-Za-z0-9+/]{86}==)")?\}\Z',
)

Sign = Callable[[bytes], bytes]
"""From a message to its 64 bytes of signature."""


@frozen(slots=True)
class Head:
    """Where a chain stands.

    :param seq: the last record's number, which counts through all files of a journal; 0 before the first.
    :param hash: of its line, without the line end; in hex.
    :param signed: the same of the last signed record.
    """

    seq: int = 0
    hash: bytes = NOTHING
    signed: bytes = NOTHING


@frozen(slots=True)
class Link:
    """The last fields of a line."""

    seq: int
    prev: bytes
    signature: bytes | None


def hash_of(line: bytes) -> bytes:
    """Of a line without its end, in hex."""
    return sha256(line).hexdigest().encode()


def link_of(line: bytes) -> Link | None:
    """What a line (without its end) carries; None where it carries none."""
    match = _TRAILER.search(line, max(0, len(line) - 220))
    if match is None:
        return None
    seq, prev, signature = match.groups()
    return Link(int(seq), prev, signature)


def linked(lines: Sequence[bytes], head: Head) -> tuple[list[bytes], Head]:
    """Lines that go on from a head, and the head after them.

    :param lines: JSON objects with at least one member, without line ends.
    """
    seq, prev = head.seq, head.hash
    chained = []
    for line in lines:
        seq += 1
        line = b'%b,"seq":%d,"prev":"%b"}' % (line[:-1], seq, prev)
        prev = sha256(line).hexdigest().encode()
        chained.append(line)
    return chained, Head(seq, prev, head.signed)


def linked_and_signed(line: bytes, head: Head, sign: Sign) -> tuple[bytes, Head]:
    """The same of one line that is signed."""
    [chained], after = linked([line], head)
    whole = signed(chained, sign)
    own = hash_of(whole)
    return whole, Head(after.seq, own, own)


def signed(line: bytes, sign: Sign) -> bytes:
    """A line with a signature over all that stands before it."""
    body = line[:-1]
    return b'%b,"signature":"%b"}' % (body, b64encode(sign(_DOMAIN + body)))


_SIGNATURE = re.compile(rb',"signature":"([A-Za-z0-9+/]{86}==)"\}\Z')


def is_signed_by(line: bytes, verify: Callable[[bytes, bytes], bool]) -> bool:
    """Whether a line's signature is good.

    :param verify: of (signature, message).
    """
    match = _SIGNATURE.search(line, max(0, len(line) - 120))
    return match is not None and verify(b64decode(match[1]), _DOMAIN + line[: match.start()])

"""Chains records: each line ends with the hash of the previous line, and some lines end with a signature.

``…,"seq":17,"prev":"<sha256 of line 16>"}``, and for a signed line ``…,"signature":"<Ed25519 of all before
it>"}``. These fields are added and read as bytes. A million lines are then checked in seconds, and differences
between JSON readers do not matter.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256

from attrs import frozen

NOTHING = b"0" * 64
"""The previous hash of the first record."""

_DOMAIN = b"hospproxy audit record 1\n"
"""Prefix of every signed message, so that a signature made for one purpose is invalid for any other."""

_TRAILER = re.compile(
    rb',"seq":(\d{1,18}),"prev":"([0-9a-f]{64})"(?:,"signature":"([A-Za-z0-9+/]{86}==)")?\}\Z',
)

Sign = Callable[[bytes], bytes]
"""From a message to its signature of 64 bytes."""


@frozen(slots=True)
class ChainHead:
    """The current end of a journal's chain.

    :param seq: number of the last record, counted through all files of a journal; 0 before the first.
    :param hash: of that record's line without the line end, in hex.
    :param signed: the hash of the last signed record.
    """

    seq: int = 0
    hash: bytes = NOTHING
    signed: bytes = NOTHING


@frozen(slots=True)
class ChainLink:
    """The link fields at the end of a line."""

    seq: int
    prev: bytes
    signature: bytes | None


def hash_of(line: bytes) -> bytes:
    """SHA-256 of a line without its end, in hex."""
    return sha256(line).hexdigest().encode()


def link_of(line: bytes) -> ChainLink | None:
    """The link of a line (without its end); None if it carries none."""
    match = _TRAILER.search(line, max(0, len(line) - 220))
    if match is None:
        return None
    seq, prev, signature = match.groups()
    return ChainLink(int(seq), prev, signature)


def linked(lines: Sequence[bytes], head: ChainHead) -> tuple[list[bytes], ChainHead]:
    """Chain lines to a head; return them and the new head.

    :param lines: JSON objects with at least one member, without line ends.
    """
    seq, prev = head.seq, head.hash
    chained = []
    for line in lines:
        seq += 1
        line = b'%b,"seq":%d,"prev":"%b"}' % (line[:-1], seq, prev)
        prev = sha256(line).hexdigest().encode()
        chained.append(line)
    return chained, ChainHead(seq, prev, head.signed)


def linked_and_signed(line: bytes, head: ChainHead, sign: Sign) -> tuple[bytes, ChainHead]:
    """Chain one line to a head and sign it; return it and the new head."""
    [chained], after = linked([line], head)
    whole = signed(chained, sign)
    own = hash_of(whole)
    return whole, ChainHead(after.seq, own, own)


def signed(line: bytes, sign: Sign) -> bytes:
    """A line with a signature over everything before the signature."""
    body = line[:-1]
    return b'%b,"signature":"%b"}' % (body, b64encode(sign(_DOMAIN + body)))


_SIGNATURE = re.compile(rb',"signature":"([A-Za-z0-9+/]{86}==)"\}\Z')


def is_signed_by(line: bytes, verify: Callable[[bytes, bytes], bool]) -> bool:
    """Whether the line's signature is valid.

    :param verify: called with (signature, message).
    """
    match = _SIGNATURE.search(line, max(0, len(line) - 120))
    return match is not None and verify(b64decode(match[1]), _DOMAIN + line[: match.start()])

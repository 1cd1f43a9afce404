"""Where the response to a read is stored, and under which key.

Two requests share a key only if HOSP could not tell them apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from attrs import frozen

from ..exchange.exchange import Call
from ..http.messages import Client, Identity


@frozen(slots=True)
class EntryLocation:
    """Where the response to a read is stored, and for how long.

    :param key: its key in this process.
    :param tags: what invalidates it, see staleness.py.
    :param lifetime_s: seconds for which it is fresh.
    :param identity: the principal; None for a public read.
    :param settled: False while a change to the account is open: nothing is read from the cache or stored in it.
    :param name: its key beyond this process. Its generation is always 0: on disk, revoked entries are deleted instead.
    """

    key: bytes
    tags: tuple[str, ...]
    lifetime_s: float
    identity: Identity | None
    settled: bool
    name: bytes


def key_of(call: Call, client: Client, identity: Identity | None, generation: int) -> bytes:
    """The cache key of a read: a hash of all that HOSP's response depends on.

    HOSP builds `url` from scheme and host, so both are part of the key. Credentials enter only as their HMAC.

    :param identity: the principal; None for a public read.
    :param generation: of the account; after each change to the account, older entries are unreachable.
    :return: 32 bytes that reveal nothing about the request.
    """
    who = [] if identity is None else [str(identity.id).encode(), identity.credentials, b"%d" % generation]
    query = [part for pair in call.query for part in pair]
    parts = (
        who,
        [_text(client.origin), _text(call.operation.id), _text(call.accept)],
        [_text(value) for value in call.path],
        [_text(value) for value in query],
    )
    return hashlib.blake2b(b"".join(map(_packed, parts)), digest_size=32).digest()


def _packed(parts: Iterable[bytes]) -> bytes:
    """Encode parts so that no two sequences give the same bytes: their number, then each with its length."""
    packed = [b""]
    for part in parts:
        packed += (len(part).to_bytes(8, "big"), part)
    packed[0] = (len(packed) // 2).to_bytes(4, "big")
    return b"".join(packed)


def _text(value: str) -> bytes:
    # A path may contain invalid UTF-8. It must get its own key, not fail.
    return value.encode("utf-8", "surrogatepass")

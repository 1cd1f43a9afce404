"""Under which key an answer is kept. Two requests share one only if HOSP could not tell them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..messages import Call, Client, Identity


def key_of(call: Call, client: Client, identity: Identity | None, generation: int) -> bytes:
    """The key of a read.

    HOSP builds `url` from scheme and host, so both belong to it. The credentials enter as their HMAC only.

    :param identity: who asks; None for what is public.
    :param generation: of the account: after each change to it nothing older can be reached.
    :return: 32 bytes from which nothing can be read back.
    """
    who = [] if identity is None else [str(identity.id).encode(), identity.credentials, b"%d" % generation]
    query = [part for pair in call.query for part in pair]
    parts = (
        who,
        [_text(client.origin), _text(call.operation.id), _text(call.accept)],
        [_text(value) for value in call.path],
        [_text(value) for value in query],
    )
    return hashlib.blake2b(b"".join(_packed(part) for part in parts), digest_size=32).digest()


def _packed(parts: Iterable[bytes]) -> bytes:
    """Parts run together so that no two sequences give the same bytes: their number, then each with its length."""
    listed = list(parts)
    return len(listed).to_bytes(4, "big") + b"".join(len(part).to_bytes(8, "big") + part for part in listed)


def _text(value: str) -> bytes:
    # A path may hold what is no UTF-8; it must give a key of its own, not a failure.
    return value.encode("utf-8", "surrogatepass")

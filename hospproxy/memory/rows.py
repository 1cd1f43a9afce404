"""Encodes cache entries and accepted credentials as bytes for the file on disk, with wall-clock times."""

from __future__ import annotations

import msgspec

from ..http.messages import Headers, Identity, Origin, Response
from .store import CacheEntry, EntryRequest

FUTURE_S = 60.0
"""A timestamp this far in the future shows that the clock was set back, so the age is unknown."""


class DiskEntry(msgspec.Struct, frozen=True):
    """A cache entry. Times are seconds since the epoch."""

    status: int
    headers: list[list[bytes]]
    body: bytes
    began: float
    fresh_until: float
    operation: str
    query: list[list[str]]
    origin: str


class DiskIdentity(msgspec.Struct, frozen=True):
    """Credentials that HOSP has accepted, and when (seconds since the epoch)."""

    id: int | str
    name: str
    accepted: float


def write_entry(entry: CacheEntry, now: float, wall: float) -> bytes:
    """Encode a cache entry for the file.

    :param now: monotonic seconds.
    :param wall: seconds since the epoch at the same moment.
    """
    response, asked = entry.response, entry.asked
    return msgspec.msgpack.encode(
        DiskEntry(
            status=response.status,
            headers=[list(pair) for pair in response.headers],
            body=response.body,
            began=entry.began - now + wall,
            fresh_until=entry.fresh_until - now + wall,
            operation=asked.operation,
            query=[list(pair) for pair in asked.query],
            origin=asked.origin,
        )
    )


def read_entry(data: bytes, name: bytes, now: float, wall: float) -> CacheEntry | None:
    """Decode a cache entry. It is never fresh, because writes in the meantime were missed.

    :param now: monotonic seconds.
    :param wall: seconds since the epoch at the same moment.
    :return: None if its time is in the future.
    """
    written = msgspec.msgpack.decode(data, type=DiskEntry)
    if written.began > wall + FUTURE_S:
        return None
    headers = Headers(tuple((field, value) for field, value in written.headers))
    return CacheEntry(
        Response(written.status, headers, written.body, Origin.MEMORY),
        began=now - max(0.0, wall - written.began),
        fresh_until=now - max(0.0, wall - written.fresh_until),
        name=name,
        asked=EntryRequest(
            written.operation, tuple((key, value) for key, value in written.query), written.origin
        ),
    )


def write_identity(identity: Identity, wall: float) -> bytes:
    """Encode accepted credentials."""
    return msgspec.msgpack.encode(DiskIdentity(identity.id, identity.name, wall))


def read_identity(data: bytes, credentials: bytes, wall: float) -> tuple[Identity, float] | None:
    """Decode accepted credentials, with the seconds since they were accepted; None if that is in the future."""
    written = msgspec.msgpack.decode(data, type=DiskIdentity)
    if written.accepted > wall + FUTURE_S:
        return None
    return Identity(written.id, written.name, credentials), max(0.0, wall - written.accepted)

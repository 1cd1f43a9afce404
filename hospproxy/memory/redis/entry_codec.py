"""Encodes cache entries for Redis and checks what a lookup returns. Pure rules; a doubtful entry counts as missing.

To change the format, only add fields, each with a default, so that neighbouring versions understand each other.
"""

from __future__ import annotations

from math import floor
from typing import Any

import msgspec
from attrs import frozen

from ...http.messages import Headers, Origin, Response
from ..second_level import LookupTicket, SharedHit

MAX_GENERATION_BYTES = 64
"""Longest generation accepted: a letter and a number, which is what the scripts write, are far shorter."""
_MAX_MS = 1 << 50


class EntryContent(msgspec.Struct, frozen=True):
    """A cached response with what it depends on. Times are milliseconds of Redis's clock.

    :param began: the earliest moment at which HOSP can have made it.
    :param answered: the moment from which its age counts.
    """

    epoch: bytes
    generations: list[bytes]
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    began: int
    answered: int


class InvalidEntry(Exception):
    """The value in Redis was written by no version of this program, or its times are impossible."""


@frozen(slots=True)
class LookReply:
    """The reply of ``look.lua``: a cache entry, and the generations that it must match.

    :param redis_ms: milliseconds of Redis's time.
    :param position: number of the last log entry.
    :param value: the sealed entry; None if there is none.
    """

    epoch: bytes
    redis_ms: int
    position: int
    value: bytes | None
    generations: tuple[bytes, ...]


_decoder = msgspec.msgpack.Decoder(EntryContent)


def looked(reply: list[Any], tags: int) -> LookReply:
    """Parse the reply of ``look.lua``.

    :param tags: number of generations that it must hold.
    :raise BadValue: it is invalid.
    """
    if len(reply) != 5:
        raise InvalidEntry
    epoch, now, position, value, generations = reply
    if position is None:
        position = b"0"
    whole = (
        isinstance(epoch, bytes)
        and isinstance(now, int)
        and 0 <= now < _MAX_MS
        and isinstance(position, bytes)
        and position.isdigit()
        and len(position) <= 20
        and (value is None or isinstance(value, bytes))
        and isinstance(generations, list)
        and len(generations) == tags
    )
    if not whole or not all(
        isinstance(one, bytes) and len(one) <= MAX_GENERATION_BYTES for one in generations
    ):
        raise InvalidEntry
    return LookReply(epoch, now, int(position), value, tuple(generations))


def written(ticket: LookupTicket, found: SharedHit) -> bytes:
    """Encode a response as a cache entry for Redis.

    Redis read its clock before this process received the reply, so the response may count as older than it is, never
    as younger.
    """
    return msgspec.msgpack.encode(
        EntryContent(
            epoch=ticket.epoch,
            generations=list(ticket.generations),
            status=found.response.status,
            headers=list(found.response.headers),
            body=found.response.body,
            began=_redis_ms(ticket, found.began),
            answered=_redis_ms(ticket, found.answered),
        )
    )


def _redis_ms(ticket: LookupTicket, moment: float) -> int:
    return ticket.redis_ms + floor((moment - ticket.received) * 1000)


def read(data: bytes, said: LookReply, sent: float) -> SharedHit | None:
    """Decode a cache entry from Redis, unless a write has invalidated it.

    :param said: the reply that held it.
    :param sent: monotonic seconds from before Redis was asked. The age counts from here, so the response may count as
        older than it is, never as younger.
    :return: None if a write has invalidated it since HOSP was asked for it.
    :raise BadValue: it is invalid.
    """
    try:
        value = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidEntry from None
    if not value.began <= value.answered <= said.redis_ms or value.status != 200:
        raise InvalidEntry
    if value.epoch != said.epoch or tuple(value.generations) != said.generations:
        return None
    # Add a millisecond: Redis's time was rounded down.
    since = sent - (said.redis_ms + 1) / 1000
    response = Response(value.status, Headers(tuple(value.headers)), value.body, Origin.MEMORY)
    return SharedHit(response, since + value.began / 1000, since + value.answered / 1000)

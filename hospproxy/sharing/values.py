"""Answers as they stand in Redis, and what a look gives back. Pure rules; whatever is not surely right is nothing.

Formats change by addition for one version: fields are only added, each with a default.
"""

from __future__ import annotations

from math import floor
from typing import Any

import msgspec
from attrs import frozen

from ..memory.second import Found, Ticket
from ..messages import Headers, Origin, Response

MAX_GENERATION_BYTES = 64
"""Longest generation: a letter and a number are far shorter."""
_MAX_MS = 1 << 50


class WrittenAnswer(msgspec.Struct, frozen=True):
    """An answer with what it depends on. Times are milliseconds of Redis's clock.

    :param began: when it was at the earliest made.
    :param answered: when its time began to run.
    """

    epoch: bytes
    generations: list[bytes]
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    began: int
    answered: int


class BadValue(Exception):
    """What stands in Redis was written by no version of this program, or lies about its time."""


@frozen(slots=True)
class Looked:
    """What Redis says to a look.

    :param value: sealed; None where there is none.
    """

    epoch: bytes
    redis_ms: int
    position: int
    value: bytes | None
    generations: tuple[bytes, ...]


_decoder = msgspec.msgpack.Decoder(WrittenAnswer)


def looked(reply: list[Any], tags: int) -> Looked:
    """Understand the reply of ``look.lua``.

    :param tags: how many generations there must be.
    :raise BadValue: it is nothing that the script says.
    """
    if len(reply) != 5:
        raise BadValue
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
        raise BadValue
    return Looked(epoch, now, int(position), value, tuple(generations))


def written(ticket: Ticket, found: Found) -> bytes:
    """An answer as bytes.

    Redis said its time at some moment before this process heard it: the answer is at most taken for older than it is.
    """
    return msgspec.msgpack.encode(
        WrittenAnswer(
            epoch=ticket.epoch,
            generations=list(ticket.generations),
            status=found.response.status,
            headers=list(found.response.headers),
            body=found.response.body,
            began=_redis_ms(ticket, found.began),
            answered=_redis_ms(ticket, found.answered),
        )
    )


def _redis_ms(ticket: Ticket, moment: float) -> int:
    return ticket.redis_ms + floor((moment - ticket.received) * 1000)


def read(data: bytes, said: Looked, sent: float) -> Found | None:
    """An answer from bytes.

    :param said: with what it was found.
    :param sent: monotonic seconds before Redis was asked: from here its time is counted back, so that the answer is at
        most taken for older than it is.
    :return: None where something has been written since HOSP was asked for it.
    :raise BadValue: nothing like it was ever kept.
    """
    try:
        value = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadValue from None
    if not value.began <= value.answered <= said.redis_ms or value.status != 200:
        raise BadValue
    if value.epoch != said.epoch or tuple(value.generations) != said.generations:
        return None
    # A millisecond more: Redis's time was rounded down.
    since = sent - (said.redis_ms + 1) / 1000
    response = Response(value.status, Headers(tuple(value.headers)), value.body, Origin.MEMORY)
    return Found(response, since + value.began / 1000, since + value.answered / 1000)

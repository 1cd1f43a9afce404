"""What processes tell each other, so that none goes on serving what another has made stale.

Formats change by addition for one version: fields are only ever added, each with a default. A kind that a process does
not know is taken for ``Everything``.
"""

from __future__ import annotations

import msgspec


class Struck(msgspec.Struct, frozen=True, tag="struck", omit_defaults=True):
    """A write: what it may have changed is fresh for nobody any more.

    :param tags: those that the write strikes (memory.staleness).
    :param hidden_from: tags of owners (an account's, or "public") who must not read again what was before it.
    :param lets_in: it may make HOSP accept whom it has refused.
    :param resource: that it is about.
    :param record: id of the record, where it names one.
    :param taken: id of the record that it made: no other write may take that for its own.
    """

    tags: tuple[str, ...]
    hidden_from: tuple[str, ...] = ()
    lets_in: bool = False
    resource: str | None = None
    record: str | None = None
    taken: str | None = None


class Account(msgspec.Struct, frozen=True, tag="account", omit_defaults=True):
    """A change of an account begins, ends, or is left open.

    :param reference: of the change: what it opened, it ends.
    :param staff_id: whose account; None for all.
    :param doubt_s: seconds for which the account stays unsettled unless more is said; 0: it is settled.
    """

    reference: str
    staff_id: str | None = None
    doubt_s: float = 0.0


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """HOSP has refused these credentials.

    :param credentials: their HMAC.
    """

    credentials: bytes


class Guess(msgspec.Struct, frozen=True, tag="guess", omit_defaults=True):
    """A log-in failed, or one came back who had failed.

    :param address: key of the address (guard.admission); empty: nothing is said of it.
    :param account: key of the account.
    :param credentials: HMAC of those that failed: the same ones again are no new guess.
    """

    account: bytes
    address: bytes = b""
    failed: bool = True
    credentials: bytes = b""


class Used(msgspec.Struct, frozen=True, tag="used"):
    """What clients have used of their rates, since it was said last.

    :param credentials: by key of the rate by credentials: requests.
    :param addresses: by key of the rate by address: requests.
    """

    credentials: dict[bytes, float]
    addresses: dict[bytes, float]


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """HOSP has accepted these credentials: whoever comes with them guesses nothing. HOSP is asked all the same.

    :param credentials: their HMACs.
    """

    credentials: tuple[bytes, ...]


class Everything(msgspec.Struct, frozen=True, tag="everything"):
    """What changed is not known: nothing that was kept is fresh for anybody."""


News = Struck | Account | Refused | Guess | Used | Accepted | Everything

_decoder: msgspec.msgpack.Decoder[News] = msgspec.msgpack.Decoder(News)


def packed(news: News) -> bytes:
    """As bytes."""
    return msgspec.msgpack.encode(news)


def unpacked(data: bytes) -> News:
    """From bytes; what cannot be understood may be anything, so it is everything."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Everything()

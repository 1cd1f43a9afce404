"""News: the messages that processes send each other, so that none serves what another has invalidated.

To change a format, only add fields, each with a default, so that neighbouring versions understand each other. A
process reads a kind that it does not know as ``EverythingStale``.
"""

from __future__ import annotations

import msgspec


class EntriesInvalidated(msgspec.Struct, frozen=True, tag="struck", omit_defaults=True):
    """A write: the cache entries that it may have changed are stale for every process.

    :param tags: tags that the write invalidates (memory.staleness).
    :param hidden_from: tags of owners (an account's, or "public") who must not read the earlier content again.
    :param lets_in: whether HOSP may now accept credentials that it has refused before.
    :param resource: the resource that was written.
    :param record: id of the record, where the write names one.
    :param taken: id of the record that the write created: no other write may claim it as its own.
    """

    tags: tuple[str, ...]
    hidden_from: tuple[str, ...] = ()
    lets_in: bool = False
    resource: str | None = None
    record: str | None = None
    taken: str | None = None


class AccountChange(msgspec.Struct, frozen=True, tag="account", omit_defaults=True):
    """A change of an account starts, ends, or is left open.

    :param reference: of the change; the same at its start and its end.
    :param staff_id: whose account; None for all accounts.
    :param doubt_s: seconds for which the account stays unsettled unless further news come; 0: it is settled.
    """

    reference: str
    staff_id: str | None = None
    doubt_s: float = 0.0


class CredentialsRefused(msgspec.Struct, frozen=True, tag="refused"):
    """HOSP has refused these credentials.

    :param credentials: their HMAC.
    """

    credentials: bytes


class LoginResult(msgspec.Struct, frozen=True, tag="guess", omit_defaults=True):
    """A login failed, or succeeded after failures.

    :param address: key of the client address (guard.admission); empty: the news are not about an address.
    :param account: key of the account.
    :param failed: whether the login failed.
    :param credentials: HMAC of the failed credentials: the same ones again do not count as a new guess.
    """

    account: bytes
    address: bytes = b""
    failed: bool = True
    credentials: bytes = b""


class TokensUsed(msgspec.Struct, frozen=True, tag="used"):
    """What clients have used of their rate limits since the last such news.

    :param credentials: requests, by key of the rate by credentials.
    :param addresses: requests, by key of the rate by address.
    """

    credentials: dict[bytes, float]
    addresses: dict[bytes, float]


class CredentialsAccepted(msgspec.Struct, frozen=True, tag="accepted"):
    """HOSP has accepted these credentials: a login with them is no guess. HOSP still checks each request.

    :param credentials: their HMACs.
    """

    credentials: tuple[bytes, ...]


class EverythingStale(msgspec.Struct, frozen=True, tag="everything"):
    """Anything may have changed: all cache entries are stale for every process."""


News = (
    EntriesInvalidated
    | AccountChange
    | CredentialsRefused
    | LoginResult
    | TokensUsed
    | CredentialsAccepted
    | EverythingStale
)

_decoder: msgspec.msgpack.Decoder[News] = msgspec.msgpack.Decoder(News)


def packed(news: News) -> bytes:
    """Encode news as MessagePack; the sender then seals them."""
    return msgspec.msgpack.encode(news)


def unpacked(data: bytes) -> News:
    """Decode news; what cannot be decoded may mean anything, so it becomes ``EverythingStale``."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return EverythingStale()

"""Read the caller's identity from HOSP's response. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..http.messages import Identity, Response
from .contract import IdentityRule

_LONGEST = 4096
"""Longest id or name in bytes."""


@lru_cache(maxsize=8)
def _reader(number: str, name: str) -> msgspec.json.Decoder[Any]:
    """Return a decoder for two fields; it builds nothing of the rest, which may be large."""
    rename = {"id": number} if number == name else {"id": number, "name": name}
    members = [(each, msgspec.Raw, msgspec.Raw(b"null")) for each in rename]
    shape: Any = msgspec.defstruct("Who", members, rename=rename)
    return msgspec.json.Decoder(shape)


def _short(raw: msgspec.Raw) -> Any:
    written = memoryview(raw)
    return msgspec.json.decode(written) if len(written) <= _LONGEST else None


def identity_in(rule: IdentityRule, response: Response, credentials: bytes) -> Identity | None:
    """Return the member of staff that a response to the identity request names; None if it names none.

    :param credentials: HMAC of the credentials that the request was sent with.
    """
    if response.status != 200:
        return None
    try:
        record = _reader(rule.id, rule.name).decode(response.body)
        number = _short(record.id)
        name = number if rule.id == rule.name else _short(record.name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(number, bool) or not isinstance(number, (int, str)) or not isinstance(name, str):
        return None
    return Identity(number, name, credentials)

"""Who somebody is, read from HOSP's own answer. Pure."""

from __future__ import annotations

import msgspec

from ..contract import IdentityRule
from ..messages import Identity, Response


def identity_in(rule: IdentityRule, response: Response, credentials: bytes) -> Identity | None:
    """The member of staff whom an answer to the contract's question names; None if it names nobody.

    :param credentials: HMAC of those that the question was asked with.
    """
    if response.status != 200:
        return None
    try:
        record = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(record, dict):
        return None
    number, name = record.get(rule.id), record.get(rule.name)
    if isinstance(number, bool) or not isinstance(number, (int, str)) or not isinstance(name, str):
        return None
    return Identity(number, name, credentials)

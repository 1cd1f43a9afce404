"""What makes an answer stale: the tags that answers carry, and those that a write strikes.

Tags are strings with a fixed beginning. Where names could run together only more becomes stale.
"""

from __future__ import annotations

from ..contract import Contract
from ..messages import Call, Identity

ACCOUNTS = "accounts"
"""Carried by every answer that was given to anybody's credentials."""

PUBLIC = "public"
"""Carried by every answer that anybody may have."""


WHO = "who"
"""Carried by every answer to the question whose some credentials are, until it is known: struck by each change of any
account."""

EVERYTHING = "everything"
"""Carried by every answer that several processes have in common."""


def account_tag(staff_id: str) -> str:
    """Carried by every answer that was given to one account."""
    return f"account:{staff_id}"


def credentials_tag(credentials_hmac: bytes) -> str:
    """Carried by every answer that was given to one set of credentials."""
    return f"credentials:{credentials_hmac.hex()}"


def tags_of_answer(call: Call, identity: Identity | None) -> tuple[str, ...]:
    """The tags of a read's answer.

    :param call: the read. One that names no single record (lists, and reads of "me") is stale with every write to
        its resource.
    :param identity: to whom it is answered; None for what is public.
    """
    tags = [PUBLIC]
    if identity is not None:
        tags = [ACCOUNTS, account_tag(str(identity.id)), credentials_tag(identity.credentials)]
    resource = call.operation.resource
    if resource is not None:
        tags.append(f"all:{resource}")
        if call.record_id is None or call.operation.action == "search":
            tags.append(f"list:{resource}")
        else:
            tags.append(f"record:{resource}/{call.record_id}")
    return tuple(tags)


def tags_of_write(call: Call) -> tuple[str, ...]:
    """What a write makes stale, for everybody: its record, the lists of its resource, what the contract names."""
    operation = call.operation
    tags = [f"all:{resource}" for resource in operation.makes_stale]
    if operation.resource is not None:
        tags.append(f"list:{operation.resource}")
        if call.record_id is not None:
            tags.append(f"record:{operation.resource}/{call.record_id}")
    return tuple(tags)


def may_let_in(contract: Contract, call: Call) -> bool:
    """Whether a write may make HOSP accept credentials that it has refused: a new account is enough for that."""
    rule, operation = contract.identity, call.operation
    if rule is None or not operation.is_write:
        return False
    return operation.resource == rule.resource or rule.resource in operation.makes_stale


def account_of_write(contract: Contract, call: Call) -> tuple[str | None, ...]:
    """The accounts that a write may delete, rename, or give another password.

    :return: nothing, one account's id, or (None,) for all of them.
    """
    rule = contract.identity
    operation = call.operation
    if rule is None:
        return ()
    if rule.resource in operation.makes_stale:
        return (None,)
    if operation.resource != rule.resource:
        return ()
    if call.record_id is not None:
        return (call.record_id,)
    # A POST to the list makes a new account. Anything else without an id ("my own record") may be anybody's.
    return () if operation.method == "POST" else (None,)

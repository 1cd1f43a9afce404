"""What invalidates a cache entry: the tags that entries carry, and the tags that a write invalidates.

``hospproxy/sharing/tags.py`` has their names.
"""

from __future__ import annotations

from ..contract.contract import Contract
from ..exchange.exchange import Call
from ..http.messages import Identity
from ..sharing.tags import ACCOUNTS, PUBLIC, account_tag, credentials_tag


def tags_of_answer(call: Call, identity: Identity | None) -> tuple[str, ...]:
    """The tags of a response to a read.

    :param call: the read. If it names no single record (lists, and reads of "me"), every write to its resource
        invalidates the response.
    :param identity: the principal; None for a public read.
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
    """The tags that a write invalidates, for everybody: its record, its resource's lists, and the contract's."""
    operation = call.operation
    tags = [f"all:{resource}" for resource in operation.makes_stale]
    if operation.resource is not None:
        tags.append(f"list:{operation.resource}")
        if call.record_id is not None:
            tags.append(f"record:{operation.resource}/{call.record_id}")
    return tuple(tags)


def may_let_in(contract: Contract, call: Call) -> bool:
    """Whether a write may make HOSP accept credentials that it has refused, for example by a new account."""
    rule, operation = contract.identity, call.operation
    if rule is None or not operation.is_write:
        return False
    return operation.resource == rule.resource or rule.resource in operation.makes_stale


def account_of_write(contract: Contract, call: Call) -> tuple[str | None, ...]:
    """The accounts that a write may delete or rename, or whose password it may change.

    :return: empty, one account's id, or (None,) for all accounts.
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
    # A POST to the list makes a new account. Any other write without an id ("my own record") may concern any account.
    return () if operation.method == "POST" else (None,)

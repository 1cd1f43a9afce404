"""Looks for changes of staff accounts, which a look at the record cannot judge.

A password cannot be read back, and after a change to one's own account the old credentials fail. ``/staffs/me`` tells
instead: HOSP accepts the new credentials, or still the old ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ...contract.contract import Contract, IdentityRule
from ...exchange.exchange import Call
from ...guard.credentials import basic, parse_basic
from ...http.messages import Response
from .entry import WriteEntry
from .verdict import Found, LostPatch, NotKnowable, NotThere, Verdict, has_changed

Look = Callable[[Call], Awaitable[Response | None]]
"""Sends one read to HOSP; None if there was no response."""


def rule_for(contract: Contract, entry: WriteEntry) -> IdentityRule | None:
    """The rule by which ``look`` judges a change; None if a look at the record itself tells what became of it."""
    rule, operation, who = contract.identity, entry.call.operation, entry.exchange.identity
    if rule is None or who is None or operation.resource != rule.resource or not entry.call.path:
        return None
    own = str(who.id) == entry.call.record_id
    if operation.action == "delete":
        return rule if own else None
    changes = own or bool(operation.write_only & _given(entry).keys())
    return rule if operation.action == "update" and changes else None


async def look(
    contract: Contract, rule: IdentityRule, entry: WriteEntry, change: LostPatch, ask: Look
) -> Verdict | None:
    """Judge a change to an account.

    :param rule: from ``rule_for``.
    :param change: the change without the fields that cannot be read back.
    :param ask: sends a read to HOSP.
    :return: None if the look failed.
    """
    me = contract.operation(rule.operation)
    if entry.call.operation.action == "delete":
        return _deleted(await ask(Call(me, accept="json", authorization=entry.call.authorization)))
    if not _can_be_tried(entry):
        return NotKnowable("the new password cannot be tried")
    credentials = await _new_credentials(contract, rule, entry, ask)
    if credentials is None:
        return None
    new, old = credentials
    accepted = await ask(Call(me, accept="json", authorization=new))
    if accepted is None:
        return None
    if accepted.status == 200:
        return _carried_out(rule, entry, change, accepted)
    if accepted.status != 401:
        return None
    if old is None:
        return NotThere()
    before = await ask(Call(me, accept="json", authorization=old))
    if before is None or before.status not in (200, 401):
        return None
    return NotThere() if before.status == 200 else NotKnowable("the account was changed by somebody else")


def _can_be_tried(entry: WriteEntry) -> bool:
    """Whether it is certain which credentials HOSP accepts after the change.

    In Rails an empty password changes nothing.
    """
    given = _given(entry)
    return all(
        isinstance(given[name], str) and given[name]
        for name in entry.call.operation.write_only & given.keys()
    )


def _deleted(me: Response | None) -> Verdict | None:
    if me is None or me.status not in (200, 401):
        return None
    return Found({}) if me.status == 401 else NotThere()


def _carried_out(
    rule: IdentityRule, entry: WriteEntry, change: LostPatch, accepted: Response
) -> Verdict | None:
    row = _object(accepted)
    if row is None:
        return None
    if str(row.get(rule.id)) != entry.call.record_id:
        return NotKnowable("the new credentials belong to another account")
    # HOSP accepts the new password. The other fields must be the new ones too.
    return has_changed(
        LostPatch(change.resource, change.expected, unreadable=False, not_before=change.not_before), row
    )


async def _new_credentials(
    contract: Contract, rule: IdentityRule, entry: WriteEntry, ask: Look
) -> tuple[bytes, bytes | None] | None:
    """The credentials that HOSP accepts if it carried out the change, and the ones from before if they are known."""
    call, given = entry.call, _given(entry)
    own = entry.exchange.identity is not None and str(entry.exchange.identity.id) == call.record_id
    mine = parse_basic(call.authorization) if own else None
    password = next((given[name] for name in call.operation.write_only if name in given), None)
    if mine is not None:
        name, password = given.get(rule.name, mine.name), mine.password if password is None else password
        return basic(str(name), str(password)), mine.canonical
    name = given.get(rule.name)
    if name is None and call.operation.record is not None:
        reading = Call(
            contract.operation(call.operation.record),
            call.path,
            accept="json",
            authorization=call.authorization,
        )
        seen = await ask(reading)
        row = None if seen is None or seen.status != 200 else _object(seen)
        name = None if row is None else row.get(rule.name)
    return None if name is None else (basic(str(name), str(password)), None)


def _given(entry: WriteEntry) -> Mapping[str, Any]:
    return entry.call.document if isinstance(entry.call.document, Mapping) else {}


def _object(response: Response) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return row if isinstance(row, dict) else None

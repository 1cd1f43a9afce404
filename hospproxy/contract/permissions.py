"""Read the permission rules of the contract: x-hospproxy.permissions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import field as attribute
from attrs import frozen

ALLOW = ("nobody", "self", "author", "unchanged", "same")
"""Whom a rule allows; docs/contract.md says what each compares."""
MODES = ("off", "report", "enforce")


@frozen(slots=True, kw_only=True)
class Permission:
    """One permission rule: whom it allows to do which operations.

    :param operations: the operations that it applies to.
    :param allow: one of ``ALLOW``.
    :param field: the field that is compared: the author, the value that must not change, or the value that caller and
        record must share.
    :param record: with "same", the operation that reads the record with this field.
    :param when: the rule applies only if the document has this field.
    :param default: its mode, unless the options set another.
    :param break_glass: a request that gives a reason may pass.
    :param detail: the text for a refused client.
    """

    name: str
    operations: tuple[str, ...] = attribute(converter=tuple)
    allow: str
    field: str = ""
    record: str | None = None
    when: str | None = None
    default: str = "report"
    break_glass: bool = False
    detail: str = "This is not allowed."


def mistakes(rule: Permission, operations: Collection[str], identity: bool) -> Iterator[str]:
    """Yield what is wrong with a rule, without its key path.

    :param operations: ids of all operations.
    :param identity: whether the document says how to find out who is calling.
    """
    if rule.allow not in ALLOW:
        yield f"allow: must be one of {', '.join(ALLOW)}"
    if rule.default not in MODES:
        yield f'default: must be one of {", ".join(MODES)} (quote "off": YAML reads it as false)'
    if rule.allow in ("author", "unchanged", "same") and not rule.field:
        yield f"field: is needed with allow: {rule.allow}"
    if rule.allow == "same" and rule.record is None:
        yield "record: is needed with allow: same"
    if not identity:
        yield "needs x-hospproxy.identity"
    for name in (*rule.operations, *filter(None, (rule.record,))):
        if name not in operations:
            yield f"there is no operation {name!r}"


def permissions(
    said: Any, operations: Collection[str], *, identity: bool
) -> tuple[tuple[Permission, ...], list[str]]:
    """Return the rules of a document, and everything that is wrong with them."""
    where = "x-hospproxy.permissions"
    rules: list[Permission] = []
    wrong: list[str] = []
    if not isinstance(said, Mapping):
        return (), [f"{where}: must be a table of rules by name"]
    for name, each in said.items():
        try:
            rule = Permission(name=str(name), **each)
        except TypeError as error:
            wrong.append(f"{where}.{name}: {str(error).replace('Permission.__init__() ', '')}")
            continue
        wrong += [f"{where}.{name}: {words}" for words in mistakes(rule, operations, identity)]
        rules.append(rule)
    return tuple(rules), wrong

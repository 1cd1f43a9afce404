"""The kind of AuditEvent that a record becomes, and its outcome. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from ..search.match import is_login_failure, text
from . import codes
from .codes import Coding
from .texts import visible

Record = Mapping[str, Any]

_ADMIN_OUTCOMES = {"success": "0", "intended": "0", "refused": "4", "failed": "8"}
_CARRIED_OUT = frozenset({"success", "found"})


@frozen(slots=True, kw_only=True)
class FhirEvent:
    """The parts of an AuditEvent that follow from the record's kind and action.

    :param action: C, R, U, D or E.
    :param roles: of client and server.
    :param outcome: 0 success, 4 refused, 8 failed.
    :param words: the outcome as the record states it.
    :param purpose: why the proxy made the request, if it is its own.
    :param data: something was read or changed.
    :param query: it is a search.
    """

    type: Coding
    subtype: Coding | None = None
    action: str | None = None
    roles: tuple[Coding, Coding] = (codes.SOURCE, codes.DESTINATION)
    outcome: str = "0"
    words: str = ""
    purpose: str = ""
    data: bool = False
    query: bool = False

    @staticmethod
    def base64(text: str) -> str:
        """Text as a FHIR base64Binary."""
        return b64encode(text.encode("utf-8", "replace")).decode()


def event_of(record: Record) -> FhirEvent | None:
    """The event for a record; None if it has none.

    An intent has none, since its outcome follows, and neither have records about the trail itself.
    """
    kind = record.get("kind")
    if kind == "gap":
        words = f"{record.get('lost')} audit records were lost: {record.get('reason')}"
        return FhirEvent(
            type=codes.SECURITY_ALERT,
            subtype=codes.RECORDING_STOPPED,
            action="E",
            outcome="8",
            words=_words(words),
        )
    if kind == "alert":
        words = f"{record.get('rule')}: {record.get('text')}"
        return FhirEvent(type=codes.SECURITY_ALERT, action="E", outcome="4", words=_words(words))
    if kind == "admin":
        return _administration(record)
    if kind not in ("request", "own", "finding", "look"):
        return None
    return evolve(_asked(record), outcome=outcome_of(record), words=_words(_became(record)))


def _administration(record: Record) -> FhirEvent:
    kind, subtype = codes.ADMINISTRATION.get(str(record.get("action")), (codes.ACTIVITY, None))
    return FhirEvent(
        type=kind,
        subtype=subtype,
        action="E",
        roles=(codes.LAUNCHER, codes.APPLICATION),
        outcome=_ADMIN_OUTCOMES.get(str(record.get("outcome")), "8"),
        words=_words(f"{record.get('outcome')}: {record.get('text')}"),
    )


def _asked(record: Record) -> FhirEvent:
    if is_login_failure(record):
        return FhirEvent(type=codes.AUTHENTICATION, subtype=codes.LOGIN, action="E")
    return FhirEvent(type=codes.LOG_USED, action="R") if record.get("kind") == "look" else _rest(record)


def _rest(record: Record) -> FhirEvent:
    action = record.get("action")
    code, interaction = codes.INTERACTIONS.get(str(action), (None, None))
    if action == "update" and record.get("method") == "PATCH":
        interaction = codes.PATCH
    roles = (codes.SOURCE, codes.DESTINATION)
    if action == "read":
        roles = (codes.DESTINATION, codes.SOURCE)
    elif action == "delete":
        roles = (codes.APPLICATION, codes.CUSTODIAN)
    own = record.get("own")
    return FhirEvent(
        type=codes.REST,
        subtype=interaction,
        action=code,
        roles=roles,
        purpose=_words(f"the proxy's own request: {own}") if isinstance(own, str) else "",
        data=True,
        query=action == "search",
    )


def outcome_of(record: Record) -> str:
    """0 if the client got what it asked for, 4 if it was refused, 8 if something failed."""
    outcome, status = text(record.get("outcome")), record.get("status")
    if record.get("kind") == "finding":
        return "0" if outcome in _CARRIED_OUT else "4" if outcome == "refused" else "8"
    if outcome == "client gone":
        return "4"
    if not isinstance(status, int) or isinstance(status, bool):
        return "0" if outcome in _CARRIED_OUT else "8"
    return "0" if status < 400 else "4" if status < 500 else "8"


def _became(record: Record) -> str:
    words = str(record.get("outcome") or "")
    if record.get("kind") == "finding":
        words = f"known later: {words}"
    hits = record.get("rule_hits")
    if isinstance(hits, list) and hits:
        words += f" (rules: {'; '.join(map(str, hits))})"
    return words


def _words(text: str) -> str:
    return visible(text).strip()


def identifier(system: str | None, value: object) -> dict[str, Any] | None:
    """A FHIR Identifier; None if there is no value.

    :param system: a URI for the kind of value.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    shown = visible(str(value)).strip()
    if not shown:
        return None
    return {"value": shown} if system is None else {"system": system, "value": shown}


def put(mapping: dict[str, Any], name: str, value: object) -> None:
    """Set a member unless it is empty: FHIR has no empty values."""
    if value:
        mapping[name] = value

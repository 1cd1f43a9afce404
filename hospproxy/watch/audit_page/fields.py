"""The meaning of each field of a record, in one sentence for auditors (docs/audit.md has the details). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

EXPLAINED = {
    "v": "Version of the record’s format.",
    "kind": "What this record is about: a client’s request, one of the proxy’s own, something found out later, …",
    "time": "When the request arrived (UTC).",
    "duration_ms": "Milliseconds from the arrival of the request to this record.",
    "request_id": "Identifies the request in the proxy, at HOSP and in the client’s response (X-Request-Id).",
    "who.id": "The id of the staff record, as HOSP reported it.",
    "who.name": "The name as HOSP reported it; for a look at the trail, the name of the auditor.",
    "who.certainty": "How certain the identity is. verified: HOSP accepted the credentials. claimed: it did not, or not"
    " yet. none: no credentials were sent. proxy: the proxy’s own request. auditor: an auditor looked at the trail.",
    "who.name_hmac": "Stands for a name that was only claimed. Equal names have equal values.",
    "own": "Why the proxy made this request of its own.",
    "on_behalf_of": "The client’s request, and the person, for whom the proxy made this request.",
    "on_behalf_of.request_id": "The client’s request for which the proxy made this one.",
    "on_behalf_of.id": "The person for whom the proxy made this request: the id of the staff record.",
    "on_behalf_of.name": "The person for whom the proxy made this request.",
    "on_behalf_of.certainty": "How certain that identity is.",
    "client.address": "The client’s address.",
    "client.peer": "The address at the other end of the connection: the client’s, or a trusted proxy’s.",
    "client.chain": "The trusted proxies in between, nearest the client first.",
    "client.certificate": "The verified certificate of the other end of the connection.",
    "client.scheme": "How the client connected: https or http.",
    "method": "The HTTP method.",
    "route": "The path template. Other parts of the path are not recorded.",
    "action": "What was done to the resource.",
    "resource": "The kind of record.",
    "record_id": "The id of the record.",
    "patient_id": "The patient concerned.",
    "outcome": "The outcome of the request.",
    "status": "HTTP status of the response.",
    "answered_by": "Where the response came from: HOSP (upstream), the cache (memory) or the proxy itself.",
    "cache": "What the cache did.",
    "attempts": "How many times the request was sent to HOSP.",
    "looks": "How many times an uncertain write was looked up.",
    "rule_hits": "Rules that were broken.",
    "reference": "Identifies a write whose outcome was not known when its client got a response.",
    "client_gone": "Whether the client left before its response.",
    "disclosed": "For a list: how many patients it disclosed, and the hash of the set of patients in the trail.",
    "disclosed.count": "How many patients this list disclosed.",
    "disclosed.set": "Identifies the set of these patients in the trail.",
    "filters": "The filters of this search in the trail.",
    "rule": "The rule that raised the alert.",
    "text": "What the rule noticed.",
    "count": "How many times.",
    "window_s": "Within how many seconds.",
    "operator.way": "How an operator reached the proxy: a signal, the control socket, the admin listener.",
    "operator.user": "The account of the operator; on the admin listener, who had logged in.",
    "operator.uid": "The user id of that account.",
    "keys": "The options that it concerned.",
    "version": "The version of the proxy that wrote this record.",
    "pid": "The process that wrote this record.",
    "lost": "How many records could not be stored.",
    "reason": "Why this happened.",
    "seq": "The number of this record in the journal. No number is skipped.",
    "prev": "Hash of the previous line, so that no line can be changed or removed without a trace.",
    "signature": "Signature over this line.",
}

OUTCOMES = {
    "success": "good",
    "intended": "plain",
    "refused": "warn",
    "client error": "warn",
    "client gone": "warn",
    "not recorded": "bad",
    "failed": "bad",
    "hosp is away": "bad",
    "over capacity": "bad",
    "not sent": "bad",
    "failed after sending": "bad",
    "bad answer": "bad",
    "unknown": "bad",
    "error": "bad",
}
"""Outcome → the tone in which the page shows it."""

_ADMIN_ACTIONS = ("start", "stop", "reload", "undo", "upgrade", "rollback", "log level")
ACTIONS = (
    "create",
    "read",
    "update",
    "delete",
    "search",
    "execute",
    "export",
    "log-in failure",
    *_ADMIN_ACTIONS,
)
RESOURCES = ("hospitals", "staffs", "patients", "notes")


@frozen(slots=True)
class RecordField:
    """One field of a record, as the page shows it.

    :param name: its path ("who.name").
    :param value: as text; None if it is empty.
    :param meaning: one sentence; "" if the field is unknown.
    """

    name: str
    value: str | None
    meaning: str


def flat(record: Mapping[str, Any], prefix: str = "") -> list[RecordField]:
    """Return every field of a record, in order; nested objects are flattened."""
    found = []
    for name, value in record.items():
        path = prefix + str(name)
        if isinstance(value, Mapping) and value:
            found += flat(value, path + ".")
        else:
            found.append(RecordField(path, _words(value), _meaning(path)))
    return found


def _meaning(path: str) -> str:
    return EXPLAINED.get(path) or (
        "A filter of this search in the trail." if path.startswith("filters.") else ""
    )


def _words(value: Any) -> str | None:
    if value is None or value in ([], {}, ""):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return str(value)

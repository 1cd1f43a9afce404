"""The meaning of each field of a record, in one sentence for auditors (docs/audit.md has the details). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

EXPLAINED = {
    "v": "Version of the record’s format.",
    "kind": "What this record is about: a client’s request, one of the proxy’s own, something found out later, …",
    "time": "When the request arrived (UTC).",
    "duration_ms": "Milliseconds from then to the making of this record.",
    "request_id": "Names the request here, at HOSP and in the client’s answer (X-Request-Id).",
    "who.id": "The id of the staff record, as HOSP itself said it.",
    "who.name": "The name as HOSP gives it; of a look at the trail, the name of the auditor.",
    "who.certainty": "How sure this is. verified: HOSP accepted the credentials. claimed: it did not, or not yet. none:"
    " no credentials came. proxy: the proxy asked by itself. auditor: somebody who looked at the trail.",
    "who.name_hmac": "Stands for a name that was only claimed. Equal names have equal values.",
    "own": "Why the proxy asked by itself.",
    "on_behalf_of": "The client’s request, and the person, for whom the proxy asked.",
    "on_behalf_of.request_id": "The client’s request for which the proxy asked.",
    "on_behalf_of.id": "The person for whom the proxy asked: the id of the staff record.",
    "on_behalf_of.name": "The person for whom the proxy asked.",
    "on_behalf_of.certainty": "How sure that is.",
    "client.address": "The client’s address.",
    "client.peer": "The address at the other end of the connection: the client’s, or a trusted proxy’s.",
    "client.chain": "The trusted proxies in between, nearest the client first.",
    "client.certificate": "The certificate that the other end of the connection showed and that was verified.",
    "client.scheme": "How the client came: https or http.",
    "method": "The HTTP method.",
    "route": "The path template. What stood in the path otherwise is not kept.",
    "action": "What was done to the resource.",
    "resource": "The kind of record.",
    "record_id": "The id of the record.",
    "patient_id": "The patient concerned.",
    "outcome": "What became of it.",
    "status": "Status of the answer.",
    "answered_by": "HOSP (upstream), the cache (memory) or the proxy itself.",
    "cache": "What the cache did.",
    "attempts": "How many times it was sent to HOSP.",
    "looks": "How many times an uncertain write was looked up.",
    "rule_hits": "Rules that were broken.",
    "reference": "Names a write whose outcome was not known when it was answered.",
    "client_gone": "Whether the client left before its answer.",
    "disclosed": "A list: how many patients it disclosed, and the hash that names them in the trail.",
    "disclosed.count": "How many patients this list disclosed.",
    "disclosed.set": "Names the set of these patients in the trail.",
    "filters": "What was asked of the trail.",
    "rule": "Which rule noticed something.",
    "text": "What was noticed.",
    "count": "How many times.",
    "window_s": "Within how many seconds.",
    "lost": "How many records could not be kept.",
    "reason": "Why.",
    "seq": "Its number in the journal. None is ever left out.",
    "prev": "Hash of the line before: no line can be changed or removed without a trace.",
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

ACTIONS = ("create", "read", "update", "delete", "search", "execute", "export", "log-in failure")
RESOURCES = ("hospitals", "staffs", "patients", "notes")


@frozen(slots=True)
class Field:
    """One field of a record, as the page shows it.

    :param name: its path ("who.name").
    :param value: as text; None if it is empty.
    :param meaning: one sentence; "" if the field is unknown.
    """

    name: str
    value: str | None
    meaning: str


def flat(record: Mapping[str, Any], prefix: str = "") -> list[Field]:
    """Return every field of a record, in order; nested objects are flattened."""
    found = []
    for name, value in record.items():
        path = prefix + str(name)
        if isinstance(value, Mapping) and value:
            found += flat(value, path + ".")
        else:
            found.append(Field(path, _words(value), _meaning(path)))
    return found


def _meaning(path: str) -> str:
    return EXPLAINED.get(path) or ("What was asked of the trail." if path.startswith("filters.") else "")


def _words(value: Any) -> str | None:
    if value is None or value in ([], {}, ""):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return str(value)

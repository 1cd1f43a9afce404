"""Turns a record into a FHIR R4 AuditEvent that follows IHE's Basic Audit Log Patterns (BALP 1.1). Pure.

docs/fhir.md has the mapping. HOSP has no FHIR interface, so patients and staff are named by identifier, not by
a reference that a reader could follow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from attrs import frozen

from ..search.match import is_login_failure, set_of
from ..search.rows import IndexRow
from . import codes
from .events import FhirEvent, event_of, identifier, put
from .table import inner, person
from .texts import visible

MOST_PATIENTS: Final = 100
"""Patients of a set that are named one by one; a larger set is named as a set."""

Members = Callable[[str], Sequence[str] | None]
"""From the hash of a disclosure set to its patients; None if they are not known."""

_WORD = re.compile(r"[\w.-]+\Z", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)


@frozen(slots=True)
class FhirNaming:
    """Names of systems and parties in the events.

    :param system: URI prefix of identifier kinds (``:patients``, ``:staffs``, …). Set one of your own.
    :param server: name of this proxy as the server.
    """

    system: str = "urn:hosp"
    server: str = "hospproxy"


NAMING: Final = FhirNaming()


def line_of(row: IndexRow, members: Members | None = None, naming: FhirNaming = NAMING) -> bytes:
    """A row's AuditEvent as one line; empty if the row has none."""
    disclosed = set_of(row.record)
    patients = members(disclosed) if members is not None and disclosed is not None else None
    event = audit_event(
        row.record, sha256(row.line).hexdigest(), naming, trail=row.key.name.trail, patients=patients
    )
    return (
        b""
        if event is None
        else json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    )


def audit_event(
    record: Mapping[str, Any],
    digest: str,
    naming: FhirNaming = NAMING,
    *,
    trail: str = "",
    patients: Sequence[str] | None = None,
) -> dict[str, Any] | None:
    """The AuditEvent of a record; None for intents and for records about the trail itself.

    :param digest: SHA-256 of the line, in hex. It becomes the event's id, so a second export creates no second
        event.
    :param trail: id of the trail; becomes the event's site.
    :param patients: members of the record's disclosure set, if they are known.
    """
    event = event_of(record)
    time = record.get("time")
    if event is None or not isinstance(time, str) or not _INSTANT.match(time):
        return None
    user = _user(record, event, naming)
    client, server = _parties(record, event, naming, trail, initiator=user is None)
    entities, subjects = _entities(record, event, naming, patients)
    profile = _profile(record, event, client, subjects)
    made: dict[str, Any] = {"resourceType": "AuditEvent", "id": digest}
    if profile is not None:
        made["meta"] = {"profile": [profile]}
    made["type"] = event.type
    put(made, "subtype", [event.subtype] if event.subtype is not None else None)
    put(made, "action", event.action)
    made.update(recorded=time, outcome=event.outcome)
    put(made, "outcomeDesc", event.words)
    put(made, "purposeOfEvent", [{"text": event.purpose}] if event.purpose else None)
    made["agent"] = [agent for agent in (client, server, user) if agent is not None]
    made["source"] = _source(naming, trail)
    put(made, "entity", entities)
    return made


def _source(naming: FhirNaming, trail: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    put(made, "site", visible(trail).strip())
    return {**made, "observer": {"display": naming.server}, "type": [codes.APPLICATION_SERVER]}


def _parties(
    record: Mapping[str, Any], event: FhirEvent, naming: FhirNaming, trail: str, *, initiator: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Client and server. BALP defines for each kind of event which is source and which is destination."""
    client_role, server_role = event.roles
    address = inner(record, "client").get("address")
    shown = visible(address).strip() if isinstance(address, str) else ""
    client: dict[str, Any] = {
        "type": {"coding": [client_role]},
        "who": {"display": shown or "unknown"},
        "requestor": initiator,
    }
    put(client, "network", {"address": shown, "type": codes.ADDRESS} if shown else None)
    server = {
        "type": {"coding": [server_role]},
        "who": {"display": naming.server},
        "requestor": False,
        "network": {"address": visible(trail).strip() or naming.server, "type": codes.MACHINE},
    }
    return client, server


def _user(record: Mapping[str, Any], event: FhirEvent, naming: FhirNaming) -> dict[str, Any] | None:
    """The person who made the request. A claimed name that HOSP has never accepted is given as its HMAC only."""
    operator = inner(record, "operator")
    if operator:
        return _operator(operator, naming)
    who = person(record)
    kind = "auditors" if who.get("certainty") == "auditor" else "staffs"
    known = identifier(f"{naming.system}:{kind}", who.get("id") if who.get("id") is not None else None)
    if known is None and kind == "auditors":
        known = identifier(f"{naming.system}:{kind}", who.get("name"))
    if known is None:
        known = identifier(f"{naming.system}:claimed-name-hmac", who.get("name_hmac"))
    name, claimed = who.get("name"), who.get("certainty") == "claimed"
    display = visible(name).strip() if isinstance(name, str) else ""
    if claimed and display:
        display = f"{display} (claimed, not proved)"
    reference: dict[str, Any] = {}
    put(reference, "identifier", known)
    put(reference, "display", display)
    if not reference:
        return None
    role = codes.AUTHOR if event.action in ("C", "U", "D") else codes.RECIPIENT
    user: dict[str, Any] = {"type": {"coding": [role]}, "who": reference}
    put(user, "name", "" if claimed else display)
    return {**user, "requestor": True}


def _operator(operator: Mapping[str, Any], naming: FhirNaming) -> dict[str, Any] | None:
    """The account that did something to the proxy itself."""
    known = identifier(f"{naming.system}:operators", operator.get("user"))
    if known is None:
        return None
    display = visible(f"{operator['user']} ({operator.get('way')})").strip()
    who = {"identifier": known, "display": display}
    return {"type": {"coding": [codes.LAUNCHER]}, "who": who, "requestor": True}


def _entities(
    record: Mapping[str, Any], event: FhirEvent, naming: FhirNaming, patients: Sequence[str] | None
) -> tuple[list[dict[str, Any]], int]:
    """The entities of the event, and how many patients are named one by one."""
    made = []
    request = identifier(None, record.get("request_id"))
    if request is not None:
        made.append({"what": {"identifier": request}, "type": codes.REQUEST_ID})
    if event.data:
        made.append(_data(record, event, naming))
    named = _patients(record, patients)
    system = f"{naming.system}:patients"
    for patient in named:
        what = {"type": "Patient", "identifier": identifier(system, patient)}
        made.append({"what": what, "type": codes.PERSON, "role": codes.PATIENT})
    disclosed = identifier(f"{naming.system}:disclosure-sets", set_of(record))
    if disclosed is not None:
        count = inner(record, "disclosed").get("count")
        made.append(
            {"what": {"identifier": disclosed}, "type": codes.OTHER, "name": f"set of {count} patients"}
        )
    unknown = identifier(f"{naming.system}:references", record.get("reference"))
    if unknown is not None:
        made.append({"what": {"identifier": unknown}, "type": codes.OTHER, "name": "outcome of a write"})
    return made, len(named)


def _data(record: Mapping[str, Any], event: FhirEvent, naming: FhirNaming) -> dict[str, Any]:
    """What was read or changed; for a query, as much of the query as the record holds."""
    route = visible(str(record.get("route") or "unknown")).strip()
    if event.query:
        asked = f"{record.get('method') or ''} {route}".strip()
        encoded = event.base64(asked)
        return {"type": codes.SYSTEM_OBJECT, "role": codes.QUERY, "description": asked, "query": encoded}
    resource = record.get("resource")
    what: dict[str, Any] = {}
    if isinstance(resource, str) and _WORD.match(resource):
        put(what, "identifier", identifier(f"{naming.system}:{resource}", record.get("record_id")))
    return {"what": {**what, "display": route}, "type": codes.SYSTEM_OBJECT, "role": codes.DOMAIN_RESOURCE}


def _patients(record: Mapping[str, Any], members: Sequence[str] | None) -> list[str]:
    own = identifier(None, record.get("patient_id"))
    named = [own["value"]] if own is not None else []
    if members is not None and len(members) <= MOST_PATIENTS:
        more = (found["value"] for member in members if (found := identifier(None, member)) is not None)
        named += more
    return list(dict.fromkeys(named))


def _profile(
    record: Mapping[str, Any], event: FhirEvent, client: Mapping[str, Any], subjects: int
) -> str | None:
    """The event's BALP profile; None if it has none.

    Only successful events have one, and a patient profile needs exactly one patient.
    """
    action = record.get("action")
    if not event.data or event.outcome != "0" or "network" not in client or is_login_failure(record):
        return None
    if record.get("kind") not in ("request", "own") or not isinstance(action, str):
        return None
    return codes.profile(action, patient=subjects == 1)

"""What IHE's Basic Audit Log Patterns 1.1 require of an AuditEvent, as a table: from a profile to its rules.

Written from the profiles' definitions (https://profiles.ihe.net/ITI/BALP), independently of the code under test.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

BASE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
HL7 = "http://terminology.hl7.org/CodeSystem"
CUSTODIAN = (f"{HL7}/provenance-participant-type", "custodian")
PARTICIPATION = f"{HL7}/v3-ParticipationType"
SOURCES = {(PARTICIPATION, code) for code in ("AUT", "INF", "CST")}
RECIPIENT = {(PARTICIPATION, "IRCP")}
ENTITY = f"{HL7}/audit-entity-type"
ROLE = f"{HL7}/object-role"
DATA_ROLES = {(ROLE, code) for code in ("3", "4", "20")}


@frozen
class Rules:
    """Rules of one profile.

    :param subtypes: one of them, of http://hl7.org/fhir/restful-interaction.
    :param client: type of the one agent that is the client; ``server`` of the server.
    :param user: types that a user may have.
    :param query: the one entity of type 2 is a query, not data.
    """

    action: str
    subtypes: tuple[str, ...]
    client: tuple[str, str]
    server: tuple[str, str]
    user: set[tuple[str, str]]
    query: bool = False


RULES = {
    "Create": Rules("C", ("create",), (DICOM, "110153"), (DICOM, "110152"), SOURCES),
    "Read": Rules("R", ("read", "vread"), (DICOM, "110152"), (DICOM, "110153"), RECIPIENT),
    "Update": Rules("U", ("update", "patch"), (DICOM, "110153"), (DICOM, "110152"), SOURCES),
    "Delete": Rules("D", ("delete",), (DICOM, "110150"), CUSTODIAN, SOURCES),
    "Query": Rules(
        "E",
        ("search", "search-type", "search-system"),
        (DICOM, "110153"),
        (DICOM, "110152"),
        RECIPIENT,
        query=True,
    ),
}


def problems(event: dict[str, Any]) -> list[str]:
    """The rules of its claimed profile that an event breaks; none if it claims no profile."""
    found = []
    for profile in event.get("meta", {}).get("profile", []):
        name = profile.removeprefix(BASE)
        patient, name = name.startswith("Patient"), name.removeprefix("Patient")
        found += [f"{profile}: {words}" for words in _against(event, RULES[name])]
        people = [each for each in event.get("entity", []) if _code(each["type"]) == (ENTITY, "1")]
        if patient and not (len(people) == 1 and _is_patient(people[0])):
            found.append(f"{profile}: there is not one patient")
    return found


def _against(event: dict[str, Any], rules: Rules) -> list[str]:
    checks = {
        "type": _code(event["type"]) == (f"{HL7}/audit-event-type", "rest"),
        "subtype": [_code(each) for each in event.get("subtype", [])]
        in [[("http://hl7.org/fhir/restful-interaction", code)] for code in rules.subtypes],
        "action": event.get("action") == rules.action,
        "recorded": bool(event.get("recorded")),
        "outcome": event.get("outcome") == "0",
        "client": _one_machine(event, rules.client),
        "server": _one_machine(event, rules.server),
        "users": _users(event, rules),
        "source": bool(event["source"]["observer"]),
        "transaction": _transaction(event),
        "data": _data(event, rules),
    }
    return [name for name, holds in checks.items() if not holds]


def _code(coding: dict[str, Any]) -> tuple[str, str]:
    return coding["system"], coding["code"]


def _of_type(event: dict[str, Any], kind: tuple[str, str]) -> list[dict[str, Any]]:
    return [agent for agent in event["agent"] if _code(agent["type"]["coding"][0]) == kind]


def _one_machine(event: dict[str, Any], kind: tuple[str, str]) -> bool:
    agents = _of_type(event, kind)
    return len(agents) == 1 and bool(agents[0]["who"]) and bool(agents[0]["network"]["address"])


def _users(event: dict[str, Any], rules: Rules) -> bool:
    users = [
        agent
        for agent in event["agent"]
        if _code(agent["type"]["coding"][0]) not in (rules.client, rules.server)
    ]
    return len(users) <= 1 and all(
        _code(user["type"]["coding"][0]) in rules.user
        and user["who"]
        and user["requestor"] is True
        and "network" not in user
        for user in users
    )


def _transaction(event: dict[str, Any]) -> bool:
    system = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
    found = [each for each in event["entity"] if _code(each["type"]) == (system, "XrequestId")]
    return len(found) <= 1 and all(each["what"]["identifier"]["value"] for each in found)


def _data(event: dict[str, Any], rules: Rules) -> bool:
    found = [each for each in event["entity"] if _code(each["type"]) == (ENTITY, "2")]
    if len(found) != 1:
        return False
    [data] = found
    if rules.query:
        return (
            _code(data["role"]) == (ROLE, "24") and bool(data["query"]) and not {"what", "detail"} & set(data)
        )
    return (
        _code(data["role"]) in DATA_ROLES
        and bool(data["what"])
        and not {"name", "query", "detail"} & set(data)
    )


def _is_patient(entity: dict[str, Any]) -> bool:
    return _code(entity["role"]) == (ROLE, "1") and entity["what"]["type"] == "Patient"

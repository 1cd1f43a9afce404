"""Codes of FHIR R4, DICOM and IHE BALP that AuditEvents contain."""

from __future__ import annotations

from typing import Any, Final

Coding = dict[str, Any]

BALP: Final = "https://profiles.ihe.net/ITI/BALP"
_HL7: Final = "http://terminology.hl7.org/CodeSystem"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"


def _coding(system: str, code: str, display: str) -> Coding:
    return {"system": system, "code": code, "display": display}


def _dicom(code: str, display: str) -> Coding:
    return _coding(_DICOM, code, display)


def _interaction(code: str) -> Coding:
    return _coding("http://hl7.org/fhir/restful-interaction", code, code)


REST = _coding(f"{_HL7}/audit-event-type", "rest", "RESTful Operation")
AUTHENTICATION = _dicom("110114", "User Authentication")
LOGIN = _dicom("110122", "Login")
ACTIVITY = _dicom("110100", "Application Activity")
APPLICATION_START = _dicom("110120", "Application Start")
APPLICATION_STOP = _dicom("110121", "Application Stop")
SECURITY_CONFIGURATION = _dicom("110129", "Security Configuration")
SOFTWARE_CONFIGURATION = _dicom("110131", "Software Configuration")
SECURITY_ALERT = _dicom("110113", "Security Alert")
RECORDING_STOPPED = _dicom("110133", "Audit Recording Stopped")
LOG_USED = _dicom("110101", "Audit Log Used")

APPLICATION = _dicom("110150", "Application")
LAUNCHER = _dicom("110151", "Application Launcher")
DESTINATION = _dicom("110152", "Destination Role ID")
SOURCE = _dicom("110153", "Source Role ID")
CUSTODIAN = _coding(f"{_HL7}/provenance-participant-type", "custodian", "Custodian")
RECIPIENT = _coding(f"{_HL7}/v3-ParticipationType", "IRCP", "information recipient")
AUTHOR = _coding(f"{_HL7}/v3-ParticipationType", "AUT", "author (originator)")

APPLICATION_SERVER = _coding(f"{_HL7}/security-source-type", "4", "Application Server")

PERSON = _coding(f"{_HL7}/audit-entity-type", "1", "Person")
SYSTEM_OBJECT = _coding(f"{_HL7}/audit-entity-type", "2", "System Object")
OTHER = _coding(f"{_HL7}/audit-entity-type", "4", "Other")
REQUEST_ID = {"system": f"{BALP}/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}

PATIENT = _coding(f"{_HL7}/object-role", "1", "Patient")
DOMAIN_RESOURCE = _coding(f"{_HL7}/object-role", "4", "Domain Resource")
QUERY = _coding(f"{_HL7}/object-role", "24", "Query")

MACHINE, ADDRESS = "1", "2"
"""Kinds of network addresses: a name, an IP address."""

INTERACTIONS: dict[str, tuple[str, Coding]] = {
    "create": ("C", _interaction("create")),
    "read": ("R", _interaction("read")),
    "update": ("U", _interaction("update")),
    "delete": ("D", _interaction("delete")),
    "search": ("E", _interaction("search-type")),
    "execute": ("E", _interaction("operation")),
}
"""From a record's action to FHIR's action and interaction. BALP requires E for a query."""

ADMINISTRATION: Final[dict[str, tuple[Coding, Coding]]] = {
    "start": (ACTIVITY, APPLICATION_START),
    "stop": (ACTIVITY, APPLICATION_STOP),
    "reload": (SECURITY_ALERT, SECURITY_CONFIGURATION),
    "undo": (SECURITY_ALERT, SECURITY_CONFIGURATION),
    "log level": (SECURITY_ALERT, SECURITY_CONFIGURATION),
    "upgrade": (SECURITY_ALERT, SOFTWARE_CONFIGURATION),
    "rollback": (SECURITY_ALERT, SOFTWARE_CONFIGURATION),
}
"""From the action of an administrative event to type and subtype, as in DICOM PS3.15 A.5.3."""

PATCH = _interaction("patch")

PROFILES = {
    "create": "Create",
    "read": "Read",
    "update": "Update",
    "delete": "Delete",
    "search": "Query",
}
"""From a record's action to BALP's profile. Each also exists with ``Patient`` in front of its name."""


def profile(action: str, *, patient: bool) -> str | None:
    """URL of the BALP profile for an action; None if BALP has none."""
    name = PROFILES.get(action)
    if name is None:
        return None
    return f"{BALP}/StructureDefinition/IHE.BasicAudit.{'Patient' if patient else ''}{name}"

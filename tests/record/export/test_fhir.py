from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from typing import Any

from fhir.resources.R4B.auditevent import AuditEvent
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import FieldLocation, Operation, Resource
from hospproxy.http.errors import OutcomeUnknown, Refused
from hospproxy.http.messages import ABSENT, Identity, Origin
from hospproxy.record.describe import Describer, gap
from hospproxy.record.export import fhir_lines
from hospproxy.record.export.fhir import FhirNaming, audit_event

from ..exchanges import CREATE_NOTE, LIST_NOTES, READ_NOTE, SCREEN, answer, exchange
from .balp import BASE, problems
from .rows import Rows, collected, row, texts

DESCRIBER = Describer(b"k" * 32, {"notes": Resource("notes")})
ANA = Identity(7, "Ana", b"hmac")
PATIENT = FieldLocation("answer", "patient_id")
UPDATE_NOTE = Operation(
    id="updateNote", method="PATCH", template="/notes/{id}", parameters=("id",), action="update", resource="notes",
    patient=PATIENT,
)  # fmt: skip
DELETE_NOTE = Operation(
    id="deleteNote", method="DELETE", template="/notes/{id}", parameters=("id",), action="delete", resource="notes",
    patient=PATIENT,
)  # fmt: skip
OPERATIONS = [READ_NOTE, CREATE_NOTE, LIST_NOTES, SCREEN, UPDATE_NOTE, DELETE_NOTE, None]
NOTE = answer(b'{"id":4,"patient_id":9}', origin=Origin.UPSTREAM)
DIGEST = "ab" * 32


def described(operation: Operation | None, came: Any = NOTE, **more: Any) -> dict[str, Any]:
    path = ("3",) if operation is not None and operation.parameters else ()
    document = {"patient_id": 9} if operation is CREATE_NOTE else ABSENT
    query = (("patient_id", "9"),) if operation is LIST_NOTES else ()
    return DESCRIBER.request(exchange(operation, path, query, document, **more), came, 0.01)


def made(record: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The event of a record, which is held against FHIR and against BALP."""
    event = audit_event(record, DIGEST, **more)
    assert event is not None
    AuditEvent.model_validate_json(json.dumps(event))
    assert problems(event) == []
    return event


def entity(event: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [each for each in event["entity"] if each["type"]["code"] == code]


class MappingTests(SynchronousTestCase):
    def test_a_read_in_full(self) -> None:
        hl7 = "http://terminology.hl7.org/CodeSystem"
        dicom = "http://dicom.nema.org/resources/ontology/DCM"
        event = made(described(READ_NOTE, identity=ANA), trail="ward-3")
        self.assertEqual(
            event,
            {
                "resourceType": "AuditEvent",
                "id": DIGEST,
                "meta": {"profile": [BASE + "PatientRead"]},
                "type": {"system": f"{hl7}/audit-event-type", "code": "rest", "display": "RESTful Operation"},
                "subtype": [
                    {"system": "http://hl7.org/fhir/restful-interaction", "code": "read", "display": "read"}
                ],
                "action": "R",
                "recorded": "2023-11-14T22:13:20.250Z",
                "outcome": "0",
                "outcomeDesc": "success",
                "agent": [
                    {
                        "type": {
                            "coding": [{"system": dicom, "code": "110152", "display": "Destination Role ID"}]
                        },
                        "who": {"display": "192.0.2.7"},
                        "requestor": False,
                        "network": {"address": "192.0.2.7", "type": "2"},
                    },
                    {
                        "type": {
                            "coding": [{"system": dicom, "code": "110153", "display": "Source Role ID"}]
                        },
                        "who": {"display": "hospproxy"},
                        "requestor": False,
                        "network": {"address": "ward-3", "type": "1"},
                    },
                    {
                        "type": {
                            "coding": [
                                {
                                    "system": f"{hl7}/v3-ParticipationType",
                                    "code": "IRCP",
                                    "display": "information recipient",
                                }
                            ]
                        },
                        "who": {"identifier": {"system": "urn:hosp:staffs", "value": "7"}, "display": "Ana"},
                        "name": "Ana",
                        "requestor": True,
                    },
                ],
                "source": {
                    "site": "ward-3",
                    "observer": {"display": "hospproxy"},
                    "type": [
                        {
                            "system": f"{hl7}/security-source-type",
                            "code": "4",
                            "display": "Application Server",
                        }
                    ],
                },
                "entity": [
                    {
                        "what": {"identifier": {"value": "req-1"}},
                        "type": {
                            "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
                            "code": "XrequestId",
                        },
                    },
                    {
                        "what": {
                            "identifier": {"system": "urn:hosp:notes", "value": "3"},
                            "display": "/notes/{id}",
                        },
                        "type": {
                            "system": f"{hl7}/audit-entity-type",
                            "code": "2",
                            "display": "System Object",
                        },
                        "role": {"system": f"{hl7}/object-role", "code": "4", "display": "Domain Resource"},
                    },
                    {
                        "what": {
                            "type": "Patient",
                            "identifier": {"system": "urn:hosp:patients", "value": "9"},
                        },
                        "type": {"system": f"{hl7}/audit-entity-type", "code": "1", "display": "Person"},
                        "role": {"system": f"{hl7}/object-role", "code": "1", "display": "Patient"},
                    },
                ],
            },
        )

    def test_each_action_has_its_profile(self) -> None:
        for operation, profile in (
            (CREATE_NOTE, "PatientCreate"), (READ_NOTE, "PatientRead"), (UPDATE_NOTE, "PatientUpdate"),
            (DELETE_NOTE, "PatientDelete"), (LIST_NOTES, "PatientQuery"), (SCREEN, None), (None, None),
        ):  # fmt: skip
            event = made(described(operation, identity=ANA))
            claimed = event.get("meta", {}).get("profile", [])
            self.assertEqual(claimed, [] if profile is None else [BASE + profile])
        plain = made({**described(READ_NOTE), "patient_id": None})
        self.assertEqual(plain["meta"]["profile"], [BASE + "Read"])

    def test_what_did_not_succeed_claims_no_profile(self) -> None:
        for outcome, code in (
            (Refused("No."), "4"),
            (answer(status=404, origin=Origin.UPSTREAM), "4"),
            (answer(status=500), "8"),
            (OutcomeUnknown("", reference="r-1"), "8"),
            (CancelledError(), "4"),
        ):
            event = made(described(UPDATE_NOTE, outcome))
            self.assertEqual((event["outcome"], "meta" in event), (code, False))

    def test_a_query_says_what_the_record_has_of_it(self) -> None:
        [query] = entity(made(described(LIST_NOTES)), "2")
        self.assertEqual(b64decode(query["query"]), b"GET /notes")

    def test_a_failed_login(self) -> None:
        for record in (
            described(READ_NOTE, answer(status=401, origin=Origin.UPSTREAM), claimed_name="ann"),
            {**described(None, Refused("No."), claimed_name="ann"), "action": "log-in failure"},
        ):
            event = made(record)
            self.assertEqual((event["type"]["code"], event["subtype"][0]["code"]), ("110114", "110122"))
            self.assertEqual((event["outcome"], event["action"]), ("4", "E"))
            who = event["agent"][2]["who"]
            self.assertEqual(who["identifier"]["system"], "urn:hosp:claimed-name-hmac")
            self.assertNotIn("ann", json.dumps(event["agent"]))

    def test_on_whose_behalf_the_proxy_asked(self) -> None:
        event = made(described(READ_NOTE, identity=ANA, own="look", on_behalf_of="req-0"))
        self.assertEqual(event["agent"][2]["name"], "Ana")
        self.assertEqual(event["purposeOfEvent"], [{"text": "the proxy's own request: look"}])

    def test_who_asks_is_the_client_where_nobody_else_is_known(self) -> None:
        for more, requestors in (({}, [True, False]), ({"identity": ANA}, [False, False, True])):
            agents = made(described(READ_NOTE, **more))["agent"]
            self.assertEqual([agent["requestor"] for agent in agents], requestors)

    def test_what_the_trail_says_of_itself(self) -> None:
        for kind in ("begin", "digest", "tombstone", "disclosure", "intent", "unreadable"):
            self.assertIsNone(audit_event({**described(READ_NOTE), "kind": kind}, DIGEST))
        self.assertIsNone(audit_event({**described(READ_NOTE), "time": "yesterday"}, DIGEST))

    def test_findings_gaps_alerts_and_looks(self) -> None:
        found = DESCRIBER.finding(exchange(CREATE_NOTE), "r-1", "found", 1)
        absent = DESCRIBER.finding(exchange(CREATE_NOTE), "r-1", "not carried out", 1)
        self.assertEqual((made(found)["outcome"], made(absent)["outcome"]), ("0", "8"))
        self.assertEqual(made(absent)["outcomeDesc"], "known later: not carried out")
        lost = made(gap(lambda: 0)(3, "no room"))
        self.assertEqual((lost["type"]["code"], lost["subtype"][0]["code"]), ("110113", "110133"))
        self.assertEqual(lost["outcomeDesc"], "3 audit records were lost: no room")
        time = "2026-11-24T00:00:00.000Z"
        alert = {
            "kind": "alert",
            "time": time,
            "rule": "r",
            "text": "many",
            "client": {"address": "192.0.2.1"},
        }
        self.assertEqual(made(alert)["outcomeDesc"], "r: many")
        who = {"id": None, "name": "eve", "certainty": "auditor"}
        look = {
            "kind": "look",
            "time": time,
            "who": who,
            "status": 200,
            "outcome": "success",
            "patient_id": "7",
        }
        event = made(look)
        self.assertEqual(event["type"]["code"], "110101")
        self.assertEqual(
            event["agent"][2]["who"]["identifier"], {"system": "urn:hosp:auditors", "value": "eve"}
        )
        self.assertEqual(len(entity(event, "1")), 1)

    def test_names_of_ones_own(self) -> None:
        event = made(described(READ_NOTE, identity=ANA), naming=FhirNaming("urn:oid:1.2", "proxy"))
        self.assertEqual(event["agent"][2]["who"]["identifier"]["system"], "urn:oid:1.2:staffs")
        self.assertEqual(event["source"]["observer"]["display"], "proxy")


class DisclosureTests(SynchronousTestCase):
    def record(self, count: int) -> dict[str, Any]:
        record = described(LIST_NOTES)
        return {**record, "patient_id": None, "disclosed": {"set": "cd" * 32, "count": count}}

    def test_patients_who_are_at_hand_are_named(self) -> None:
        event = made(self.record(3), patients=["1", "2", "3"])
        self.assertEqual(
            [each["what"]["identifier"]["value"] for each in entity(event, "1")], ["1", "2", "3"]
        )
        self.assertEqual(event["meta"]["profile"], [BASE + "Query"])
        one = made(self.record(1), patients=["1"])
        self.assertEqual(one["meta"]["profile"], [BASE + "PatientQuery"])

    def test_a_set_is_named_where_they_are_not(self) -> None:
        for patients in (None, [str(number) for number in range(101)]):
            event = made(self.record(101), patients=patients)
            self.assertEqual(entity(event, "1"), [])
            [named] = entity(event, "4")
            self.assertEqual(
                named["what"]["identifier"], {"system": "urn:hosp:disclosure-sets", "value": "cd" * 32}
            )
            self.assertEqual(named["name"], "set of 101 patients")

    def test_whoever_exports_has_them(self) -> None:
        rows = Rows([row(self.record(2)), row({"kind": "disclosure"})])
        [line, rest] = b"".join(collected(fhir_lines(rows.iterate(), {"cd" * 32: ["5", "6"]}.get))).split(
            b"\n"
        )
        self.assertEqual(rest, b"")
        event = json.loads(line)
        self.assertEqual(len(entity(event, "1")), 2)
        self.assertEqual(event["id"], sha256(rows.rows[0].line).hexdigest())


class AnyRecordTests(SynchronousTestCase):
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.sampled_from(OPERATIONS),
        st.one_of(
            st.builds(answer, st.sampled_from([b'{"patient_id":9}', b"[]"]), st.integers(200, 599)),
            st.sampled_from(
                [Refused("No."), OutcomeUnknown("", reference="r"), ValueError(), CancelledError()]
            ),
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "identity": st.builds(Identity, st.integers() | texts, texts, st.just(b"")),
                "claimed_name": texts,
                "own": texts,
                "rule_hits": st.lists(texts, max_size=3),
                "outcome": texts,
                "patient": texts,
                "reference": texts,
                "record_id": texts,
            },
        ),
        st.lists(texts, max_size=3) | st.none(),
    )
    def test_is_valid(
        self, operation: Operation | None, outcome: Any, more: dict[str, Any], patients: list[str] | None
    ) -> None:
        made(described(operation, outcome, **more), patients=patients)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.dictionaries(
            st.sampled_from(list(described(READ_NOTE))), st.integers() | texts | st.none() | st.lists(texts)
        )
    )
    @example({"outcome": [], "status": None})
    def test_a_record_of_another_version_does_not_stop_an_export(self, changes: dict[str, Any]) -> None:
        event = audit_event({**described(READ_NOTE), **changes}, DIGEST)
        if event is not None:
            AuditEvent.model_validate_json(json.dumps(event))

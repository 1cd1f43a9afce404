"""The record of a rejected request: who was claimed, and whom it named, however early it was rejected."""

from __future__ import annotations

import base64
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import Refused
from hospproxy.http.messages import Client, Headers, Request
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from tests.rig import CONTRACT, Rig
from tests.stages import arrived

SECRET = "Juno has scabies"


def header(name: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:wrong".encode())


class KeptRecords:
    """A journal in memory."""

    full = False

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._records = records

    def append(self, record: dict[str, Any], _disclosure: Any = None) -> Any:
        self._records.append(record)
        return succeed(None)


class RefusedTests(SynchronousTestCase):
    """Requests through the chain; the last record is the client's."""

    def setUp(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.describer = Describer(
            b"k" * 32, CONTRACT.resources, lambda name: name == "staff1", CONTRACT.routes
        )
        rig = Rig()
        audit = Audit(KeptRecords(self.records), self.describer, rig.time)  # type: ignore[arg-type]
        self.rig = Rig(put_in={"record.audit": audit})

    def record(self, method: str, target: str, **more: Any) -> dict[str, Any]:
        self.rig.get(self.rig.send(method, target, **more))
        return next(each for each in self.records[::-1] if each["kind"] == "request")

    def test_who_was_claimed_and_that_it_was_not_proved(self) -> None:
        for method, target, more, status in (
            ("POST", "/notes", {"document": {"title": 5}}, 422),
            ("POST", "/notes", {"body": b"{"}, 400),
            ("PUT", "/patients/7", {}, 405),
            ("GET", "/patients?hospital_id=x", {}, 422),
            ("GET", "/nothing", {}, 404),
        ):
            if "body" in more:
                more = {**more, "headers": [(b"content-type", b"application/json")]}
            record = self.record(method, target, **more)
            self.assertEqual((record["status"], record["outcome"]), (status, "refused"), target)
            hidden = self.describer.pseudonym("staff1")
            who = {"id": None, "name": "staff1", "certainty": "claimed", "name_hmac": hidden}
            self.assertEqual(record["who"], who, target)
            self.assertNotEqual(record["action"], "log-in failure")

    def test_a_name_that_hosp_never_accepted_is_not_written(self) -> None:
        record = self.record("PUT", "/patients/7", auth=header(SECRET))
        self.assertEqual((record["who"]["name"], record["who"]["certainty"]), (None, "claimed"))
        self.assertEqual(record["who"]["name_hmac"], self.describer.pseudonym(SECRET))

    def test_without_credentials_or_with_malformed_ones_nobody_was_claimed(self) -> None:
        for auth in (None, b"Basic ???", b"Bearer x"):
            record = self.record("PUT", "/patients/7", auth=auth)
            self.assertEqual(record["who"], {"id": None, "name": None, "certainty": "none"})

    def test_what_was_proved_stays_verified(self) -> None:
        record = self.record("GET", "/patients/7")
        self.assertEqual((record["who"]["id"], record["who"]["certainty"]), (1, "verified"))

    def test_the_patient_in_the_path_though_the_method_is_wrong(self) -> None:
        for target, route, resource in (
            ("/patients/7", "/patients/{id}", "patients"),
            ("/patients/7/screen", "/patients/{id}/screen", "patients"),
        ):
            record = self.record("PUT", target)
            found = {
                name: record[name] for name in ("route", "action", "resource", "record_id", "patient_id")
            }
            expected = {
                "route": route,
                "action": None,
                "resource": resource,
                "record_id": "7",
                "patient_id": "7",
            }
            self.assertEqual(found, expected)

    def test_the_patient_in_what_was_refused(self) -> None:
        for method, target, document in (
            ("POST", "/notes", {"title": 5, "patient_id": 7}),
            ("PATCH", "/patients/7", {"name": 5}),
            ("POST", "/patients/7/screen", {"images": 5}),
        ):
            record = self.record(method, target, document=document)
            self.assertEqual((record["status"], record["patient_id"]), (422, "7"), target)

    def test_no_text_stands_there_for_an_id(self) -> None:
        for method, target, more in (
            ("POST", "/notes", {"document": {"title": "t", "patient_id": SECRET}}),
            ("GET", "/notes?patient_id=Juno+has+scabies", {}),
            ("PUT", "/patients/Juno", {}),
            ("PUT", "/nobody/7", {}),
        ):
            record = self.record(method, target, **more)
            self.assertEqual((record["outcome"], record["patient_id"]), ("refused", None), target)
            self.assertNotIn("Juno", str(record))

    def test_asking_what_a_path_takes_is_about_nobody(self) -> None:
        self.assertIsNone(self.record("OPTIONS", "/patients/7")["patient_id"])

    def test_one_that_never_came_to_validation(self) -> None:
        """For example, one that admission or the entrance refused."""
        headers = Headers(((b"authorization", header("staff1")),))
        request = Request("GET", b"/patients/7", None, (1, 1), headers, None, Client())
        early = arrived(request)
        record = self.describer.request(early, Refused("slow down", status=429), 0.0)
        self.assertEqual((record["route"], record["action"]), ("/patients/{id}", "read"))
        self.assertEqual((record["patient_id"], record["record_id"]), ("7", "7"))
        self.assertEqual(record["who"]["certainty"], "claimed")

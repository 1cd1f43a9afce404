"""A Request becomes a Call, or an error in HOSP's own format."""

import json

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import Route
from hospproxy.exchange.exchange import Exchange
from hospproxy.guard.validation import Validation
from hospproxy.http.errors import Refused
from hospproxy.http.messages import Client, Request, Response
from tests.rig import CONTRACT, STAFF1, Rig
from tests.stages import arrived


class ValidationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()

    def answer(self, *args: object, **kwargs: object):
        return self.rig.get(self.rig.send(*args, **kwargs))  # type: ignore[arg-type]

    def test_a_request_that_comes_round_again_goes_no_further(self) -> None:
        exchange = arrived(Request("GET", b"/hospitals", client=Client(via="1.1 me, 1.1")))
        validation = Validation(CONTRACT, is_loop=lambda client: "me" in client.via)
        failure = self.failureResultOf(
            Deferred.fromCoroutine(validation.process(exchange, self.never)), Refused
        )
        self.assertEqual(failure.value.status, 508)

    def test_a_filter_that_the_contract_does_not_list_reaches_hosp(self) -> None:
        self.rig.get(self.rig.send("GET", "/notes?page=2&staff_id=2&staff_id=03"))
        self.rig.get(self.rig.send("POST", "/notes?staff_id=2", {"patient_id": 7, "title": "t"}))
        self.assertEqual(self.rig.hosp.seen("listNotes")[0].query, (("staff_id", "3"),))
        self.assertEqual(self.rig.hosp.seen("createNote")[0].query, ())

    async def never(self, _exchange: Exchange) -> Response:
        raise AssertionError("it went on")

    def refused(self, status: int, field: str | None, *args: object, **kwargs: object) -> None:
        answer = self.answer(*args, **kwargs)
        document = json.loads(answer.body)
        self.assertEqual((answer.status, document["status"]), (status, status), answer.body)
        self.assertIn("detail", document)
        self.assertEqual(document.get("field"), field)
        self.assertEqual(self.rig.hosp.calls, [])

    def test_what_is_not_in_the_contract_reaches_nobody(self) -> None:
        self.refused(404, None, "GET", "/nothing")
        self.refused(404, None, "GET", "/hospitals/x")
        self.refused(404, None, "GET", "/hospitals/0")
        self.refused(405, None, "PUT", "/hospitals/1")
        self.refused(405, None, "DELETE", "/hospitals")
        self.refused(400, None, "POST", "/hospitals", body=b"{")
        self.refused(400, "name", "POST", "/hospitals", body=b'{"name":"a","name":"b"}')
        self.refused(400, None, "POST", "/hospitals")
        self.refused(422, "name", "POST", "/hospitals", {"title": "x"})
        self.refused(422, "images.1", "POST", "/patients/7/screen", {"images": ["a", 1]})
        self.refused(422, "hospital_id", "GET", "/patients?hospital_id=x")
        self.refused(
            415, "Content-Type", "POST", "/hospitals", body=b"name=x",
            headers=[(b"content-type", b"application/x-www-form-urlencoded")],
        )  # fmt: skip

    def test_every_wrong_field_is_named(self) -> None:
        answer = self.answer("POST", "/staffs", {"name": 1, "hospital_id": "x"})
        document = json.loads(answer.body)
        self.assertEqual((answer.status, document["field"]), (422, "password"))
        self.assertEqual(document["detail"], "The field is missing.")
        self.assertEqual([one["field"] for one in document["errors"]], ["password", "name", "hospital_id"])
        self.assertEqual(document["errors"][0]["detail"], document["detail"])

    def test_no_more_than_a_few_are(self) -> None:
        document = json.loads(self.answer("POST", "/patients/7/screen", {"images": [1] * 500}).body)
        self.assertEqual([one["field"] for one in document["errors"]], [f"images.{n}" for n in range(10)])

    def test_a_birthdate_that_would_be_lost_is_refused(self) -> None:
        patient = {"name": "Moss", "hospital_id": 1}
        self.refused(422, "birthdate", "POST", "/patients", {**patient, "birthdate": "banana"})
        self.refused(422, "birthdate", "PATCH", "/patients/7", {"birthdate": "2021-02-30"})

    def test_a_birthdate_that_is_kept_passes_as_it_is(self) -> None:
        for given in ("2021-03-27", "2021-03-27T00:00:00.000Z", "", None):
            answer = self.answer("POST", "/patients", {"name": "A", "hospital_id": 1, "birthdate": given})
            self.assertEqual(answer.status, 201, answer.body)
            self.assertEqual(self.rig.hosp.seen("createPatient")[-1].document["birthdate"], given)

    def test_reported_birthdates_go_on(self) -> None:
        self.rig = Rig(enforce=False)
        answer = self.answer("POST", "/patients", {"name": "A", "hospital_id": 1, "birthdate": "banana"})
        self.assertEqual(answer.status, 201)
        self.assertIn("schema:body:birthdate", self.rig.exchanges[0].trace.rule_hits)

    def test_a_wrong_method_is_told_which_are_right(self) -> None:
        self.assertEqual(self.answer("PUT", "/hospitals").headers.get(b"allow"), b"GET, HEAD, OPTIONS, POST")

    def test_options_needs_no_credentials(self) -> None:
        answer = self.answer("OPTIONS", "/notes/1", auth=None)
        self.assertEqual(
            (answer.status, answer.headers.get(b"allow")), (204, b"DELETE, GET, HEAD, OPTIONS, PATCH")
        )
        self.assertEqual(self.answer("OPTIONS", "*", auth=None).status, 204)

    def test_html_only_for_those_who_ask_for_it(self) -> None:
        page = self.answer("GET", "/nothing", headers=[(b"accept", b"text/html,*/*")])
        self.assertEqual(page.headers.get(b"content-type"), b"text/html; charset=utf-8")
        for accept in (b"*/*", b"application/json", b"image/png, */*"):
            answer = self.answer("GET", "/nothing", headers=[(b"accept", accept)])
            self.assertEqual(json.loads(answer.body)["error"], "Not Found")
        answer = self.answer("GET", "/nothing.json", headers=[(b"accept", b"text/html")])
        self.assertEqual(json.loads(answer.body)["error"], "Not Found")

    def test_what_is_sent_on_is_built_anew(self) -> None:
        answer = self.answer(
            "POST", "//patients/", body=b' {"name":"A","hospital_id":"01","junk":[1],"_method":"delete"} ',
            headers=[(b"x-http-method-override", b"DELETE"), (b"accept", b"application/json")],
        )  # fmt: skip
        self.assertEqual(answer.status, 201)
        call = self.rig.hosp.seen("createPatient")[0]
        self.assertEqual(call.document, {"name": "A", "hospital_id": 1})
        self.assertEqual((call.accept, call.authorization), ("json", STAFF1))

    def test_json_suffix_is_an_accept_of_json(self) -> None:
        self.answer("GET", "/hospitals/1.json", headers=[(b"accept", b"text/html")])
        self.assertEqual(
            [(call.path, call.accept) for call in self.rig.hosp.seen("getHospital")], [(("1",), "json")]
        )

    def test_report_lets_pass_what_schemas_refuse_but_not_what_cannot_be_parsed(self) -> None:
        self.rig = Rig(enforce=False)
        self.assertEqual(self.answer("POST", "/hospitals", {}).status, 201)
        self.assertIn("schema:body:name", self.rig.exchanges[0].trace.rule_hits)
        self.assertEqual(self.answer("POST", "/hospitals", body=b'{"name":1,"name":2}').status, 400)

    def test_limits_of_a_body_are_known_before_it_is_read(self) -> None:
        limit = self.rig.chain.body_limit
        self.assertEqual(limit("POST", b"/patients/1/screen.json"), 16 << 20)
        self.assertEqual(limit("POST", b"/notes"), 1 << 20)
        self.assertEqual(limit("POST", b"/nothing/at/all"), 1 << 20)

    def test_a_route_may_have_less_time_than_others_and_never_more(self) -> None:
        operation = CONTRACT.operation("listHospitals")
        for given, expected in ((5.0, 5.0), (100.0, 28.0), (None, 28.0)):
            shorter = evolve(operation, deadline_s=given)
            route = Route("/hospitals", ("hospitals",), {"GET": shorter})
            validation = Validation(evolve(CONTRACT, routes=(route,)))
            rig = Rig(put_in={"guard.validation": validation})
            rig.get(rig.send("GET", "/hospitals"))
            client, *own = rig.exchanges
            self.assertEqual(client.deadline - client.arrived, expected)
            # Lookups before the request count towards the same deadline.
            self.assertTrue(own and all(each.deadline <= client.deadline for each in own))

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.app import Application, Outcome, Refused, screening
from hosp_standin.calls import Call
from hosp_standin.records import Store
from hosp_standin.service import load_seed

FORM = "application/x-www-form-urlencoded"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Asking(SynchronousTestCase):
    own_hospital_only = False

    def setUp(self) -> None:
        self.store = Store(load_seed(), lambda: 1_700_000_000.0)
        self.app = Application(self.store, self.own_hospital_only)

    def ask(
        self, method: str, target: str, body: Any = None, staff: int | None = 1, **headers: str
    ) -> Outcome:
        named = {"host": "hosp:3000"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if staff is not None:
            named["authorization"] = basic(f"staff{staff}", f"password{staff}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            named.setdefault("content-type", "application/json")
        path, _, query = target.partition("?")
        return self.app.carry_out(Call(method, path, query, named, body or b""))

    def status(self, *args: Any, **kwargs: Any) -> int:
        return self.ask(*args, **kwargs).answer.status

    def json(self, *args: Any, **kwargs: Any) -> Any:
        return json.loads(self.ask(*args, **kwargs).answer.body)


class ReadTests(Asking):
    def test_root_asks_for_no_credentials(self) -> None:
        outcome = self.ask("GET", "/", staff=None)
        self.assertEqual(outcome.answer.status, 200)
        self.assertIn(b"Server is online.", outcome.answer.body)

    def test_lists_newest_first(self) -> None:
        for name, count in [("hospitals", 7), ("staffs", 14), ("patients", 140), ("notes", 300)]:
            ids = [record["id"] for record in self.json("GET", f"/{name}")]
            self.assertEqual(ids, sorted(ids, reverse=True))
            self.assertEqual(len(ids), count)

    def test_one(self) -> None:
        self.assertEqual(
            self.json("GET", "/hospitals/1.json"),
            {
                "id": 1,
                "name": "Root",
                "created_at": "2021-03-27T17:33:14.049Z",
                "updated_at": "2021-03-27T17:33:14.049Z",
                "url": "http://hosp:3000/hospitals/1.json",
            },
        )

    def test_filters(self) -> None:
        everything = self.json("GET", "/patients")
        three = [record for record in everything if record["hospital_id"] == 3]
        self.assertTrue(three)
        self.assertEqual(self.json("GET", "/patients?hospital_id=3"), three)
        self.assertEqual(self.json("GET", "/patients?hospital_id=2&hospital_id=3"), three)
        self.assertEqual(self.json("GET", "/patients?hospital_id[]=3"), three)
        self.assertEqual(self.json("GET", "/patients?hospital_id="), everything)
        self.assertEqual(self.json("GET", "/patients?patient_id=3"), everything)
        self.assertEqual(self.json("GET", "/patients?hospital_id=abc"), [])
        self.assertEqual(self.json("GET", "/patients?hospital_id=" + "9" * 30), [])
        self.assertEqual(self.status("GET", "/patients?hospital_id[a]=3"), 500)
        notes = self.json("GET", "/notes?patient_id=5")
        self.assertTrue(notes)
        self.assertEqual({note["patient_id"] for note in notes}, {5})

    def test_me(self) -> None:
        me = self.json("GET", "/staffs/me", staff=5)
        self.assertEqual((me["id"], me["name"], me["url"]), (5, "staff5", "http://hosp:3000/staffs/5.json"))
        self.assertNotIn("password", me)

    def test_not_there(self) -> None:
        for path in ("/notes/999", "/notes/abc", "/nothing", "/notes/" + "9" * 30):
            self.assertEqual(self.json("GET", path), {"status": 404, "error": "Not Found"})

    def test_an_error_as_accept_asks(self) -> None:
        self.assertIn(b"<html>", self.ask("GET", "/notes/999", accept="text/html").answer.body)
        self.assertNotIn(b"<html>", self.ask("GET", "/notes/999.json", accept="text/html").answer.body)

    def test_a_body_on_a_get_is_no_matter(self) -> None:
        self.assertEqual(self.status("GET", "/notes/7", b"{nonsense"), 200)


class CredentialTests(Asking):
    def test_missing_and_wrong(self) -> None:
        for outcome in (
            self.ask("GET", "/notes", staff=None),
            self.ask("GET", "/notes", staff=99),
            self.ask("POST", "/notes", {"title": "x"}, staff=None),
            self.ask("GET", "/notes", staff=None, authorization="Basic !"),
        ):
            self.assertEqual(outcome.answer.status, 401)
            self.assertEqual(outcome.answer.body, b"HTTP Basic: Access denied.\n")
            self.assertIsNone(outcome.kind)
        self.assertEqual(len(self.json("GET", "/notes")), 300)

    def test_no_route_and_bad_json_come_before(self) -> None:
        self.assertEqual(self.status("GET", "/nothing", staff=None), 404)
        self.assertEqual(
            self.status("POST", "/notes", b"{", staff=None, content_type="application/json"), 400
        )


class WriteTests(Asking):
    def test_create(self) -> None:
        fields = {"title": "x", "body": "y", "patient_id": 3, "staff_id": 1}
        outcome = self.ask("POST", "/notes", fields)
        created = json.loads(outcome.answer.body)
        self.assertEqual(created, {**created, **fields, "id": 301, "url": "http://hosp:3000/notes/301.json"})
        self.assertEqual(outcome.answer.status, 201)
        self.assertEqual(outcome.answer.headers, (("Location", "http://hosp:3000/notes/301"),))
        self.assertEqual((outcome.kind, outcome.resource, outcome.id), ("stored", "notes", 301))
        self.assertEqual(self.json("GET", "/notes")[0], created)

    def test_it_believes_any_author_in_any_disguise(self) -> None:
        for body, target, headers in [
            ({"staff_id": 7}, "/notes", {}),
            ({"staff_id": "7"}, "/notes", {}),
            ({"note": {"staff_id": 7}, "staff_id": 1}, "/notes", {}),
            (b'{"staff_id": 1, "staff_id": 7}', "/notes", {"content_type": "application/json"}),
            (b"note[staff_id]=7", "/notes", {"content_type": FORM}),
            (b"staff_id=7", "/notes", {"content_type": FORM}),
            ({"staff_id": 1}, "/notes?note[staff_id]=7", {}),
        ]:
            created = self.json("POST", target, body, **headers)
            self.assertEqual(created["staff_id"], 7, body)

    def test_what_rails_refuses(self) -> None:
        for body, status in [
            ({}, 400),
            ({"colour": "red"}, 400),
            ({"note": {}}, 400),
            ([1], 400),
            ({"note": "x"}, 500),
            ({"staff_id": 2**64}, 500),
        ]:
            self.assertEqual(self.status("POST", "/notes", body), status, body)
        malformed = self.ask("POST", "/notes", b"{", content_type="application/json").answer
        self.assertEqual((malformed.status, malformed.body), (400, b""))
        self.assertEqual(self.status("POST", "/notes", b"a=%", content_type=FORM), 400)
        self.assertEqual(len(self.json("GET", "/notes")), 300)

    def test_a_birthdate_that_is_no_date(self) -> None:
        created = self.json("POST", "/patients", {"name": "x", "hospital_id": 1, "birthdate": "soon"})
        self.assertIsNone(created["birthdate"])

    def test_json_without_content_type(self) -> None:
        self.assertEqual(self.json("POST", "/notes", b'{"title": "x"}')["title"], "x")

    def test_staff_need_a_password_and_it_works_at_once(self) -> None:
        self.assertEqual(self.status("POST", "/staffs", {"name": "new", "hospital_id": 1}), 422)
        created = self.json(
            "POST", "/staffs", {"name": "staff20", "hospital_id": 1, "password": "password20"}
        )
        self.assertNotIn("password", created)
        self.assertEqual(self.json("GET", "/staffs/me", staff=20), created)

    def test_patch_and_put(self) -> None:
        for method in ("PATCH", "PUT"):
            outcome = self.ask(method, "/notes/7", {"title": method})
            self.assertEqual(json.loads(outcome.answer.body)["title"], method)
            self.assertEqual((outcome.answer.status, outcome.kind, outcome.id), (200, "updated", 7))
        self.assertEqual(self.json("GET", "/notes/7")["title"], "PUT")
        self.assertEqual(self.status("PATCH", "/notes/999", {"title": "x"}), 404)
        self.assertEqual(self.status("PATCH", "/notes/7", {}), 400)

    def test_delete(self) -> None:
        outcome = self.ask("DELETE", "/notes/7")
        self.assertEqual((outcome.answer.status, outcome.kind, outcome.id), (200, "deleted", 7))
        self.assertIn(b"Note 7 was deleted.", outcome.answer.body)
        self.assertEqual(outcome.answer.content_type, "text/html; charset=utf-8")
        self.assertEqual(self.status("GET", "/notes/7"), 404)
        self.assertEqual(self.status("DELETE", "/notes/7"), 404)

    def test_method_override(self) -> None:
        outcome = self.ask("POST", "/notes/7", b"_method=delete", content_type=FORM)
        self.assertEqual(outcome.kind, "deleted")
        self.assertEqual(self.ask("POST", "/notes/8", x_http_method_override="DELETE").kind, "deleted")

    @given(
        st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
        st.sampled_from(["/notes", "/notes/7", "/patients/7/screen", "/staffs/2", "/patients?hospital_id=1"]),
        st.binary() | st.just(b'{"note":{"title":[1]}}') | st.just(b'{"images":[{"a":null}]}'),
        st.sampled_from(["application/json", FORM, "multipart/form-data; boundary=b", "", "x/y"]),
    )
    def test_any_body_gets_an_answer(self, method: str, target: str, body: bytes, content_type: str) -> None:
        status = self.status(method, target, body, content_type=content_type)
        self.assertIn(status, {200, 201, 400, 404, 422, 500})


class ScreeningTests(Asking):
    def test_one_result_an_image_in_order(self) -> None:
        outcome = self.ask("POST", "/patients/7/screen", {"images": ["a", "b", "a"]})
        result = json.loads(outcome.answer.body)
        self.assertEqual(outcome.answer.status, 200)
        self.assertEqual(len(result["results"]), 3)
        self.assertEqual(result["results"][0], result["results"][2])
        self.assertNotEqual(result["results"][0], result["results"][1])
        self.assertEqual((outcome.kind, outcome.resource, outcome.id), ("screened", "patients", 7))
        self.assertEqual(len(self.json("GET", "/notes")), 300)

    def test_no_images(self) -> None:
        self.assertEqual(
            self.json("POST", "/patients/7/screen", {"images": []}), {"overall": "no images", "results": []}
        )

    def test_images_missing(self) -> None:
        for body in ({}, {"images": "a"}, {"images": None}):
            self.assertEqual(self.status("POST", "/patients/7/screen", body), 422)

    def test_no_such_patient(self) -> None:
        self.assertEqual(self.status("POST", "/patients/999/screen", {"images": []}), 404)

    @given(st.lists(st.text() | st.integers() | st.none()))
    def test_the_same_images_give_the_same_results(self, images: list[object]) -> None:
        self.assertEqual(screening(images), screening(list(images)))
        results = screening(images)["results"]
        assert isinstance(results, list)
        self.assertEqual(len(results), len(images))

    def test_no_array(self) -> None:
        self.assertRaises(Refused, screening, {"0": "a"})


class OwnHospitalTests(Asking):
    own_hospital_only = True

    def test_lists_hold_only_ones_own(self) -> None:
        self.assertEqual([each["id"] for each in self.json("GET", "/hospitals", staff=3)], [2])
        patients = self.json("GET", "/patients", staff=3)
        self.assertEqual({each["hospital_id"] for each in patients}, {2})
        self.assertEqual(self.json("GET", "/patients?hospital_id=1", staff=3), [])
        own = {each["id"] for each in patients}
        notes = self.json("GET", "/notes", staff=3)
        self.assertTrue(notes)
        self.assertTrue({each["patient_id"] for each in notes} <= own)

    def test_a_new_hospital_is_nobodys_and_may_be_made(self) -> None:
        self.assertEqual(self.status("POST", "/hospitals", {"name": "x"}, staff=3), 201)
        self.assertEqual(self.status("GET", "/hospitals/10", staff=3), 404)

    def test_others_are_not_there(self) -> None:
        other = self.json("GET", "/patients", staff=1)[0]["id"]
        own = self.json("GET", "/patients", staff=3)[0]["id"]
        self.assertEqual(self.status("GET", f"/patients/{other}", staff=3), 404)
        self.assertEqual(self.status("GET", f"/patients/{own}", staff=3), 200)
        self.assertEqual(self.status("GET", "/hospitals/1", staff=3), 404)
        self.assertEqual(self.status("PATCH", f"/patients/{other}", {"name": "x"}, staff=3), 404)
        self.assertEqual(self.status("DELETE", f"/patients/{other}", staff=3), 404)
        self.assertEqual(self.status("POST", f"/patients/{other}/screen", {"images": []}, staff=3), 404)
        self.assertEqual(self.status("POST", "/notes", {"title": "x", "patient_id": other}, staff=3), 404)
        self.assertEqual(self.status("POST", "/notes", {"title": "x", "patient_id": own}, staff=3), 201)
        self.assertEqual(self.status("POST", "/patients", {"name": "x", "hospital_id": 1}, staff=3), 404)
        self.assertEqual(self.status("POST", "/patients", {"name": "x", "hospital_id": "2"}, staff=3), 201)

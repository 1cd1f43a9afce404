from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.calls import Call, Route, basic_credentials, find_route

PASSABLE = st.text(st.characters(exclude_categories=["Cs"]))


class RouteTests(SynchronousTestCase):
    def check(self, method: str, path: str, action: str, resource: str = "", id_: int = 0) -> None:
        route = find_route(method, path)
        self.assertEqual(
            (route.action, route.resource, route.id), (action, resource, id_), f"{method} {path}"
        )

    def test_all_of_hosps_routes(self) -> None:
        self.check("GET", "/", "root")
        for name in ("hospitals", "staffs", "patients", "notes"):
            self.check("GET", f"/{name}", "index", name)
            self.check("HEAD", f"/{name}", "index", name)
            self.check("POST", f"/{name}", "create", name)
            self.check("GET", f"/{name}/7", "show", name, 7)
            self.check("PATCH", f"/{name}/7", "update", name, 7)
            self.check("PUT", f"/{name}/7", "update", name, 7)
            self.check("DELETE", f"/{name}/7", "destroy", name, 7)
        self.check("GET", "/staffs/me", "me", "staffs")
        self.check("POST", "/patients/7/screen", "screen", "patients", 7)

    def test_json_suffix_and_slashes_make_no_difference(self) -> None:
        for path in (
            "/notes/7",
            "/notes/7.json",
            "/notes/7/",
            "//notes//7",
            "/notes/%37",
            "/%6eotes/7.json/",
        ):
            self.check("GET", path, "show", "notes", 7)
            self.assertEqual(find_route("GET", path).path, "/notes/7")
        self.check("GET", "/staffs/me.json", "me", "staffs")
        self.check("POST", "/patients/7/screen.json", "screen", "patients", 7)
        self.check("GET", "/notes.json", "index", "notes")

    def test_ids_as_ruby_reads_them(self) -> None:
        self.check("GET", "/notes/7abc", "show", "notes", 7)
        self.check("GET", "/notes/abc", "show", "notes", 0)
        self.check("GET", "/notes/" + "9" * 30, "show", "notes", 0)

    def test_no_route(self) -> None:
        for method, path in [
            ("GET", "/nothing"),
            ("GET", "/notes/7/more"),
            ("PUT", "/notes"),
            ("DELETE", "/notes"),
            ("POST", "/notes/7"),
            ("POST", "/"),
            ("GET", "/patients/7/screen"),
            ("POST", "/notes/7/screen"),
            ("OPTIONS", "/notes"),
            ("BREW", "/notes/7"),
        ]:
            self.assertEqual(find_route(method, path).action, "none", f"{method} {path}")

    @given(st.sampled_from(["GET", "POST", "PATCH", "DELETE", "X"]), st.text())
    def test_there_are_only_so_many_templates(self, method: str, path: str) -> None:
        self.assertIn(
            find_route(method, "/" + path).template,
            {"(none)", "/", "/staffs/me", "/patients/:id/screen"}
            | {
                f"/{name}{rest}"
                for name in ("hospitals", "staffs", "patients", "notes")
                for rest in ("", "/:id")
            },
        )

    def test_templates(self) -> None:
        self.assertEqual(find_route("GET", "/notes/7").template, "/notes/:id")
        self.assertEqual(find_route("POST", "/patients/7/screen").template, "/patients/:id/screen")
        self.assertEqual(Route("none", path="/x").template, "(none)")


class OverrideTests(SynchronousTestCase):
    def method(self, method: str = "POST", body: bytes = b"", **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Call(method, "/notes/7", "", named, body).effective_method

    def test_header(self) -> None:
        self.assertEqual(self.method(x_http_method_override="delete"), "DELETE")

    def test_form(self) -> None:
        form = "application/x-www-form-urlencoded"
        self.assertEqual(self.method(body=b"_method=patch", content_type=form), "PATCH")
        self.assertEqual(self.method(body=b"_method=%", content_type=form), "POST")

    def test_only_a_post_and_only_known_methods(self) -> None:
        self.assertEqual(self.method("GET", x_http_method_override="DELETE"), "GET")
        self.assertEqual(self.method(x_http_method_override="BREW"), "POST")
        self.assertEqual(self.method(body=b'{"_method": "DELETE"}', content_type="application/json"), "POST")


class CredentialsTests(SynchronousTestCase):
    def test_lenient(self) -> None:
        for header in (
            "Basic c3RhZmYxOnBhc3N3b3JkMQ==",
            "basic c3RhZmYxOnBhc3N3b3JkMQ==",
            "Basic  c3RhZmYxOnBhc3N3b3JkMQ==",
            "Basic c3RhZmYxOnBhc3N3b3JkMQ",
            "Basic c3RhZmYx\tOnBhc3N3b3JkMQ==",
        ):
            self.assertEqual(basic_credentials(header), ("staff1", "password1"), header)

    def test_none(self) -> None:
        for header in ("", "Basic", "Basic ", "Bearer c3RhZmYxOnBhc3N3b3JkMQ==", "Basic c3RhZmYx", "Basic !"):
            self.assertIsNone(basic_credentials(header), header)

    @given(PASSABLE.filter(lambda name: ":" not in name), PASSABLE)
    def test_every_name_and_password_comes_back(self, name: str, password: str) -> None:
        encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
        self.assertEqual(basic_credentials(f"Basic {encoded}"), (name, password))

    @given(st.text())
    def test_any_header_is_read_or_none(self, header: str) -> None:
        found = basic_credentials(f"Basic {header}")
        self.assertTrue(found is None or len(found) == 2)

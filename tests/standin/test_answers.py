from __future__ import annotations

import json
import uuid

from twisted.trial.unittest import SynchronousTestCase

from hosp_standin import answers
from hosp_standin.answers import Answer


def dress(answer: Answer, method: str = "GET", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answers.dressed(answer, method, named, id_="an-id", runtime_s=0.25, wall=0.0)


class ErrorTests(SynchronousTestCase):
    def test_json(self) -> None:
        for accept in ("", "*/*", "application/json", "application/json, text/html"):
            answer = answers.error(404, accept)
            self.assertEqual(answer.body, b'{"status":404,"error":"Not Found"}')
            self.assertEqual(answer.content_type, answers.JSON)

    def test_a_page_for_browsers(self) -> None:
        answer = answers.error(500, "text/html,application/xhtml+xml,*/*;q=0.8")
        self.assertEqual((answer.status, answer.content_type), (500, answers.HTML))
        self.assertIn(b"Internal Server Error", answer.body)

    def test_json_suffix_wins(self) -> None:
        self.assertEqual(answers.error(404, "text/html", json_suffix=True).content_type, answers.JSON)

    def test_access_denied(self) -> None:
        answer = answers.access_denied()
        self.assertEqual((answer.status, answer.body), (401, b"HTTP Basic: Access denied.\n"))
        self.assertIn(("WWW-Authenticate", 'Basic realm="Application"'), answer.headers)

    def test_pages_escape(self) -> None:
        self.assertIn(b"&lt;b&gt;", answers.page(200, "t", "<b>").body)

    def test_reasons(self) -> None:
        self.assertEqual(answers.reason(422), "Unprocessable Content")
        self.assertEqual(answers.reason(503), "Service Unavailable")


class AddressTests(SynchronousTestCase):
    def test_from_host_and_forwarded_headers(self) -> None:
        for headers, base in [
            ({"host": "hosp:3000"}, "http://hosp:3000"),
            ({"host": "h.example", "x-forwarded-proto": "https"}, "https://h.example"),
            ({"host": "h.example", "x-forwarded-proto": "https, http"}, "https://h.example"),
            ({"host": "h.example", "x-forwarded-proto": "ftp"}, "http://h.example"),
            ({"host": "h.example:443", "x-forwarded-proto": "https"}, "https://h.example"),
            ({"host": "h.example:80"}, "http://h.example"),
            ({"host": "h.example:443"}, "http://h.example:443"),
            ({"host": "h", "x-forwarded-host": "a, b"}, "http://b"),
        ]:
            self.assertEqual(answers.base_url(headers), base)


class DressedTests(SynchronousTestCase):
    def test_headers_of_a_success(self) -> None:
        headers = dict(dress(answers.json_answer(200, [])).headers)
        self.assertRegex(headers.pop("ETag"), r'\AW/"[0-9a-f]{32}"\Z')
        self.assertEqual(
            headers,
            {
                "X-Frame-Options": "SAMEORIGIN",
                "X-XSS-Protection": "0",
                "X-Content-Type-Options": "nosniff",
                "X-Permitted-Cross-Domain-Policies": "none",
                "Referrer-Policy": "strict-origin-when-cross-origin",
                "Cache-Control": "max-age=0, private, must-revalidate",
                "Vary": "Accept",
                "Content-Type": "application/json; charset=utf-8",
                "Content-Length": "2",
                "X-Request-Id": "an-id",
                "X-Runtime": "0.250000",
                "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
            },
        )

    def test_an_error_is_not_tagged(self) -> None:
        headers = dict(dress(answers.error(404, "")).headers)
        self.assertNotIn("ETag", headers)
        self.assertEqual(headers["Cache-Control"], "no-cache")

    def test_own_headers_stay(self) -> None:
        headers = dress(answers.json_answer(201, {}, (("Location", "http://h/notes/1"),))).headers
        self.assertIn(("Location", "http://h/notes/1"), headers)

    def test_not_modified(self) -> None:
        answer = answers.json_answer(200, {"a": 1})
        etag = dict(dress(answer).headers)["ETag"]
        for condition in (etag, f'"x", {etag}', "*", etag.removeprefix("W/")):
            found = dress(answer, if_none_match=condition)
            self.assertEqual((found.status, found.body), (304, b""), condition)
            headers = dict(found.headers)
            self.assertEqual(headers["ETag"], etag)
            self.assertFalse({"Content-Type", "Content-Length"} & set(headers))

    def test_modified(self) -> None:
        answer = answers.json_answer(200, {"a": 1})
        self.assertEqual(dress(answer, if_none_match='W/"other"').status, 200)
        self.assertEqual(dress(answer, "DELETE", if_none_match="*").status, 200)
        self.assertEqual(dress(answers.json_answer(201, {}), if_none_match="*").status, 201)
        self.assertEqual(dress(answers.error(404, ""), if_none_match="*").status, 404)

    def test_request_id(self) -> None:
        self.assertEqual(answers.request_id({"x-request-id": "a-1_2@b"}, "f"), "a-1_2@b")
        self.assertEqual(answers.request_id({"x-request-id": "a b<é>c"}, "f"), "abc")
        self.assertEqual(answers.request_id({"x-request-id": "x" * 300}, "f"), "x" * 255)
        self.assertEqual(answers.request_id({"x-request-id": "<>"}, "f"), "f")
        fallback = str(uuid.UUID(int=1))
        self.assertEqual(answers.request_id({}, fallback), fallback)

    def test_shown(self) -> None:
        self.assertEqual(
            json.dumps(answers.shown("http://h", "notes", {"id": 7})),
            '{"id": 7, "url": "http://h/notes/7.json"}',
        )

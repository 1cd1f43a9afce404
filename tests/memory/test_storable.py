from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers, Origin
from hospproxy.memory.storable import initial_age, media_type, media_types, passed, to_keep, why_not_kept

from .cache_rig import CONTRACT, JSON, answer

TYPES = frozenset({"application/json"})


class MediaTypeTests(SynchronousTestCase):
    def test_what_the_contract_says(self) -> None:
        for operation, expected in (
            ("listHospitals", {"application/json"}),
            ("getMe", {"application/json"}),
            ("getStatus", {"text/html"}),
        ):
            self.assertEqual(media_types(CONTRACT, CONTRACT.operation(operation)), expected)

    def test_a_reference_is_followed(self) -> None:
        error = {"$ref": "#/components/responses/Error"}
        document = {
            "paths": {"/": {"get": {"responses": {200: error}}}},
            "components": {"responses": {"Error": {"content": {"Text/Plain": {}}}}},
        }
        contract = evolve(CONTRACT, document=document)
        self.assertEqual(media_types(contract, CONTRACT.operation("getStatus")), {"text/plain"})
        del document["components"]
        self.assertEqual(media_types(contract, CONTRACT.operation("getStatus")), set())

    def test_without_parameters(self) -> None:
        for value, expected in ((b"Application/JSON ; charset=x", "application/json"), (b"", "")):
            self.assertEqual(media_type(Headers(((b"content-type", value),))), expected)
        self.assertEqual(media_type(Headers()), "")


class WhyNotKeptTests(SynchronousTestCase):
    def test_what_rails_sends_is_kept(self) -> None:
        self.assertEqual(why_not_kept(answer(b"[1]"), TYPES, 3), "")
        self.assertEqual(why_not_kept(answer(headers=(JSON,)), TYPES, 100), "")

    def test_vary_names_only_what_is_the_same_in_every_request_or_in_the_key(self) -> None:
        for vary in (b"Origin, Accept-Encoding", b"accept", b""):
            self.assertEqual(why_not_kept(answer(headers=(JSON, (b"Vary", vary))), TYPES, 100), "", vary)
        for vary in (b"Origin, X-Forwarded-For", b"*"):
            self.assertEqual(why_not_kept(answer(headers=(JSON, (b"Vary", vary))), TYPES, 100), "vary", vary)

    def test_what_hosp_asks_for_on_purpose_is_honoured(self) -> None:
        for said, why in (
            (b"max-age=0, private, must-revalidate", ""),
            (b"no-store", "no-store"),
            (b"private, NO-CACHE", "no-cache"),
            (b'no-cache="Set-Cookie"', "no-cache"),
            (b"no-cache, no-store", "no-store"),
        ):
            response = answer(headers=(JSON, (b"Cache-Control", said)))
            self.assertEqual(why_not_kept(response, TYPES, 100), why, said)
        overridden = answer(headers=(JSON, (b"Cache-Control", b"no-cache")))
        self.assertEqual(why_not_kept(overridden, TYPES, 100, override_no_cache=True), "")
        never = answer(headers=(JSON, (b"Cache-Control", b"no-cache, no-store")))
        self.assertEqual(why_not_kept(never, TYPES, 100, override_no_cache=True), "no-store")

    def test_without_types_in_the_contract_any_will_do(self) -> None:
        picture = answer(b"\x89PNG", headers=((b"Content-Type", b"image/png"),))
        self.assertEqual(why_not_kept(picture, frozenset(), 100), "")
        self.assertEqual(why_not_kept(answer(b"{", headers=(JSON,)), frozenset(), 100), "malformed")

    def test_a_body_that_cannot_be_read_is_no_failure(self) -> None:
        for body in (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"nan", b"\xff"):
            self.assertEqual(why_not_kept(answer(body), TYPES, 1 << 20), "malformed", body[:10])


class ShapeTests(SynchronousTestCase):
    def test_the_age_of_the_answer(self) -> None:
        for value, expected in ((b"12", 12), (b"x", 0), (b"", 0)):
            self.assertEqual(initial_age(Headers(((b"Age", value),))), expected)
        self.assertEqual(initial_age(Headers()), 0)

    def test_a304_from_memory_has_no_cookie_and_one_from_hosp_has(self) -> None:
        cookie = (b"Set-Cookie", b"a=b")
        for response, expected in ((answer(b"[]", cookie), b"a=b"), (to_keep(answer(b"[]", cookie)), None)):
            made = passed(response, b"hit", [b"*"])
            self.assertEqual((made.status, made.headers.get(b"set-cookie")), (304, expected))
            self.assertIs(made.origin, response.origin)

    def test_no_transform_is_passed_on(self) -> None:
        for said, expected in (
            (b"max-age=0, No-Transform", b"private, no-store, no-transform"),
            (b"max-age=0, private", b"private, no-store"),
        ):
            made = passed(to_keep(answer(b"[]", (b"Cache-Control", said))), b"hit")
            self.assertEqual(made.headers.all(b"cache-control"), [expected])

    def test_without_acondition_it_is_whole(self) -> None:
        for condition in (None, []):
            self.assertEqual(passed(answer(), b"hit", condition).status, 200)

    def test_what_is_kept_comes_from_memory(self) -> None:
        self.assertIs(to_keep(answer()).origin, Origin.MEMORY)

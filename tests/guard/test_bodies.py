"""A large body is read only for clients that HOSP has accepted."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Identified
from hospproxy.guard import documents
from hospproxy.http.errors import Refused
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.interfaces import Proceed
from tests.rig import CONTRACT, STAFF1, Rig

LARGE = documents.LARGE_BYTES + 1
SCREEN = "/patients/7/screen"


class Coming:
    """A body that its client has not sent yet."""

    def __init__(self, body: bytes | Exception) -> None:
        self.body = body
        self.reads = 0

    async def read(self) -> bytes:
        self.reads += 1
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


class BodiesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()

    def send(
        self, target: str, incoming: Coming, auth: bytes | None = STAFF1, method: str = "POST"
    ) -> Deferred[Response]:
        fields = () if auth is None else ((b"authorization", auth),)
        client = Client("127.0.0.1", "127.0.0.1", (), "https", "proxy.test", "request-1")
        request = Request(method, target.encode(), None, (1, 1), Headers(fields), None, client, incoming)
        return self.rig.chain.handle(request)

    def answer(self, *args: Any, **more: Any) -> tuple[int, Any]:
        answer = self.rig.get(self.send(*args, **more))
        is_json = (answer.headers.get(b"content-type") or b"").startswith(b"application/json")
        return answer.status, json.loads(answer.body) if is_json else answer.body

    def images(self, count: int = 3, size: int = 40_000) -> bytes:
        return json.dumps({"images": ["x" * size] * count, "more": 1}).encode()

    def test_a_first_request_that_is_large_succeeds(self) -> None:
        coming = Coming(self.images())
        self.assertEqual(self.answer(SCREEN, coming)[0], 200)
        self.assertEqual(coming.reads, 1)
        self.assertEqual([call.operation.id for call in self.rig.hosp.calls][:2], ["getMe", "screenPatient"])
        sent = msgspec.json.encode(self.rig.hosp.seen("screenPatient")[0].document)
        self.assertEqual(json.loads(sent), {"images": ["x" * 40_000] * 3})

    def test_nothing_is_read_for_credentials_that_hosp_refuses(self) -> None:
        wrong = b"Basic " + base64.b64encode(b"nobody:wrong")
        coming = Coming(self.images())
        self.assertEqual(self.answer(SCREEN, coming, auth=wrong)[0], 401)
        self.assertEqual(coming.reads, 0)

    def test_nor_for_none_at_all_nor_for_no_route(self) -> None:
        for target, auth, status in (
            (SCREEN, None, 401),
            (SCREEN, b"Basic !", 401),
            ("/nothing", STAFF1, 404),
            ("/hospitals/1", STAFF1, 405),
        ):
            coming = Coming(self.images())
            self.assertEqual((self.answer(target, coming, auth=auth)[0], coming.reads), (status, 0))

    def test_nor_where_a_body_means_nothing(self) -> None:
        coming = Coming(b"x" * LARGE)
        self.assertEqual(self.answer("/hospitals", coming, method="GET")[0], 200)
        self.assertEqual(coming.reads, 0)

    def test_a_large_body_that_came_whole_is_left_until_it_is_known_who_sends_it(self) -> None:
        self.patch(documents, "parse", self.fail)
        wrong = b"Basic " + base64.b64encode(b"nobody:wrong")
        self.assertEqual(
            self.rig.get(self.rig.send("POST", SCREEN, body=b"[" * LARGE, auth=wrong)).status, 401
        )

    def test_what_is_wrong_with_it_is_answered_and_recorded_with_who_sent_it(self) -> None:
        wrong = json.dumps({"images": ["x" * 70_000, 1]}).encode()
        status, said = self.answer(SCREEN, Coming(wrong))
        self.assertEqual((status, said["field"]), (422, "images.1"))
        exchange = next(one for one in self.rig.exchanges if not one.own)
        self.assertIsNotNone(exchange.trace.identity)
        self.assertIn("schema:body:images.1", exchange.trace.rule_hits)
        self.assertEqual(self.rig.hosp.seen("screenPatient"), [])
        for body, expected in ((b'{"images":["' + b"x" * LARGE, 400), (b"", 400), (b"[1," * LARGE, 422)):
            self.assertEqual(self.answer(SCREEN, Coming(body))[0], expected)

    def test_a_body_that_does_not_come_whole(self) -> None:
        status, _ = self.answer(SCREEN, Coming(Refused("The body took too long to arrive.", status=408)))
        self.assertEqual(status, 408)
        self.assertEqual(self.rig.hosp.seen("screenPatient"), [])

    def test_nothing_of_the_body_itself_is_kept(self) -> None:
        inside: list[Request] = []

        class Inside:
            async def process(inner, exchange: Identified, proceed: Proceed) -> Response:
                inside.append(exchange.request)
                return await proceed(exchange)

        self.rig = Rig(put_in={"outward.conditions": Inside()})
        self.answer(SCREEN, Coming(self.images()))
        first = next(one for one in self.rig.exchanges if not one.own)
        self.assertEqual({one.body for one in (first.request, *inside)}, {None})
        self.assertEqual({one.incoming for one in inside}, {None})

    def test_the_clients_own_sending_is_not_counted_against_its_deadline(self) -> None:
        class Slow(Coming):
            async def read(inner) -> bytes:
                self.rig.clock.advance(30)
                return await Coming.read(inner)

        self.assertEqual(self.answer(SCREEN, Slow(self.images()))[0], 200)

    def test_a_large_write_is_a_text_again(self) -> None:
        note = {"title": "A", "body": "é" * 50_000, "patient_id": 7}
        self.assertEqual(self.answer("/notes", Coming(json.dumps(note).encode()))[0], 201)
        self.assertEqual(self.rig.hosp.seen("createNote")[0].document["body"], note["body"])

    def test_a_text_too_long_for_its_field(self) -> None:
        status, said = self.answer(
            "/notes", Coming(json.dumps({"body": "a" * 70_000, "patient_id": 7}).encode())
        )
        self.assertEqual((status, said["field"], said["detail"]), (422, "body", "The field is too long."))

    def test_a_short_body_is_judged_before_it_is_asked_who_sends_it(self) -> None:
        self.assertEqual(self.rig.get(self.rig.send("POST", "/hospitals", {}, auth=None)).status, 422)
        self.assertEqual(self.rig.hosp.calls, [])

    def test_the_limit_that_the_contract_sets_is_beyond_what_is_left(self) -> None:
        self.assertGreater(CONTRACT.operation("screenPatient").max_body_bytes, documents.LARGE_BYTES)

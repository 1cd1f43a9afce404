"""Requests that wait while the state folder changes hands, and requests relayed to the new process."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.exchange.exchange import Deadline, Exchange
from hospproxy.http.errors import ProxyError, RecordFailed, Refused
from hospproxy.http.messages import Client, ClientCertificate, Headers, Request, Response
from hospproxy.interfaces import IHandler
from hospproxy.replacement.messages import FromSuccessor, ToSuccessor
from hospproxy.replacement.relay import Relay, RemoteChain
from hospproxy.replacement.relay_server import RelayServer
from hospproxy.replacement.relayed import sent_response

CLIENT = Client(
    peer="10.0.0.1", address="192.0.2.7", chain=("10.0.0.1",), host="hosp.test", request_id="r1",
    certificate=ClientCertificate("CN=ann", ("ann",), "ab"), via="1.1 front",
)  # fmt: skip
POST = Request(
    "POST",
    b"/notes",
    b"a=1",
    (1, 1),
    Headers(((b"authorization", b"Basic x"), (b"x", b"\xff"))),
    b"{}",
    CLIENT,
)


def exchange_of(request: Request = POST, deadline: float = 28.0) -> Exchange:
    return Exchange(request, 0.0, 0.0, Deadline(deadline))


def answered(diversion: Any, exchange: Exchange) -> Deferred[Response]:
    return Deferred.fromCoroutine(diversion.answer(exchange))


class Here:
    """A chain that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Exchange] = []

    async def answer(self, exchange: Exchange) -> Response:
        self.asked.append(exchange)
        return Response(201)

    async def refusal(self, exchange: Exchange, error: ProxyError) -> Response:
        self.asked.append(exchange)
        return Response(error.status)


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.there = Clock(), Here()
        self.relay = Relay(self.clock)

    def test_compressed_content_is_passed_on_as_it_is_sent(self) -> None:
        self.assertEqual(sent_response(1, Response(200, body=b"plain", coded=b"packed")).body, b"packed")

    def test_a_request_waits_not_begun_and_its_deadline_waits_too(self) -> None:
        exchange = exchange_of()
        waiting = answered(self.relay, exchange)
        self.clock.advance(5)
        self.assertNoResult(waiting)
        self.assertEqual((self.relay.waiting, self.there.asked), (1, []))
        self.relay.lead_to(self.there)
        self.assertEqual(self.successResultOf(waiting).status, 201)
        self.assertEqual((self.relay.waiting, exchange.deadline), (0, 33.0))

    def test_later_requests_go_on_at_once(self) -> None:
        self.relay.lead_to(self.there)
        self.assertEqual(self.successResultOf(answered(self.relay, exchange_of())).status, 201)

    def test_a_refusal_waits_like_a_request(self) -> None:
        waiting = Deferred.fromCoroutine(self.relay.refusal(exchange_of(), Refused("no", status=413)))
        self.assertEqual(self.relay.waiting, 1)
        self.relay.lead_to(self.there)
        self.assertEqual(self.successResultOf(waiting).status, 413)

    def test_a_client_that_leaves_has_never_sent_it(self) -> None:
        waiting = answered(self.relay, exchange_of())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.relay.lead_to(self.there)
        self.assertEqual((self.relay.waiting, self.there.asked), (0, []))


@implementer(IHandler)
class NewChain:
    """The chain of the new process; the test gives the responses."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.errors: list[ProxyError] = []
        self.responses: list[Deferred[Response]] = []
        self.left = 0

    def handle(self, request: Request) -> Deferred[Response]:
        def left(_: object) -> None:
            self.left += 1

        self.requests.append(request)
        self.responses.append(Deferred(left))
        return self.responses[-1]

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        self.errors.append(error)
        return self.handle(request)

    def body_limit(self, method: str, path: bytes) -> int:
        return 0


class Body:
    """A body that arrives when it is wanted, or does not."""

    def __init__(self, content: Deferred[bytes]) -> None:
        self._content = content

    async def read(self) -> bytes:
        return await self._content


class RemoteTests(SynchronousTestCase):
    """Both ends, with all messages as bytes between them."""

    def setUp(self) -> None:
        self.chain = NewChain()
        self.remote = RemoteChain(self.to_new)
        self.server = RelayServer(self.chain, self.to_old)
        self.cut = False

    def to_new(self, message: ToSuccessor) -> None:
        if not self.cut:
            sent = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=ToSuccessor)
            self.server.received(sent)  # type: ignore[arg-type]

    def to_old(self, message: FromSuccessor) -> None:
        sent = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=FromSuccessor)
        self.remote.received(sent)  # type: ignore[arg-type]

    def test_the_new_process_gets_all_of_a_request_and_the_client_all_of_the_response(self) -> None:
        answer = answered(self.remote, exchange_of())
        self.assertEqual(self.chain.requests, [POST])
        self.chain.responses[0].callback(Response(201, Headers(((b"location", b"/notes/4"),)), b'{"id":4}'))
        response = self.successResultOf(answer)
        self.assertEqual(
            (response.status, response.headers.pairs, response.body),
            (201, ((b"location", b"/notes/4"),), b'{"id":4}'),
        )
        self.assertIsNone(response.handed_over)
        self.assertEqual(self.server.running, 0)

    def test_the_ledger_learns_whether_the_client_got_the_response(self) -> None:
        told: list[bool] = []
        for whole in (True, False):
            answer = answered(self.remote, exchange_of())
            self.chain.responses[-1].callback(Response(201, handed_over=told.append))
            taken = self.successResultOf(answer).handed_over
            assert taken is not None
            taken(whole)
        self.assertEqual(told, [True, False])

    def test_a_client_that_leaves_cancels_its_request_there(self) -> None:
        answer = answered(self.remote, exchange_of())
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual((self.chain.left, self.server.running), (1, 0))

    def test_a_response_that_crosses_the_leaving_was_not_delivered(self) -> None:
        told: list[bool] = []
        answer = answered(self.remote, exchange_of())
        self.cut = True
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.cut = False
        self.chain.responses[0].callback(Response(201, handed_over=told.append))
        self.assertEqual(told, [False])

    def test_a_refusal_is_recorded_there_with_its_reason(self) -> None:
        error = Refused(
            "Too large.",
            status=413,
            field="body",
            retry_after_s=3,
            headers=((b"allow", b"GET"),),
            errors=(("a", "b"),),
        )
        error.limit = "max_body_bytes"
        answer = Deferred.fromCoroutine(self.remote.refusal(exchange_of(), error))
        [there] = self.chain.errors
        for name in ("detail", "status", "outcome", "limit", "field", "retry_after_s", "headers", "errors"):
            self.assertEqual(getattr(there, name), getattr(error, name), name)
        self.chain.responses[0].callback(Response(413))
        self.assertEqual(self.successResultOf(answer).status, 413)

    def test_a_large_body_is_read_first(self) -> None:
        content: Deferred[bytes] = Deferred()
        request = Request("POST", b"/notes", client=CLIENT, incoming=Body(content))
        answered(self.remote, exchange_of(request))
        self.assertEqual(self.chain.requests, [])
        content.callback(b"large")
        self.assertEqual(self.chain.requests[0].body, b"large")

    def test_a_large_body_that_is_cut_short_is_refused_there(self) -> None:
        request = Request(
            "POST", b"/notes", client=CLIENT, incoming=Body(fail(Refused("cut short", status=408)))
        )
        answered(self.remote, exchange_of(request))
        self.assertEqual([each.status for each in self.chain.errors], [408])

    def test_no_record_means_no_response(self) -> None:
        answer = answered(self.remote, exchange_of())
        self.chain.responses[0].errback(RecordFailed("disk full"))
        self.failureResultOf(answer, RecordFailed)

    def test_a_streamed_response_is_not_relayed(self) -> None:
        class Pieces:
            closed = False

            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> bytes:
                return b"x"

            async def aclose(self) -> None:
                self.closed = True

        pieces = Pieces()
        answer = answered(self.remote, exchange_of())
        self.chain.responses[0].callback(Response(200, chunks=pieces))
        self.failureResultOf(answer, RecordFailed)
        self.assertTrue(pieces.closed)

    def test_when_the_new_process_dies_its_requests_get_no_response(self) -> None:
        before = answered(self.remote, exchange_of())
        self.remote.lost()
        self.failureResultOf(before, RecordFailed)
        self.failureResultOf(answered(self.remote, exchange_of()), RecordFailed)

    def test_when_the_old_process_dies_its_clients_have_left(self) -> None:
        told: list[bool] = []
        first = answered(self.remote, exchange_of())
        answered(self.remote, exchange_of())
        self.chain.responses[1].callback(Response(201, handed_over=told.append))
        self.server.lost()
        self.assertEqual((self.chain.left, told), (1, [False]))
        self.failureResultOf(first, RecordFailed)

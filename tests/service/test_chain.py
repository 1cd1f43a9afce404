"""The order of the processors, and the chain that runs them."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hospproxy.exchange.exchange import Call, Exchange, Identified
from hospproxy.http.errors import OverCapacity, OwnNotRecorded, RecordFailed, Refused
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.interfaces import IHandler, IProcessor, Proceed
from hospproxy.own_requests import OwnRequests
from hospproxy.service.chain import IDENTITY, ORDER, OWN_ENTRY, Chain, Processors
from tests.rig import CONTRACT, Rig
from tests.stages import Unread, by_stage, identified


@implementer(IProcessor)
class Marked:
    """Notes each pass, inwards and outwards; or does something else."""

    def __init__(self, name: str, passed: list[str], does: Any = None) -> None:
        self.name = name
        self.passed = passed
        self.does = does

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        self.passed.append(self.name)
        if self.does is not None:
            return await self.does(exchange)
        response = await proceed(exchange)
        self.passed.append("-" + self.name)
        return response


async def _fine(_exchange: Exchange) -> Response:
    return Response(200)


REQUEST = Request("GET", b"/notes", client=Client(request_id="r1"))


class ChainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.passed: list[str] = []
        self.rig = Rig()
        self.own_requests = OwnRequests(self.rig.clock, lambda: 0.0)

    def chain(self, **does: Any) -> Chain:
        does = {"outward.upstream": _fine, **{name.replace("__", "."): what for name, what in does.items()}}
        return self.chain_of(by_stage({name: Marked(name, self.passed, does.get(name)) for name in ORDER}))

    def chain_of(self, processors: Processors) -> Chain:
        return Chain(
            processors,
            own_requests=self.own_requests,
            answers=self.rig.answers,
            clock=self.rig.clock,
            wall=lambda: 0.0,
            deadline_s=28,
            limit=lambda _method, _path: 7,
            meter=self.rig.meter,
        )

    def test_the_order_is_pinned(self) -> None:
        self.assertEqual(
            ORDER,
            (
                "record.audit", "guard.entrance", "guard.admission", "memory.compression",
                "guard.published_contract", "guard.cross_origin", "guard.validation", "guard.identity",
                "guard.bodies", "guard.ownership", "guard.permissions",
                "record.patient", "memory.screening", "memory.cache", "record.intent", "outward.writes",
                "outward.conditions", "outward.retry", "outward.gate", "outward.upstream",
            ),
        )  # fmt: skip

    def test_a_request_passes_all_of_it_there_and_back(self) -> None:
        self.successResultOf(self.chain().handle(REQUEST))
        self.assertEqual(self.passed, [*ORDER, *("-" + name for name in reversed(ORDER[:-1]))])

    def test_a_part_left_out_is_passed_over_and_an_unknown_one_refused(self) -> None:
        with self.assertRaises(ValueError):
            Rig(put_in={"guard.nothing": Marked("x", [])})
        verifyObject(IHandler, self.chain())

    def test_a_part_in_the_wrong_place_is_refused(self) -> None:
        for wrong in (
            Processors(Unread(), before={OWN_ENTRY: Marked("x", [])}),
            Processors(Unread(), behind={"guard.admission": Marked("x", [])}),
            Processors(Unread(), behind={IDENTITY: Marked("x", [])}),
        ):
            self.assertRaises(ValueError, self.chain_of, wrong)

    def test_without_an_identity_check_nobody_is_identified_and_the_rest_goes_on(self) -> None:
        seen: list[Any] = []

        async def upstream(exchange: Exchange) -> Response:
            seen.append(exchange)
            return Response(200)

        behind = {"outward.upstream": Marked("outward.upstream", [], upstream)}
        self.successResultOf(self.chain_of(Processors(Unread(), behind=behind)).handle(REQUEST))
        [last] = seen
        self.assertIsInstance(last, Identified)
        self.assertEqual((last.identity, last.credentials, last.offline), (None, None, False))

    def test_an_own_request_enters_at_the_cache_and_is_recorded(self) -> None:
        first = identified(request=REQUEST)
        call = Call(CONTRACT.operation("listNotes"))
        self.chain()
        asked = self.own_requests.ask(call, on_behalf_of=first, own="look")
        self.successResultOf(Deferred.fromCoroutine(asked))  # type: ignore[arg-type]
        inner = ORDER[ORDER.index(OWN_ENTRY) :]
        self.assertEqual([name for name in self.passed if name[0] != "-"], ["record.audit", *inner])

    def test_an_own_request_carries_on_whose_behalf(self) -> None:
        seen: list[Exchange] = []

        async def upstream(exchange: Exchange) -> Response:
            seen.append(exchange)
            return Response(200)

        first = identified(request=REQUEST)
        self.chain(outward__upstream=upstream)
        asked = self.own_requests.ask(
            Call(CONTRACT.operation("getNote"), ("4",)),
            on_behalf_of=first,
            own="look",
            deadline=5,
            past_cache=True,
        )
        self.successResultOf(Deferred.fromCoroutine(asked))  # type: ignore[arg-type]
        own = seen[0]
        self.assertEqual(
            (
                own.own,
                own.on_behalf_of,
                own.deadline,
                own.past_cache,
                own.trace.record_id,
                own.request.method,
            ),
            ("look", "r1", 5, True, "4", "GET"),
        )

    def test_failures_become_answers_inside_the_record(self) -> None:
        async def full(_exchange: Exchange) -> Response:
            raise OverCapacity("full")

        answer = self.successResultOf(self.chain(outward__gate=full).handle(REQUEST))
        self.assertEqual(answer.status, 503)
        self.assertEqual(self.passed[-1], "-record.audit")

    def test_a_mistake_of_ours_is_a_500_without_a_traceback(self) -> None:
        async def broken(_exchange: Exchange) -> Response:
            raise ZeroDivisionError("secret")

        answer = self.successResultOf(self.chain(outward__gate=broken).handle(REQUEST))
        self.assertEqual((answer.status, json.loads(answer.body)["error"]), (500, "Internal Server Error"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_without_a_record_there_is_no_answer(self) -> None:
        async def failed(_exchange: Exchange) -> Response:
            raise RecordFailed("disk full")

        self.failureResultOf(self.chain(record__audit=failed).handle(REQUEST), RecordFailed)

    def test_an_own_request_without_a_record_has_no_answer_that_its_asker_must_handle(self) -> None:
        async def failed(_exchange: Exchange) -> Response:
            raise RecordFailed("disk full")

        first = identified(request=REQUEST)
        self.chain(record__audit=failed)
        asked = self.own_requests.ask(Call(CONTRACT.operation("listNotes")), on_behalf_of=first, own="look")
        self.failureResultOf(Deferred.fromCoroutine(asked), OwnNotRecorded)  # type: ignore[arg-type]

    def test_what_arrival_refuses_is_recorded_and_goes_no_further(self) -> None:
        request = Request("GET", b"/x.json", headers=Headers(((b"accept", b"text/html"),)))
        answer = self.successResultOf(self.chain().refuse(request, Refused("Too large.", status=431)))
        self.assertEqual((answer.status, json.loads(answer.body)["detail"]), (431, "Too large."))
        self.assertEqual(self.passed, ["record.audit", "-record.audit"])

    def test_a_client_that_leaves_ends_a_read(self) -> None:
        ended: list[str] = []

        async def slow(exchange: Exchange) -> Response:
            exchange.trace.call = Call(CONTRACT.operation("listNotes"))
            try:
                return await Deferred()
            except CancelledError:
                ended.append("read")
                raise

        answer = self.chain(outward__gate=slow).handle(REQUEST)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(ended, ["read"])

    def test_the_limit_of_a_body_is_asked_of_who_knows(self) -> None:
        self.assertEqual(self.chain().body_limit("GET", b"/"), 7)

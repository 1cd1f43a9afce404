"""Reads and judges the large body of a request, once it is known who sends it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..interfaces import IProcessor, Proceed
from ..messages import ABSENT, Exchange, Json, Response
from ..turns import Turns
from . import documents, large_bodies
from .validation import Validation


@implementer(IProcessor)
class Bodies:
    """Takes in what guard.validation has left: a body that arrival held back, and one that is large.

    It stands behind guard.identity, so a large body costs nobody anything unless HOSP has accepted who sends it.

    :param validation: what judges every body.
    :param clock: monotonic time.
    :param turns: shared by all long work of the process.
    :param token: makes texts that nobody can guess.
    """

    def __init__(
        self,
        validation: Validation,
        clock: IReactorTime,
        turns: Turns,
        token: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._validation = validation
        self._clock = clock
        self._turns = turns
        self._token = token

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        call, request = exchange.call, exchange.request
        assert call is not None
        if call.operation.check is None or not documents.is_left(request):
            return await proceed(exchange)
        body: bytes | bytearray | None = request.body
        if request.incoming is not None:
            began = self._clock.seconds()
            body = await request.incoming.read()
            # The time of the client's own sending is not the proxy's.
            exchange.deadline += self._clock.seconds() - began
        # From here on the document stands for it.
        exchange.request = evolve(request, body=None, incoming=None)
        document = ABSENT
        if not documents.is_missing(body, call.operation):
            assert body is not None
            documents.check_type(request.headers.get(b"content-type"))
            document = await self._document(body)
        del body, request
        exchange.sent = document
        self._validation.judge(exchange, document, call.operation)
        known = documents.rebuilt(document, call.operation)
        exchange.call = evolve(call, document=documents.sendable(known, call.operation))
        del document, known
        return await proceed(exchange)

    async def _document(self, body: bytes | bytearray) -> Json:
        if len(body) <= documents.LARGE_BYTES:
            return documents.parse(body)
        return await self._turns.run(large_bodies.document(body, self._token()))

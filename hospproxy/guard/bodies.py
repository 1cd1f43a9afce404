"""Read and judge the large body of a request, once the caller is known."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..exchange.exchange import Exchange, Identified
from ..http.messages import ABSENT, Json, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import IProcessor, Proceed
from ..process.slices import SliceQueue
from . import documents, large_bodies
from .validation import Validation


@implementer(IProcessor)
class BodyCheck:
    """Takes the bodies that guard.validation left: a body that arrival has not read yet, and a large one.

    It comes after guard.identity, so a large body uses resources only if HOSP has accepted the caller.

    :param validation: judges every document.
    :param clock: monotonic.
    :param turns: shared by all long-running work of the process.
    :param token: makes random texts that cannot be guessed.
    """

    def __init__(
        self,
        validation: Validation,
        clock: IReactorTime,
        turns: SliceQueue,
        token: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._validation = validation
        self._clock = clock
        self._turns = turns
        self._token = token

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        if self.passes(exchange):
            return await proceed(exchange)
        call, request = exchange.call, exchange.request
        body: bytes | bytearray | None = request.body
        if request.incoming is not None:
            began = self._clock.seconds()
            body = await request.incoming.read()
            # The time in which the client sends is not taken from the proxy's deadline.
            exchange.due.put_off(self._clock.seconds() - began)
        document = ABSENT
        if not documents.is_missing(body, call.operation) and body is not None:
            documents.check_type(request.headers.get(b"content-type"))
            document = await self._document(body)
        # From here on the document is used, not the bytes.
        request = evolve(request, body=None, incoming=None)
        del body
        exchange.trace.sent = document
        self._validation.judge(exchange, document, call.operation)
        known = documents.rebuilt(document, call.operation)
        call = exchange.trace.call = evolve(call, document=documents.sendable(known, call.operation))
        exchange = evolve(exchange, request=request, call=call, sent=document)
        del document, known
        return await proceed(exchange)

    def passes(self, exchange: Identified) -> bool:
        """A request whose body was read already, or that has none."""
        return exchange.call.operation.check is None or not documents.is_left(exchange.request)

    def repeat(self, exchange: Exchange, _response: Response) -> Repeat | None:
        """A request without a body passes."""
        request = exchange.request
        return ALWAYS if request.body is None and request.incoming is None else None

    async def _document(self, body: bytes | bytearray) -> Json:
        if len(body) <= documents.LARGE_BYTES:
            return documents.parse(body)
        return await self._turns.run(large_bodies.document(body, self._token()))

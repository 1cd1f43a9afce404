"""In the old process: requests wait while the state folder changes hands, and then go to the process that has it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..exchange.exchange import Exchange
from ..http.errors import ProxyError, RecordFailed
from ..http.messages import Headers, Response
from ..service.chain import Diversion
from .messages import ClientLeft, Delivered, NoResponse, RelayedRequest, RelayedResponse, ToSuccessor
from .relayed import sent_error, sent_request


class Relay:
    """Takes the place of the chain: requests wait, not begun, until ``lead_to`` names who responds.

    What waits is bounded: every request belongs to an open connection, and its body to the memory budget of arrival.

    :param clock: monotonic. The time for which a request waits does not count towards its deadline.
    :ivar waiting: number of requests that wait.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._there: Diversion | None = None
        self._held: dict[Deferred[None], None] = {}

    @property
    def waiting(self) -> int:
        return len(self._held)

    def hold(self) -> None:
        """Let requests wait again, until the next ``lead_to``."""
        self._there = None

    def lead_to(self, there: Diversion) -> None:
        """Hand over the requests that wait, and all further ones."""
        self._there = there
        held, self._held = self._held, {}
        for each in held:
            if not each.called:
                each.callback(None)

    async def answer(self, exchange: Exchange) -> Response:
        """Respond to a request (Diversion)."""
        return await (await self._led(exchange)).answer(exchange)

    async def refusal(self, exchange: Exchange, error: ProxyError) -> Response:
        """Make and record the response to a request that arrival refuses (Diversion)."""
        return await (await self._led(exchange)).refusal(exchange, error)

    async def _led(self, exchange: Exchange) -> Diversion:
        began = self._clock.seconds()
        while self._there is None:
            held: Deferred[None] = Deferred()
            self._held[held] = None
            try:
                await held
            finally:
                self._held.pop(held, None)
        exchange.due.put_off(self._clock.seconds() - began)
        return self._there


class RemoteChain:
    """The chain of the successor, as the old process sees it.

    :param say: sends a message to the successor.
    """

    def __init__(self, say: Callable[[ToSuccessor], None]) -> None:
        self._say = say
        self._numbers = count(1)
        self._asked: dict[int, Deferred[Response]] = {}
        self._is_lost = False

    async def answer(self, exchange: Exchange) -> Response:
        """Respond to a request (Diversion)."""
        request = exchange.request
        body = request.body
        if request.incoming is not None:
            try:
                body = bytes(await request.incoming.read())
            except ProxyError as error:
                return await self.refusal(exchange, error)
        return await self._ask(lambda number: RelayedRequest(number, sent_request(request, body)))

    async def refusal(self, exchange: Exchange, error: ProxyError) -> Response:
        """Make and record the response to a request that arrival refuses (Diversion)."""
        sent = sent_request(exchange.request, None)
        return await self._ask(lambda number: RelayedRequest(number, sent, sent_error(error)))

    def _ask(self, message: Callable[[int], RelayedRequest]) -> Deferred[Response]:
        number = next(self._numbers)

        def left(_: Any) -> None:
            self._asked.pop(number, None)
            self._say(ClientLeft(number))

        response: Deferred[Response] = Deferred(left)
        if self._is_lost:
            response.errback(RecordFailed("the new process is gone"))
            return response
        self._asked[number] = response
        self._say(message(number))
        return response

    def received(self, message: RelayedResponse | NoResponse) -> None:
        """Pass on what the successor says; nothing if the client has left."""
        waiting = self._asked.pop(message.id, None)
        if waiting is None:
            if isinstance(message, RelayedResponse) and message.tells:
                self._say(Delivered(message.id, False))
            return
        if isinstance(message, NoResponse):
            waiting.errback(RecordFailed("the new process gave no response"))
            return
        taken: Callable[[bool], None] | None = None
        if message.tells:
            number = message.id
            taken = lambda whole: self._say(Delivered(number, whole))  # noqa: E731
        waiting.callback(Response(message.status, Headers(message.headers), message.body, handed_over=taken))

    def lost(self) -> None:
        """The successor is gone. This process does not know the outcomes of its requests; the ledger has them."""
        self._is_lost = True
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.errback(RecordFailed("the new process is gone"))

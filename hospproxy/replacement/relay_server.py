"""In the new process: responds to the requests that arrive on connections of the old one."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..arrival.streamed_response import discard
from ..http.errors import RecordFailed
from ..http.messages import Response
from ..interfaces import IHandler
from .messages import ClientLeft, Delivered, FromSuccessor, NoResponse, RelayedRequest
from .relayed import error_of, request_of, sent_response

_log = Logger()
ToServer = RelayedRequest | ClientLeft | Delivered


class RelayServer:
    """Hands relayed requests to the chain, as if they had arrived here.

    :param chain: responds to them.
    :param say: sends a message to the old process.
    """

    def __init__(self, chain: IHandler, say: Callable[[FromSuccessor], None]) -> None:
        self._chain = chain
        self._say = say
        self._running: dict[int, Deferred[Response]] = {}
        self._delivering: dict[int, Callable[[bool], None]] = {}

    @property
    def running(self) -> int:
        """The number of relayed requests that have no response yet."""
        return len(self._running)

    def received(self, message: ToServer) -> None:
        """Handle a message of the old process."""
        match message:
            case RelayedRequest():
                self._begin(message)
            case ClientLeft():
                running = self._running.get(message.id)
                if running is not None:
                    running.cancel()
            case Delivered():
                delivering = self._delivering.pop(message.id, None)
                if delivering is not None:
                    delivering(message.whole)

    def _begin(self, message: RelayedRequest) -> None:
        number, request = message.id, request_of(message.request)

        def done(result: Response | Failure) -> None:
            self._running.pop(number, None)
            if isinstance(result, Failure):
                if not result.check(CancelledError, RecordFailed):
                    _log.failure("a request from the old process failed; it gets no response", result)
                self._say(NoResponse(number))
            elif (
                result.chunks is not None
            ):  # only pages of the admin listener are streamed; it is not relayed
                discard(result)
                self._say(NoResponse(number))
            else:
                if result.handed_over is not None:
                    self._delivering[number] = result.handed_over
                self._say(sent_response(number, result))

        if message.error is None:
            response = self._chain.handle(request)
        else:
            response = self._chain.refuse(request, error_of(message.error))
        self._running[number] = response
        response.addBoth(done)

    def lost(self) -> None:
        """The old process is gone, and its clients with it."""
        running, self._running = self._running, {}
        for each in running.values():
            each.cancel()
        delivering, self._delivering = self._delivering, {}
        for tell in delivering.values():
            tell(False)

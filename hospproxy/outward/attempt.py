"""One attempt to send a request to the upstream: how far it came, and what its failure means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure

from ..http.errors import FailedAfterSending, NotSent
from ..http.messages import Headers, Origin, Response
from .answer_reader import AnswerReader
from .head import incomplete


class RequestCarrier(Protocol):
    """A connection to which a request may be written."""

    @property
    def head_status(self) -> int | None:
        """Status of the response that is being read; None before its head is complete."""

    def carry(self, attempt: Attempt) -> None:
        """Write a request, and read its response."""

    def drop(self) -> None:
        """Give the request up, and close at once."""


class Attempt:
    """A request on its way, and its one outcome. In doubt, the request counts as sent.

    :param request: all its bytes.
    :param on_sent: called just before they are written.
    :param keep: whether the connection may be kept for another request.
    :ivar done: fires with the response, or fails with what ``IUpstream.send`` raises. Cancelling it closes the
        connection.
    :ivar connection: the connection that the request was written to; None until then, and after the end.
    """

    __slots__ = ("_on_sent", "_opening", "connection", "done", "keep", "request")

    def __init__(self, request: bytes, on_sent: Callable[[], None] | None, *, keep: bool) -> None:
        self.request = request
        self.keep = keep
        self._on_sent = on_sent
        self._opening: Deferred[Any] | None = None
        self.connection: RequestCarrier | None = None
        self.done: Deferred[Response] = Deferred(self._cancelled)

    def opens(self, opening: Deferred[Any]) -> None:
        """Write the request to a connection once it is open."""
        self._opening = opening
        opening.addCallbacks(self.write, self._not_opened)

    def write(self, connection: RequestCarrier) -> None:
        """Write the request to an open connection."""
        self._opening = None
        self.connection = connection
        if self._on_sent is not None:
            self._on_sent()
        connection.carry(self)

    def answered(self, reader: AnswerReader) -> None:
        """End the attempt with the response that HOSP has sent completely."""
        self.connection = None
        head = reader.head
        assert head is not None
        self.done.callback(Response(head.status, Headers(head.fields), reader.body, Origin.UPSTREAM))

    def broke(self, head_status: int | None) -> None:
        """The connection ended before the response was complete, and nothing tells what HOSP did with the request.

        :param head_status: status of a complete head; None without one.
        """
        self.fail(incomplete(head_status))

    def fail(self, error: Exception) -> None:
        """The response may not be used, or there will be none."""
        self.connection = None
        self.done.errback(Failure(error))

    def expire(self) -> None:
        """The deadline has passed: end the attempt."""
        if self.done.called:
            return
        connection = self.connection
        if connection is None:
            self._give_up()
            self.fail(NotSent("The upstream server could not be reached in time."))
        else:
            status = connection.head_status
            connection.drop()
            self.fail(
                FailedAfterSending(
                    "The upstream server did not respond in time.", head_status=status, timed_out=True
                )
            )

    def _cancelled(self, _done: Deferred[Response]) -> None:
        if self.connection is None:
            self._give_up()
        else:
            self.connection.drop()
            self.connection = None

    def _give_up(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()

    def _not_opened(self, failure: Failure) -> None:
        if self._opening is None:
            return  # it was given up
        self._opening = None
        if failure.check(CancelledError, ConnectingCancelledError):
            failure = Failure(CancelledError())
        self.done.errback(failure)

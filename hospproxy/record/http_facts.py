"""The facts of a request that an access log needs and the audit trail does not: host, sizes, user agent.

Pure. For equal requests it is equal too, so a request that a shortcut answers costs nothing more.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from attrs import frozen
from twisted.internet.defer import CancelledError

from ..exchange.exchange import Call, Exchange
from ..http.messages import Request, Response

HIDDEN = "*"
"""Stands in a query for a value that is not written."""
_TEXT = 200
_NO_CONTENT = frozenset({204, 304})


@frozen(slots=True)
class HttpFacts:
    """Makes the member ``http`` of a record, which is there only while an access log is written.

    :param query_values: write the values of query parameters, not only their names. They may name a patient.
    """

    query_values: bool = False

    def of(
        self, exchange: Exchange, answer: Response | Exception | None, duration_s: float
    ) -> dict[str, Any]:
        """The member for a finished exchange of a client.

        :param duration_s: seconds since it arrived.
        """
        request = exchange.request
        agent = request.headers.get(b"user-agent")
        sent_at = exchange.last_attempt.sent_at
        waited_s = (
            None if sent_at is None else min(max(sent_at - exchange.arrived, 0.0), max(duration_s, 0.0))
        )
        return {
            "version": "{}.{}".format(*request.version),
            "host": request.client.host[:_TEXT] or None,
            "user_agent": None if agent is None else agent.decode("utf-8", "backslashreplace")[:_TEXT],
            "query": self._query(exchange.trace.call),
            "received": _received(request),
            "sent": _sent(request, answer),
            "waited_ms": None if waited_s is None else round(waited_s * 1000, 1),
        }

    def _query(self, call: Call | None) -> str | None:
        """The parameters that the contract knows, in one spelling; None if there are none, or none could be read."""
        if call is None or not call.query:
            return None
        pairs = (
            f"{_quoted(name)}={_quoted(value) if self.query_values else HIDDEN}" for name, value in call.query
        )
        return "&".join(pairs)[:_TEXT]


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="replace")


def _received(request: Request) -> int | None:
    """Bytes of the request's content; of content that was not read, those that its head declares."""
    if request.body is not None:
        return len(request.body)
    if request.incoming is None:
        return 0
    declared = request.headers.get(b"content-length")
    return int(declared) if declared is not None and declared.isdigit() and len(declared) < 16 else None


def _sent(request: Request, answer: Response | Exception | None) -> int | None:
    """Bytes of the response's content; None if they are not known when the record is made."""
    if isinstance(answer, CancelledError):
        return 0
    if not isinstance(answer, Response):
        return None
    if request.method == "HEAD" or answer.status in _NO_CONTENT:
        return 0
    return None if answer.chunks is not None else len(answer.content)

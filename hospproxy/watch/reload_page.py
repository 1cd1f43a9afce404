"""``POST /reload`` of the admin listener: applies the edited options file, and responds with what changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..guard.credentials import parse_basic
from ..http.errors import reason
from ..http.messages import Request, Response
from ..record.admin_events import Operator
from .audit_page import html
from .audit_page.page import is_here

PATH = b"/reload"
_TEXT = 200
_ALLOW = ((b"allow", b"POST"),)
_OWN = frozenset({b"same-origin", b"none"})
"""What browsers say of a request that no other site has caused (Fetch Metadata)."""


class ReloadOutcome(msgspec.Struct, frozen=True):
    """What a reload has changed, or why it was refused.

    :param applied: the options file is in force; otherwise the options before are.
    :param lines: what ``hospproxyctl reload`` prints.
    :param changes: key, old and new value of each option that changed; secrets are hidden.
    """

    applied: bool
    lines: list[str]
    changes: list[dict[str, Any]] = []


class ReloadPage:
    """Lets the same people reload who may log in, and without log-ins everybody on this machine.

    It reads nothing from the request: the options come from the file on this machine.

    :param reload: applies the options file, in all workers or none; None: this process was not started from options
        that can be read again.
    """

    _log = Logger()

    def __init__(self, reload: Callable[[Operator], Awaitable[ReloadOutcome]] | None = None) -> None:
        self.reload = reload

    async def answer(self, request: Request, *, logged_in: bool) -> Response:
        """Reload, and respond once the options are in force or refused. A client that leaves stops no reload.

        :param logged_in: the client has logged in.
        """
        refusal = _refusal(request, logged_in=logged_in)
        if refusal is not None:
            return refusal
        if self.reload is None:
            return _error(501, "The options of this proxy cannot be read again.")
        given = parse_basic(request.headers.get(b"authorization")) if logged_in else None
        self._log.info(
            "a reload of the options is asked for on the admin listener by {who}",
            who=given.name if given is not None else "a program on this machine",
        )
        client, user = request.client, given.name[:_TEXT] if given is not None else None
        operator = Operator(
            "admin listener", user, None, client.address[:_TEXT], client.request_id[:_TEXT] or None
        )
        waiter: Deferred[ReloadOutcome] = Deferred()
        running = Deferred.fromCoroutine(_outcome(self.reload, operator))
        running.addErrback(self._failed)
        running.addCallback(waiter.callback)
        outcome = await waiter
        return _json(200 if outcome.applied else 409, outcome)

    def _failed(self, failure: Any) -> ReloadOutcome:
        self._log.failure("a reload failed (a bug); the options in force stay", failure)
        return ReloadOutcome(False, ["it failed; the log of the proxy says more"])


async def _outcome(
    reload: Callable[[Operator], Awaitable[ReloadOutcome]], operator: Operator
) -> ReloadOutcome:
    return await reload(operator)


def _refusal(request: Request, *, logged_in: bool) -> Response | None:
    """Return the refusal of a request that may not reload, or that the page of another site may have sent."""
    if request.method != "POST":
        return _error(405, "Send a POST.", _ALLOW)
    client, headers = request.client, request.headers
    if not logged_in and not (is_here(client.peer) and is_here(client.address)):
        return _error(403, 'Without admin.access = "login" this is allowed from this machine only.')
    # A browser adds a log-in that it knows to requests that other sites cause. A form cannot send this type, and a
    # script of another site would have to ask first.
    kinds = headers.all(b"content-type")
    if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"application/json":
        return _error(403, "Send Content-Type: application/json.")
    origins, sites = headers.all(b"origin"), headers.all(b"sec-fetch-site")
    if any(each != client.origin.encode("latin-1") for each in origins) or not _OWN.issuperset(sites):
        return _error(403, "The page of another site may not reload the options.")
    return None


def _error(status: int, detail: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    return _json(status, {"status": status, "error": reason(status), "detail": detail}, more)


def _json(status: int, document: Any, more: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    return html.page(status, msgspec.json.encode(document) + b"\n", more, kind=b"application/json")

"""The audit page. A response leaves only after the client has logged in and its look is on record."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from ...guard.credentials import Credentials, parse_basic
from ...http.errors import RecordFailed
from ...http.messages import Request, Response
from ...interfaces import IJournal
from ...record.search.filters import BadFilterError
from ...record.search.rows import IndexAway, NoIndexYet
from . import html, routes
from .login import LoggedIn, LogIn, TooManyLogins, Verdict
from .looks import AuditLook, AuditLooks
from .pages import PageContext, PageNotFound, Pages

_CHALLENGE = ((b"www-authenticate", b'Basic realm="hospproxy audit", charset="UTF-8"'),)
_ALLOW = ((b"allow", b"GET, HEAD"),)
_TRY_LATER = ((b"retry-after", b"30"),)
_AWAY = (
    "The audit database does not answer; the proxy's log says why. No record is lost: all records are in the journal,"
    " where hospproxy-audit search finds them."
)
_NOT_YET = "The audit database is empty. Records arrive within seconds once it can be reached."


class AuditPage:
    """Serves everything below ``/audit``.

    :param clock: monotonic time.
    :param wall: returns seconds since the Unix epoch.
    """

    _log = Logger()

    def __init__(
        self,
        pages: Pages,
        login: LogIn,
        looks: AuditLooks,
        journal: IJournal,
        clock: Any,
        wall: Callable[[], float],
    ) -> None:
        self._pages = pages
        self._login = login
        self._looks = looks
        self._journal = journal
        self._clock = clock
        self._wall = wall

    async def answer(self, request: Request) -> Response:
        """Log the client in, build its page, and record the look.

        :raise RecordFailed: the look could not be recorded, so no page may be sent.
        """
        credentials = _claimed(request)
        if isinstance(credentials, Response):
            return credentials
        look = self._begun(request, credentials)
        found = routes.find(request.path)
        if found is not None:
            look.route, look.action = found.template, found.action
        try:
            answer = await self._judged(request, credentials, look, found)
        except CancelledError:
            await self._record_of_gone(look)
            raise
        await self._record(look, answer.status)
        return answer

    async def log_in(self, request: Request) -> Response | None:
        """Log the client in for a page that names no patient; return its refusal, or None if the log-in is right.

        Only a wrong log-in is recorded: a status page asks every five seconds.

        :raise RecordFailed: a wrong log-in could not be recorded, so no response may be sent.
        """
        credentials = _claimed(request)
        if isinstance(credentials, Response):
            return credentials
        look = self._begun(request, credentials)
        verdict = await self._login.judge(credentials, request.client.address)
        if isinstance(verdict, LoggedIn):
            return None
        refusal = self._refused(credentials, verdict, look)
        await self._record(look, refusal.status)
        return refusal

    def _begun(self, request: Request, credentials: Credentials) -> AuditLook:
        who = self._looks.claimed(credentials.name, False)
        return AuditLook(request, who, self._wall(), self._clock.seconds())

    async def _judged(
        self, request: Request, credentials: Credentials, look: AuditLook, found: routes.PageRoute | None
    ) -> Response:
        verdict = await self._login.judge(credentials, request.client.address)
        if not isinstance(verdict, LoggedIn):
            return self._refused(credentials, verdict, look)
        look.who = self._looks.auditor(verdict.name)
        try:
            return await self._page(request, look, found, verdict.name)
        except CancelledError:
            raise
        except BadFilterError as error:
            return await self._pages.form_again(verdict.name, request.query, error.field, error.words)
        except PageNotFound as error:
            return await self._pages.message(verdict.name, 404, "Not found", str(error))
        except IndexAway as error:
            return await self._away(error, verdict.name)
        except Exception:
            self._log.failure("audit page {path} failed", path=look.route)
            words = "The audit trail could not be read. The proxy's log says why."
            return await self._pages.message(verdict.name, 500, "Internal error", words)

    async def _away(self, error: IndexAway, user: str) -> Response:
        title, words = "The audit trail cannot be searched now", _AWAY
        if isinstance(error, NoIndexYet):
            title, words = "The audit trail cannot be searched yet", _NOT_YET
        else:
            self._log.error("the audit page cannot query the audit database: {why}", why=str(error))
        return await self._pages.message(user, 503, title, words, _TRY_LATER)

    def _refused(self, credentials: Credentials, verdict: Verdict, look: AuditLook) -> Response:
        look.action = "log-in failure"
        look.who = self._looks.claimed(credentials.name, getattr(verdict, "known", False))
        if isinstance(verdict, TooManyLogins):
            return _words(429, "Too many log-ins are waiting. Try again in 30 seconds.", _TRY_LATER)
        return _words(401, "The name or the password is wrong.", _CHALLENGE)

    async def _page(
        self, request: Request, look: AuditLook, found: routes.PageRoute | None, user: str
    ) -> Response:
        if found is None:
            raise PageNotFound("There is no such page.")
        if request.method not in ("GET", "HEAD"):
            words = "The audit trail is read-only: use GET or HEAD."
            return await self._pages.message(user, 405, "Not allowed", words, _ALLOW)
        return await self._pages.answer(PageContext(request, found, look, user))

    async def _record(self, look: AuditLook, status: int | None) -> None:
        passed = self._clock.seconds() - look.started
        record = self._looks.record(look, status, passed)
        await self._journal.append(record)

    async def _record_of_gone(self, look: AuditLook) -> None:
        try:
            await self._record(look, None)
        except RecordFailed as failed:  # the client is gone, so there is no response to withhold
            self._log.error(
                "a look at the audit trail was not recorded; its client had left: {reason}",
                reason=str(failed),
            )


def _claimed(request: Request) -> Credentials | Response:
    """Return the credentials of a request, or the refusal of one that has none or may send none."""
    if request.client.scheme != "https" and not is_here(request.client.peer):
        return _words(403, "Without TLS this page is available only from this machine. Use https.")
    credentials = parse_basic(request.headers.get(b"authorization"))
    if credentials is None:
        # Every browser's first request comes without credentials. It discloses nothing, so it is not recorded.
        return _words(401, "Log in as a user that was added with hospproxy-audit user.", _CHALLENGE)
    return credentials


def is_here(peer: str) -> bool:
    """Whether an address is of this machine."""
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False


def _words(status: int, words: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Build a plain-text response for a client that has not logged in; no page is rendered for strangers."""
    return html.page(status, words.encode() + b"\n", more, b"text/plain; charset=utf-8")

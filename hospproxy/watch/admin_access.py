"""Decides who may read what on the admin listener, where `admin.access` is "login"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from attrs import evolve

from ..http.messages import Headers, Request, Response
from ..keys.origin_secrets import OriginSecrets

HEALTH_CHECKS: Final = frozenset({b"/live", b"/ready"})
"""Paths that anybody may ask: they say nothing but whether the proxy is up, and whether it takes requests."""
SCRAPED: Final = frozenset({b"/metrics", b"/status.json"})
"""Paths that a program may read with a token or a client certificate."""
_OPEN: Final = HEALTH_CHECKS | {b"/style.css"}
_SCHEME: Final = b"bearer "
_CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="hospproxy metrics"')


class AdminAccess:
    """Lets programs in with a token or a client certificate, and people with their log-in to the audit page.

    :param log_in: returns the refusal of a request whose log-in is not right; None: it may be answered.
    :param read: reads the tokens that are valid now; None: there are none.
    :raise SecretError: a token is not usable.
    """

    def __init__(
        self,
        log_in: Callable[[Request], Awaitable[Response | None]],
        read: Callable[[], OriginSecrets] | None = None,
    ) -> None:
        self._log_in = log_in
        self._read = read
        self._tokens = read() if read is not None else None

    def reload(self) -> None:
        """Read the tokens again. If one is not usable, nothing changes.

        :raise SecretError: a token is not usable.
        """
        if self._read is not None:
            self._tokens = self._read()

    def is_open(self, request: Request) -> bool:
        """Whether a request needs no log-in: a health check, or a program that may read this path."""
        return request.path in _OPEN or (request.path in SCRAPED and self.is_program(request))

    def is_program(self, request: Request) -> bool:
        """Whether a request has a valid token, or its connection a certificate of ``admin.client_ca_file``."""
        if request.client.certificate is not None:
            return True
        given = request.headers.all(b"authorization")
        if self._tokens is None or len(given) != 1 or given[0][: len(_SCHEME)].lower() != _SCHEME:
            return False
        return self._tokens.know(given[0][len(_SCHEME) :].strip(b" "))

    async def refusal(self, request: Request) -> Response | None:
        """Return the response to a request that may not see what it asks for; None: it may."""
        if self.is_open(request):
            return None
        refusal = await self._log_in(request)
        if refusal is None or refusal.status != 401 or request.path not in SCRAPED or self._tokens is None:
            return refusal
        return evolve(refusal, headers=Headers((*refusal.headers.pairs, _CHALLENGE)))

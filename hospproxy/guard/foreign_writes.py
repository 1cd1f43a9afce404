"""Refuse writes that a page of another origin sends with the password that the browser has stored (docs/adr/0059).

With CORS off, no preflight succeeds. But a POST whose body has no type, or one that HTML forms have too, is sent
without a preflight, and the browser adds its stored password. Only the response is hidden from the page.
"""

from __future__ import annotations

from typing import Final

from ..exchange.exchange import Exchange
from ..exchange.words import CorsResult
from ..http.errors import Refused
from ..http.messages import Headers, Request
from ..interfaces import IMeter

OTHER_SITES: Final = (b"cross-site", b"same-site")
"""What browsers say in Sec-Fetch-Site of a page of another origin; a page cannot change it. Other programs say
nothing."""

_FORM_TYPES: Final = frozenset(
    {b"", b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"}
)
"""Types of a body that need no preflight (Fetch §2.2.2); the empty one is of a body without a type."""

RESULT: Final[CorsResult] = "write"


def needs_no_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser sends a write of a page of another origin without asking first.

    The type decides alone: the field that would need a preflight too may be Authorization, and a browser adds a
    stored password without one.
    """
    essence, _, _ = (headers.get(b"content-type") or b"").partition(b";")
    return method == "POST" and essence.strip().lower() in _FORM_TYPES


class ForeignWrites:
    """Finds writes of pages of other origins, while no origin is listed.

    :param enforce: refuse them; otherwise only record and count them.
    """

    def __init__(self, *, enforce: bool, meter: IMeter) -> None:
        self._enforce = enforce
        self._meter = meter

    def check(self, exchange: Exchange) -> None:
        """Refuse a write of a page of another origin that came without a preflight, or record it.

        :raise Refused: 403.
        """
        request: Request = exchange.request
        if request.headers.get(b"sec-fetch-site") not in OTHER_SITES:
            return
        if not needs_no_preflight(request.method, request.headers):
            return
        exchange.trace.rule_hits.append(f"cors:{RESULT}")
        self._meter.count("cors_requests_total", result=RESULT)
        if self._enforce:
            raise Refused("A page of another origin may not write here.", status=403)

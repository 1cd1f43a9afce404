"""The section [cors]; sections.py has the others."""

from __future__ import annotations

import re
from typing import ClassVar

from attrs import field, frozen

from .addresses import parse_address
from .fields import choice, listed, names, switch, whole

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_USUAL_PORTS = {"https": 443, "http": 80}


def _origin(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454 §6.2): lower-cased, without the scheme's usual port."""
    found = parse_address(text)
    if found.scheme not in _USUAL_PORTS:
        raise ValueError("an origin begins with https:// or http://")
    if not re.fullmatch(r"https?://[a-z0-9.\-\[\]:]+", text.lower()):
        raise ValueError("nothing may follow the host and port, and a name is in ASCII (xn--…)")
    scheme, _, authority = text.lower().partition("://")
    return f"{scheme}://{authority.removesuffix(f':{_USUAL_PORTS[scheme]}')}"


def _field(text: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("it is not a name of a header field")
    return text


@frozen(slots=True, kw_only=True)
class CorsSettings:
    """Lets pages of other origins use the proxy from a browser (CORS). Off while `origins` is empty."""

    LIVE: ClassVar = names("origins credentials max_age_s request_headers exposed_headers foreign_writes")
    RESTART: ClassVar = names("")

    origins: tuple[str, ...] = field(
        default=(),
        metadata=listed(
            "Origins whose pages may send requests and read responses, exactly as a browser sends them in"
            " `Origin`. There is no `*`. Empty: CORS is off.",
            "origins, each https://host or https://host:port",
            _origin,
        ),
    )
    credentials: bool = field(
        default=False,
        metadata=switch(
            "Let a page use the user name and password that the browser has stored (`credentials:"
            ' "include"`). A page that sets `Authorization` itself does not need it.'
        ),
    )
    max_age_s: int = field(
        default=600,
        metadata=whole("seconds", 0, 86400, "How long a browser may remember the answer to a preflight."),
    )
    request_headers: tuple[str, ...] = field(
        default=(),
        metadata=listed(
            "Header fields that pages may send besides those that the proxy reads.", "names of fields", _field
        ),
    )
    exposed_headers: tuple[str, ...] = field(
        default=(),
        metadata=listed(
            "Header fields of responses that pages may read besides those that the proxy itself sends.",
            "names of fields",
            _field,
        ),
    )
    foreign_writes: str = field(
        default="enforce",
        metadata=choice(
            "While `origins` is empty: a write that a browser marks as sent by a page of another origin"
            " (`Sec-Fetch-Site`), and that it sends without a preflight. `enforce` refuses it; `report` lets it"
            " pass and records it. While origins are listed, writes of pages of other origins are always refused.",
            "enforce",
            "report",
        ),
    )

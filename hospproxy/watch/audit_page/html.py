"""Renders HTML (Jinja2), and adds the header fields that restrict what a page can do in a browser."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from ...http.messages import Headers, Response

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY: Final = (
    b"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HTML: Final = b"text/html; charset=utf-8"
_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


def visible(value: Any) -> Any:
    r"""Escape hidden characters in a text as ``\u{…}``: control, bidirectional and unassigned ones.

    Text that a template has marked as HTML is not changed.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(each if each.isprintable() or each == "\n" else _spelled(each) for each in value)


def _spelled(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "  # a space of another width
    return f"\\u{{{ord(character):x}}}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Imported at the first page: it makes a start slower, and most processes render none.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("hospproxy.watch.audit_page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, values: dict[str, Any]) -> bytes:
    """Render a template. Slow for many rows, so run it in a thread."""
    return _environment().get_template(template).render(values).encode("utf-8", "replace")


def page(
    status: int,
    body: bytes,
    more: tuple[tuple[bytes, bytes], ...] = (),
    kind: bytes = HTML,
    policy: bytes = POLICY,
) -> Response:
    """Build a response with all restricting header fields.

    :param policy: what the page may load and run (Content-Security-Policy).
    """
    fields = ((b"content-type", kind), (b"content-security-policy", policy), *_ALWAYS, *more)
    return Response(status, Headers(fields), body)


def attachment(body: bytes, name: str) -> Response:
    """Build a response with an HTML file that the browser saves instead of showing it.

    :param name: of the file; ASCII without quotes.
    """
    return page(200, body, ((b"content-disposition", f'attachment; filename="{name}"'.encode("ascii")),))


@lru_cache(maxsize=1)
def _style() -> bytes:
    return files("hospproxy.watch.audit_page").joinpath("style.css").read_bytes()


def style() -> Response:
    """Return the style sheet. It holds nothing secret, so it needs no login."""
    return page(200, _style(), kind=b"text/css; charset=utf-8")

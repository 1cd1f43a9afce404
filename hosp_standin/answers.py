"""Responses as a Rails 7.2 application behind its own small web server sends them: bodies, errors and headers."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

import msgspec
from attrs import evolve, frozen

from .records import Record

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

_REASONS = {422: "Unprocessable Content"}
_REQUEST_ID_NOISE = re.compile(r"[^\w\-@]", re.ASCII)
_SECURITY_HEADERS = (
    ("X-Frame-Options", "SAMEORIGIN"),
    ("X-XSS-Protection", "0"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
)


@frozen
class Answer:
    """One response: status, body, its media type, and the headers that are specific to it."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def reason(self) -> str:
        """Reason phrase for the status line and for error bodies."""
        return reason(self.status)


def reason(status: int) -> str:
    """Reason phrase of a status, as Rack 3.1 spells it."""
    return _REASONS.get(status) or HTTPStatus(status).phrase


def json_answer(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Response with a JSON body."""
    return Answer(status, msgspec.json.encode(value), JSON, headers)


def page(status: int, title: str, words: str) -> Answer:
    """Response with a small HTML page."""
    title, words = html.escape(title), html.escape(words)
    text = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><p>{words}</p></body></html>\n"
    return Answer(status, text.encode("utf-8"), HTML)


def error(status: int, accept: str, *, json_suffix: bool = False) -> Answer:
    """Rails' error response: ``{"status":404,"error":"Not Found"}``, or a page if `accept` names HTML first."""
    if wants_html(accept) and not json_suffix:
        return page(status, f"{reason(status)} ({status})", reason(status))
    return json_answer(status, {"status": status, "error": reason(status)})


def access_denied() -> Answer:
    """Rails' response to missing or wrong credentials."""
    header = (("WWW-Authenticate", 'Basic realm="Application"'),)
    return Answer(401, b"HTTP Basic: Access denied.\n", TEXT, header)


def wants_html(accept: str) -> bool:
    """Whether an Accept header names HTML with no JSON before it."""
    for item in accept.lower().split(","):
        match item.partition(";")[0].strip():
            case "application/json" | "text/json" | "text/x-json":
                return False
            case "text/html" | "application/xhtml+xml":
                return True
    return False


def base_url(headers: Mapping[str, str]) -> str:
    """``scheme://host`` of the URLs in responses. Rails trusts X-Forwarded-Proto and X-Forwarded-Host.

    Arguments:
        headers: request headers, names in lower case.
    """
    forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = "https" if forwarded == "https" else "http"
    host = headers.get("x-forwarded-host", "").rpartition(",")[2].strip() or headers.get("host", "")
    return f"{scheme}://{host.removesuffix(':443' if scheme == 'https' else ':80')}"


def shown(base: str, resource: str, record: Record) -> dict[str, object]:
    """A record as responses show it: with its ``url``."""
    return {**record, "url": f"{base}/{resource}/{record['id']}.json"}


def request_id(headers: Mapping[str, str], fallback: str) -> str:
    """The X-Request-Id of a response: the one sent, without the characters that Rails drops, or a new one."""
    return _REQUEST_ID_NOISE.sub("", headers.get("x-request-id", ""))[:255] or fallback


def dressed(
    answer: Answer, method: str, headers: Mapping[str, str], *, id_: str, runtime_s: float, wall: float
) -> Answer:
    """Add everything that Rails and its middleware add to a response, or make the 304 that If-None-Match asks for.

    Arguments:
        headers: request headers, names in lower case.
        id_: value of X-Request-Id.
        runtime_s: value of X-Runtime, in seconds.
        wall: now, seconds since 1970, for Date.
    """
    own = [*_SECURITY_HEADERS]
    body, content_type = answer.body, answer.content_type
    status = answer.status
    # Rack::ETag tags only complete responses; Rack::ConditionalGet handles only GET and HEAD.
    if status in (200, 201):
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        own += [("ETag", etag), ("Cache-Control", "max-age=0, private, must-revalidate"), ("Vary", "Accept")]
        if status == 200 and method in ("GET", "HEAD") and _matches(headers.get("if-none-match"), etag):
            status, body, content_type = 304, b"", None
    else:
        own.append(("Cache-Control", "no-cache"))
    if content_type:
        own.append(("Content-Type", content_type))
    if status != 304:
        own.append(("Content-Length", str(len(body))))
    own += [("X-Request-Id", id_), ("X-Runtime", f"{runtime_s:.6f}"), ("Date", formatdate(wall, usegmt=True))]
    return evolve(
        answer, status=status, body=body, content_type=content_type, headers=(*own, *answer.headers)
    )


def _matches(condition: str | None, etag: str) -> bool:
    if condition is None:
        return False
    tags = [tag.strip() for tag in condition.split(",")]
    # If-None-Match uses weak comparison (RFC 9110 §13.1.2): a strong spelling of the same tag matches.
    return "*" in tags or etag in tags or etag.removeprefix("W/") in tags

"""The admin listener: health and metrics for whoever runs the proxy, on the loopback interface."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ProxyError, reason
from ..interfaces import IHandler
from ..messages import Headers, Request, Response
from .health import Health
from .metrics import CONTENT_TYPE, Metrics

_INDEX = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>hospproxy</title></head>
<body><h1>hospproxy</h1>
<ul>
<li><a href="/live">/live</a>: the process is up</li>
<li><a href="/ready">/ready</a>: it should be given requests</li>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
</ul></body></html>
"""

_NONE = Headers()


@implementer(IHandler)
class Admin:
    """Answers ``/``, ``/live``, ``/ready`` and ``/metrics``; it asks for no credentials, so loopback only."""

    _log = Logger()

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self._pages = {
            b"/": self._index,
            b"/live": self._live,
            b"/ready": self._ready,
            b"/metrics": self._numbers,
        }

    def handle(self, request: Request) -> Deferred[Response]:
        try:
            answer = self._answer(request)
        except Exception:
            self._log.failure("The admin page {path} failed", path=request.path.decode("latin-1"))
            answer = _error(500)
        return succeed(answer)

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:  # noqa: ARG002
        return succeed(_error(error.status, error.detail, error.headers))

    def body_limit(self, method: str, path: bytes) -> int:  # noqa: ARG002
        return 1024  # nothing here takes a body; some clients send one all the same

    def _answer(self, request: Request) -> Response:
        if not is_loopback(request.client.host):
            # A page on the web whose name was pointed at 127.0.0.1 could otherwise read this (DNS rebinding).
            return _error(421, "This listener answers to localhost only.")
        page = self._pages.get(request.path)
        if page is None:
            return _error(404)
        if request.method not in ("GET", "HEAD"):
            return _error(405, headers=Headers(((b"allow", b"GET, HEAD"),)))
        return page()

    def _index(self) -> Response:
        return _page(200, b"text/html; charset=utf-8", _INDEX)

    def _live(self) -> Response:
        return _json(200, {"live": True})

    def _ready(self) -> Response:
        reasons = self._health.reasons()
        return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})

    def _numbers(self) -> Response:
        return _page(200, CONTENT_TYPE, self._metrics.render())


def is_loopback(host: str) -> bool:
    """Whether an authority names this machine for itself.

    :param host: a Host field's value; "" (HTTP/1.0 without one) passes, since every browser sends one.
    """
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    if name.lower().rstrip(".") in ("", "localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _page(status: int, content_type: bytes, body: bytes, more: Headers = _NONE) -> Response:
    pairs = (
        (b"content-type", content_type),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'"),
    )
    return Response(status, Headers((*pairs, *more.pairs)), body)


def _json(status: int, document: Any, more: Headers = _NONE) -> Response:
    return _page(status, b"application/json", msgspec.json.encode(document) + b"\n", more)


def _error(status: int, detail: str = "", headers: Headers = _NONE) -> Response:
    return _json(status, {"status": status, "error": reason(status), "detail": detail}, headers)

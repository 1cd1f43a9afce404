"""Serves the status page, its data, and its scripts and style sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from ...http.messages import Request, Response
from ..audit_page import html
from . import document
from .recorder import Recorder

POLICY: Final = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'none';"
    b" base-uri 'none'; frame-ancestors 'none'"
)
_SCRIPT: Final = b"text/javascript; charset=utf-8"
_STYLE: Final = b"text/css; charset=utf-8"
_FILES: Final[Mapping[bytes, tuple[str, bytes]]] = {
    b"/status": ("status.html", html.HTML),
    b"/status.css": ("status.css", _STYLE),
    b"/status.js": ("status.js", _SCRIPT),
    b"/status-charts.js": ("charts.js", _SCRIPT),
    b"/uplot.css": ("uplot/uPlot.min.css", _STYLE),
    b"/uplot.js": ("uplot/uPlot.iife.min.js", _SCRIPT),
}
JSON: Final = b"/status.json"
PATHS: Final = frozenset({*_FILES, JSON})


@lru_cache(maxsize=len(_FILES))
def _content(name: str) -> bytes:
    return files("hospproxy.watch").joinpath("static", name).read_bytes()


class StatusPage:
    """The status page. It needs no credentials: like ``/metrics`` it names no patient and no person.

    :param reasons: returns why this process should get no requests.
    :param wall: seconds since the epoch.
    """

    def __init__(
        self,
        recorder: Recorder,
        about: document.About,
        reasons: Callable[[], Mapping[str, str]],
        wall: Callable[[], float],
    ) -> None:
        self._recorder = recorder
        self.about = about
        self._reasons = reasons
        self._wall = wall

    def answer(self, request: Request) -> Response:
        """Return the page, one of its files, or its data, for a GET of one of ``PATHS``."""
        if request.path != JSON:
            name, kind = _FILES[request.path]
            return html.page(200, _content(name), kind=kind, policy=POLICY)
        query = dict(parse_qsl((request.query or b"").decode("latin-1"), max_num_fields=None)[:10])
        window = document.window_named(query.get("window", "5m"))
        if window is None:
            return _json(400, {"status": 400, "error": "Bad Request", "detail": "window: 5m, 1h, 1d or 1w"})
        found = document.document(self._recorder, self.about, window, self._reasons(), self._wall())
        return _json(200, found)


def _json(status: int, content: object) -> Response:
    return html.page(status, msgspec.json.encode(content) + b"\n", kind=b"application/json", policy=POLICY)

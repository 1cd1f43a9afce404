"""Spans and a collector for tests."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed

from hospproxy.exchange.spans import CLIENT, Span


def span(number: int = 1, **attributes: str | int) -> Span:
    return Span(
        f"{number:032x}", f"{number:016x}", "", "", CLIENT, "GET /notes/{id}", 1_700_000_000.25, 1_700_000_001.5,
        {"http.request.method": "GET", **attributes}, False,
    )  # fmt: skip


class Collector:
    """Takes POSTs, or fails them.

    :ivar fails: with what; None: it takes them.
    :ivar hangs: it never answers.
    """

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.hangs = False
        self.bodies: list[bytes] = []
        self.headers: Mapping[str, str] = {}
        self.closed = False

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.bodies.append(body)
        self.headers = headers
        if self.hangs:
            await Deferred()
        if self.fails is not None:
            raise self.fails

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)

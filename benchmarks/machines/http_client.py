"""A cheap HTTP client that tells which connection it uses, with none of the proxy's code."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

PATIENCE_S = 60.0
_LIMIT = 1 << 20


@frozen
class Answer:
    """One response.

    :param status: 0 for none.
    :param fields: names lower-cased.
    """

    status: int
    fields: Mapping[str, str] = field(factory=dict)
    body: bytes = b""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    @property
    def document(self) -> Any:
        """JSON of the response; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def refused(self) -> bool:
        """Whether nothing was sent to HOSP and another attempt is worth while."""
        return self.status == 503 and "retry-after" in self.fields

    @property
    def why(self) -> str:
        """Reason that an error response gives."""
        document = self.document
        return str(document.get("detail", "")) if isinstance(document, dict) else ""


NOTHING = Answer(0)


def basic(name: str, password: str) -> str:
    """Value of the Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@define(eq=False)
class Wire:
    """One connection at a time, kept alive; opened when it is needed.

    :param port: plain HTTP on 127.0.0.1.
    """

    port: int
    _open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None, init=False)

    @property
    def own_port(self) -> int:
        """The client's port of the open connection; 0 for none."""
        if self._open is None:
            return 0
        name = self._open[1].get_extra_info("sockname")
        return int(name[1]) if name else 0

    async def ask(
        self,
        method: str,
        path: str,
        authorization: str,
        document: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; `NOTHING` if no whole response comes."""
        sent = self._request(method, path, {"Authorization": authorization, **(headers or {})}, document)
        kept = self._open is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._exchange(sent, method)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.close()
        if kept and method == "GET":
            # A kept connection may have been closed before the request arrived: a read may be sent again.
            return await self.ask(method, path, authorization, document, headers)
        return NOTHING

    def _request(self, method: str, path: str, headers: Mapping[str, str], document: object) -> bytes:
        body = b"" if document is None else json.dumps(document).encode()
        fields = {"Host": f"127.0.0.1:{self.port}", "Accept": "application/json", **headers}
        if body:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()))
        return "\r\n".join((*lines, "", "")).encode() + body

    async def _exchange(self, sent: bytes, method: str) -> Answer:
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self.port, limit=_LIMIT)
        reader, writer = self._open
        writer.write(sent)
        answer = _read_head(await reader.readuntil(b"\r\n\r\n"))
        if method != "HEAD" and answer.status not in (204, 304):
            body = await reader.readexactly(int(answer.fields["content-length"]))
            answer = Answer(answer.status, answer.fields, body)
        if answer.fields.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection if one is open."""
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None


def _read_head(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Answer(int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs})

"""Clients for tests: plain requests, raw bytes, and the stand-in's control port. They run in threads of their own.

    answer = await ask(proxy.url, "GET", "/hospitals", user="staff1")
    assert (answer.status, answer.json()[0]["id"]) == (200, 9)

They use none of the proxy's code, so an error in it cannot hide here.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

PATIENCE_S = 45.0
_ANY = object()


@frozen
class Answer:
    """One response as it arrived.

    :param fields: names lower-cased, in order.
    """

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str | None:
        """First value of a field."""
        return next((value for given, value in self.fields if given == name.lower()), None)

    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


def basic(user: str, password: str | None = None) -> str:
    """Value of Authorization. The seed's passwords follow from the names (``staff1``: ``password1``)."""
    if password is None:
        password = user.replace("staff", "password")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask(
    url: str,
    method: str,
    path: str,
    document: Any = _ANY,
    *,
    user: str | None = None,
    password: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Deferred[Answer]:
    """Send one request on a connection of its own.

    :param document: sent as JSON.
    :param user: whose credentials to send; None for none.
    :param body: sent as it is, instead of a document.
    """
    fields = {} if user is None else {"Authorization": basic(user, password)}
    if document is not _ANY:
        body = json.dumps(document).encode()
        fields["Content-Type"] = "application/json"
    fields.update(headers or {})
    return deferToThread(_ask, url, method, path, body, fields)


def _ask(url: str, method: str, path: str, body: bytes | None, fields: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=PATIENCE_S, context=unverified())
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body=body, headers=dict(fields))
        return _read(connection.getresponse())
    finally:
        connection.close()


def raw(url: str, sent: bytes, *, then: bytes | None = None, method: str = "GET") -> Deferred[Answer]:
    """Send bytes as they are, on a connection of their own; return the first whole response.

    :param then: sent when ``100 Continue`` has come.
    :param method: responses to HEAD have no body.
    """
    return deferToThread(_raw, url, sent, then, method)


def _raw(url: str, sent: bytes, then: bytes | None, method: str) -> Answer:
    with connect(url) as connection:
        connection.sendall(sent)
        if then is not None:
            interim = b""
            while not interim.endswith(b"\r\n\r\n"):
                piece = connection.recv(1)
                if not piece:
                    raise AssertionError(f"no 100 Continue but {interim!r} and the end")
                interim += piece
            assert interim.startswith(b"HTTP/1.1 100"), interim
            connection.sendall(then)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return _read(answer)


def connect(url: str) -> socket.socket:
    """Open a connection, with TLS for https."""
    parts = urlsplit(url)
    plain = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)
    return (
        unverified().wrap_socket(plain, server_hostname=parts.hostname) if parts.scheme == "https" else plain
    )


def unverified() -> ssl.SSLContext:
    """TLS without certificate verification, which other tests cover."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _read(answer: http.client.HTTPResponse) -> Answer:
    body = answer.read()
    fields = tuple((name.lower(), value) for name, value in answer.getheaders())
    return Answer(answer.status, fields, body)


async def control(control_url: str, method: str, path: str, document: Any = _ANY) -> Any:
    """Call the stand-in's control port; return its JSON.

    :raise AssertionError: it refuses.
    """
    answer = await ask(control_url, method, path, document)
    assert answer.status == 200, answer.body
    return answer.json()


async def journal(control_url: str, kind: str, resource: str | None = None) -> list[dict[str, Any]]:
    """Entries of one kind from the stand-in's journal, in order."""
    path = f"/journal?kind={kind}" + (f"&resource={resource}" if resource else "")
    answer = await control(control_url, "GET", path)
    entries: list[dict[str, Any]] = answer["entries"]
    return entries


async def script(
    control_url: str, *faults: str | None, method: str | None = None, path: str | None = None
) -> None:
    """Set faults for the next matching requests to HOSP, in order; None lets one pass."""
    scripted = [{"fault": fault, "method": method, "path": path} for fault in faults]
    await control(control_url, "POST", "/script", {"faults": scripted})

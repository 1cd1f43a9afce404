"""Turns a Call into the request on the wire. The request is built anew: it contains none of the client's own bytes."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import msgspec
from attrs import field, frozen

from ..exchange.exchange import Call
from ..http.messages import ABSENT, Client

_ACCEPT = {"json": b"application/json", "html": b"text/html", "any": b"*/*"}
_PORTS = {"http": 80, "https": 443}
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*+")
_TARGET = re.compile(r"/[!-~]*+")
VIA = "hospproxy"
"""The proxy's name in Via. Each installation appends a suffix of its own (``via_name``)."""


def via_name(key: bytes) -> str:
    """An installation's name in Via: shared by its workers and machines, unlike any other installation's.

    :param key: derived from the master key for this purpose.
    """
    return f"{VIA}-{key[:4].hex()}"


def came_by(via: str, name: str) -> bool:
    """Whether a request has passed the proxy of this name before: a loop (RFC 9110 §7.6.3).

    :param via: the value of Via, all lines joined with commas.
    """
    return any(member.split()[1:2] == [name] for member in via.split(","))


@frozen(slots=True)
class UpstreamTarget:
    """Where the upstream is: the parsed option ``upstream.url``.

    :param host: name or address; IPv6 without brackets.
    :param base: path before every path of the contract, without a trailing slash.
    """

    scheme: str
    host: str
    port: int
    base: str = ""

    @classmethod
    def from_url(cls, url: str) -> UpstreamTarget:
        """Parse the option ``upstream.url``. The options check has already validated it."""
        parts = urlsplit(url)
        return cls(
            parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], parts.path.rstrip("/")
        )

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Value of Host, without the scheme's default port (RFC 9110 §4.2.3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@frozen(slots=True)
class UpstreamRequest:
    """One request, ready to be written.

    :param target: path and query, as they are written (RFC 9112 §3.2.1).
    :param body: None: no body.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)

    def wire(self, *, keep: bool) -> bytes:
        """Serialize the request as HTTP/1.1, with its body.

        :param keep: whether the connection may stay open for another request.
        :raise ValueError: a value could end its line, and so add fields or a request of its own.
        """
        if _TARGET.fullmatch(self.target) is None:
            raise ValueError("a request to the upstream has a target that is not written as one")
        lines = [f"{self.method} {self.target} HTTP/1.1".encode("ascii")]
        if not keep:
            lines.append(b"Connection: close")
        if self.body is not None:
            lines.append(b"Content-Length: %d" % len(self.body))
        elif self.method in ("POST", "PUT"):
            lines.append(b"Content-Length: 0")  # RFC 9110 §8.6
        lines += [b"%b: %b" % pair for pair in self.headers]
        head = b"\r\n".join(lines)
        # Arrival and validation let no such byte pass; this is the last place that can see one.
        breaks = len(lines) - 1
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
            raise ValueError("a request to the upstream has a line break inside a line")
        return b"%b\r\n\r\n%b" % (head, self.body or b"")


def build_message(call: Call, client: Client, target: UpstreamTarget, name: str = VIA) -> UpstreamRequest:
    """Build the request for a call.

    HOSP builds ``url`` and ``Location`` from Host and X-Forwarded-Proto, so it gets the values that the client used.

    :param name: the proxy's name, for Via.
    """
    path = target.base + call.operation.path(call.path)
    query = _encoded(call.query)
    body = None if call.document is ABSENT else msgspec.json.encode(call.document)
    chain = [address for address in (client.address, *client.chain) if address]
    headers = [
        (b"Host", _octets(client.host or target.authority)),
        (b"User-Agent", b"hospproxy"),
        (b"Accept", _ACCEPT.get(call.accept) or _octets(call.accept)),
        # The proxy parses, caches and compares responses, so it needs them unencoded.
        (b"Accept-Encoding", b"identity"),
        (b"X-Forwarded-Proto", _octets(client.scheme)),
    ]
    if chain:
        headers.append((b"X-Forwarded-For", _octets(", ".join(chain))))
    if client.via:
        headers.append((b"Via", _octets(f"{client.via} {name}")))
    if client.request_id:
        headers.append((b"X-Request-Id", _octets(client.request_id)))
    headers += client.trace
    if call.authorization is not None:
        headers.append((b"Authorization", call.authorization))
    if body is not None:
        headers.append((b"Content-Type", b"application/json"))
    return UpstreamRequest(call.operation.method, f"{path}{query}" or "/", tuple(headers), body)


def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """The query with its question mark; "" if there is none."""
    return "?" + "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in query]) if query else ""


def _quoted(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) is not None else quote(text, safe="")


def _octets(value: str) -> bytes:
    return value.encode("ascii", "replace")

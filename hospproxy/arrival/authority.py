"""Parse ``Host`` and other authorities, and check them against ``public_hosts`` (RFC 3986 §3.2, RFC 9110 §7.2)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from attrs import frozen

from ..http.errors import Refused

_AUTHORITY = re.compile(rb"(?P<host>[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{0,5}))?")


def parse_authority(value: bytes) -> str:
    """Return the host and port of a ``Host`` field, lower-cased; a colon without a port is dropped.

    Registered names must be DNS names. RFC 3986 would also allow percent-encoding and sub-delimiters; they have no
    use here, and two readers could disagree about where such a name ends.

    :raise Refused: 400, the value is not ``host[:port]``.
    """
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        raise Refused("Host is not a host name or address with an optional port.", field="Host")
    host, port = match["host"], match["port"]
    if host[:1] == b"[":
        try:
            ipaddress.IPv6Address(host[1:-1].decode("ascii"))
        except ValueError:
            raise Refused("Host is not a valid IPv6 address.", field="Host") from None
    if port and int(port) > 65535:
        raise Refused("Host names a port that does not exist.", field="Host")
    name = host.decode("ascii").lower()
    return f"{name}:{port.decode('ascii')}" if port else name


def without_port(authority: str) -> str:
    """Return the host of an authority that ``parse_authority`` returned; an IPv6 address keeps its brackets."""
    if authority.endswith("]"):
        return authority
    host, _, _ = authority.rpartition(":")
    return host or authority


@frozen(slots=True)
class PublicHosts:
    """The hosts that are served. An entry without a port covers every port of that host.

    :param names: lower-cased authorities; if empty, every host is served.
    """

    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> PublicHosts:
        return cls(frozenset(name.lower() for name in names))

    def serve(self, authority: str) -> bool:
        """Whether requests for this authority are served here."""
        return not self.names or authority in self.names or without_port(authority) in self.names

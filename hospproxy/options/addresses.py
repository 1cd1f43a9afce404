"""Parses addresses in the options (``http://127.0.0.1:3000``): scheme, host and port, nothing else."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from attrs import frozen

DEFAULT_PORTS = {"http": 80, "https": 443, "tcp": 601, "tls": 6514, "redis": 6379, "rediss": 6379}
"""Port for each scheme if the address has none. RFC 3195 and RFC 5425 name those of syslog over TCP and TLS."""
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\.?")


@frozen(slots=True)
class Address:
    """The address of a server or a listener.

    :param scheme: "http" or "https"; for a syslog receiver "tcp" or "tls", for Redis "redis" or "rediss".
    :param host: a name or an IP address, lower-case; IPv6 without brackets.
    :param port: 0 lets the kernel choose one (listeners only).
    """

    scheme: str
    host: str
    port: int

    @property
    def secure(self) -> bool:
        return self.scheme in ("https", "tls", "rediss")

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address; ``localhost`` is 127.0.0.1; None for any other name."""
        try:
            return ipaddress.ip_address("127.0.0.1" if self.host == "localhost" else self.host)
        except ValueError:
            return None

    @property
    def loopback(self) -> bool:
        """Whether it is a loopback address, which only this host can reach."""
        return self.ip is not None and self.ip.is_loopback

    @property
    def interface(self) -> str:
        """The IP address, for ``listenTCP``.

        :raise ValueError: the host is a name other than localhost.
        """
        if self.ip is None:
            raise ValueError(f"{self.host} is no IP address of this host")
        return str(self.ip)

    @property
    def authority(self) -> str:
        """``host:port`` as in a URL or a Host field; without the port if it is the scheme's default (RFC 3986 §3.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_address(text: str) -> Address:
    """Parse ``scheme://host[:port]`` (RFC 3986).

    :raise ValueError: it is not such an address, or holds more (path, query, user); the text says what is wrong.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(str(error)) from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("it does not start with a known scheme")
    if "@" in parts.netloc:
        raise ValueError("it must not contain a user name")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError("nothing may follow the port")
    host = (parts.hostname or "").lower()
    if not _is_host(host):
        raise ValueError(f"{host!r} is not a valid host" if host else "the host is missing")
    return Address(parts.scheme, host, DEFAULT_PORTS[parts.scheme] if port is None else port)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # An invalid IPv4 address (1.2.3.999) must not pass for a name.
        return _NAME.fullmatch(host) is not None and not re.fullmatch(r"[0-9.]+", host)
    return True

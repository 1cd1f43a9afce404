"""Determine the client's address and scheme: from the peer itself, or from a trusted proxy in front."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import Final, TypeVar

from attrs import frozen

from ...http.messages import Client, Headers
from .forwarded import ForwardedHop
from .forwarded import hops as forwarded_hops

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_Result = TypeVar("_Result")

MAX_HOPS: Final = 32
"""Maximum number of proxies to follow; entries beyond it are taken to be forged."""

_SHORT: Final = 64
"""Characters of the longest text that is remembered: hardly an address is longer, and anybody may send longer ones."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


def _remembered(function: Callable[[str], _Result]) -> Callable[[str], _Result]:
    """Remember the results for the addresses that came last: a connection's own is looked at for each limit."""
    short = lru_cache(maxsize=1024)(function)

    @wraps(function)
    def call(text: str) -> _Result:
        return short(text) if len(text) <= _SHORT else function(text)

    return call


@_remembered
def parse_address(text: str) -> Address | None:
    """Parse an address as sockets and X-Forwarded-For write it; None if it is not one.

    Port and brackets are optional. An IPv4-mapped IPv6 address (::ffff:192.0.2.1, which a dual-stack socket reports)
    is returned as IPv4.
    """
    match = _WITH_PORT.fullmatch(text)
    bare = (match[1] or match[2]) if match else text.partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@_remembered
def source_of(address: str) -> str:
    """Return what a per-address limit counts: an IPv4 address, or the /64 network of an IPv6 subscriber (RFC 6177).

    :param address: returned unchanged if it is not an IP address.
    """
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


@_remembered
def display_address(text: str) -> str:
    """Return a socket's address in the form used in audit records."""
    address = parse_address(text)
    return text if address is None else str(address)


@frozen(slots=True)
class TrustedProxies:
    """Which peers are trusted proxies, and which of their fields we believe.

    A proxy sets one field and passes others on as the client sent them, so only the configured field is read.

    :param networks: addresses of trusted proxies; empty by default, without loopback.
    :param address_field: "x-forwarded-for" or "forwarded": the field with the client's address.
    :param scheme_field: the field with the client's scheme: one like X-Forwarded-Proto, or "forwarded".
    """

    networks: tuple[Network, ...] = ()
    address_field: str = "x-forwarded-for"
    scheme_field: str = "x-forwarded-proto"

    @classmethod
    def of(cls, networks: Iterable[str]) -> TrustedProxies:
        """:raise ValueError: an entry is not an address or network."""
        return cls(tuple(ipaddress.ip_network(network, strict=False) for network in networks))

    def covers(self, address: Address | None) -> bool:
        """Whether this address is a trusted proxy."""
        return address is not None and any(
            address.version == network.version and address in network for network in self.networks
        )

    def believes(self, peer: str, announced: str | None) -> bool:
        """Whether the fields of requests on this connection are a trusted proxy's; parameters as for ``identify``."""
        return bool(self.networks) and announced != "" and self.covers(parse_address(announced or peer))

    def identify(
        self,
        peer: str,
        scheme: str,
        host: str,
        fields: Headers,
        new_id: Callable[[], str],
        *,
        announced: str | None = None,
        via: str = "",
    ) -> Client:
        """Determine the client of a request.

        :param peer: address of the socket's other end, as ``display_address`` returns it.
        :param scheme: "http" or "https", of the connection itself.
        :param host: the request's Host. X-Forwarded-Host is never used.
        :param fields: every field of the request.
        :param new_id: makes a request id.
        :param announced: source address from a PROXY header of a listed sender. It is the next hop: if it is a
            trusted proxy too, its fields are believed in turn. "": the header gave no address, so we do not know who
            set the fields. None: there was no header.
        :param via: for ``Client.via``.
        """
        nearest, through = (announced, (peer,)) if announced else (peer, ())
        if not self.believes(peer, announced):
            return Client(peer, nearest, through, scheme, host, new_id(), via=via)
        if self.address_field == "forwarded":
            hops = list(forwarded_hops(fields.all(b"forwarded"), MAX_HOPS))
        else:
            hops = _hops_of_list(fields.all(self.address_field.encode()))
        address, chain, told = self._follow(nearest, hops)
        if self.scheme_field != "forwarded":
            told = _believed_scheme(fields.all(self.scheme_field.encode()))
        return Client(
            peer=peer,
            address=address,
            chain=(*chain, *through),
            scheme=told or scheme,
            host=host,
            request_id=believed_id(fields.all(b"x-request-id")) or new_id(),
            via=via,
        )

    def _follow(self, nearest: str, hops: Iterable[ForwardedHop]) -> tuple[str, tuple[str, ...], str]:
        """Follow hops for as long as the proxy that reported them is trusted.

        :param hops: nearest first.
        :return: the client's address; the trusted proxies, from the client's side to ours; the scheme that the proxy
            nearest the client reported, "" if none did.
        """
        chain: list[str] = []
        current, scheme = nearest, ""
        for hop in hops:
            scheme = hop.scheme or scheme
            if not hop.address:
                break
            chain.append(current)
            current = hop.address
            if not self.covers(parse_address(current)):
                break
        return current, tuple(reversed(chain)), scheme


def _hops_of_list(values: list[bytes]) -> list[ForwardedHop]:
    """Return the entries of X-Forwarded-For from the right."""
    entries = b",".join(values).decode("latin-1").split(",")
    addresses = (parse_address(entry.strip(" \t")) for entry in reversed(entries[-MAX_HOPS:]))
    return [ForwardedHop("" if address is None else str(address)) for address in addresses]


def _believed_scheme(values: list[bytes]) -> str:
    """Return the last scheme in the field: the trusted peer set it. A client may have sent the earlier ones."""
    last = values[-1].rpartition(b",")[2].strip(b" \t").lower() if values else b""
    return last.decode("ascii") if last in (b"http", b"https") else ""


def believed_id(values: list[bytes]) -> str | None:
    """The request id in a trusted proxy's fields; None if there is not exactly one that can be used."""
    if len(values) != 1:
        return None
    text = values[0].decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else None

"""Who is at the other end: the peer, or the client that a listed proxy in front of us names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final

from attrs import frozen

from ...messages import Client, Headers
from .forwarded import Hop
from .forwarded import hops as forwarded_hops

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS: Final = 32
"""Proxies in front that are followed; a longer X-Forwarded-For is somebody's invention."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


def parse_address(text: str) -> Address | None:
    """An address as sockets and X-Forwarded-For write it, with or without port and brackets; None if it is none.

    IPv4 mapped into IPv6 (::ffff:192.0.2.1, what a dual-stack socket reports) is IPv4.
    """
    match = _WITH_PORT.fullmatch(text)
    bare = (match[1] or match[2]) if match else text.partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def source_of(address: str) -> str:
    """Who a limit is for: an IPv4 address, or the IPv6 network of 64 bits that one subscriber has (RFC 6177).

    :param address: what is none stands for itself.
    """
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def display_address(text: str) -> str:
    """A socket's address as it stands in records."""
    address = parse_address(text)
    return text if address is None else str(address)


@frozen(slots=True)
class Trust:
    """Which peers are proxies whose word is taken, and in which fields they say it.

    A proxy sets one field and passes others on as the client sent them, so only the one that is named is read.

    :param networks: their addresses; none by default, loopback neither.
    :param address_field: "x-forwarded-for" or "forwarded": where they name the client.
    :param scheme_field: where they say how the client came; a field like X-Forwarded-Proto, or "forwarded".
    """

    networks: tuple[Network, ...] = ()
    address_field: str = "x-forwarded-for"
    scheme_field: str = "x-forwarded-proto"

    @classmethod
    def of(cls, networks: Iterable[str]) -> Trust:
        """:raise ValueError: one of them is no address or network."""
        return cls(tuple(ipaddress.ip_network(network, strict=False) for network in networks))

    def covers(self, address: Address | None) -> bool:
        """Whether this address is listed."""
        return address is not None and any(
            address.version == network.version and address in network for network in self.networks
        )

    def identify(
        self,
        peer: str,
        scheme: str,
        host: str,
        fields: Headers,
        new_id: Callable[[], str],
        *,
        announced: str | None = None,
    ) -> Client:
        """Say who the client is.

        :param peer: address of the socket's other end, as ``display_address`` gives it.
        :param scheme: "http" or "https", as the connection is.
        :param host: what the client's Host says; X-Forwarded-Host is used from nobody.
        :param fields: every field that came.
        :param new_id: makes a request id.
        :param announced: address that a PROXY header which is believed gives as the connection's source. It is the
            next hop: if it is listed too, what it says in fields is believed in turn. "": the header gives none, so
            nobody knows whose the fields are. None: there was no header.
        """
        nearest, through = (announced, (peer,)) if announced else (peer, ())
        if not self.networks or announced == "" or not self.covers(parse_address(nearest)):
            return Client(peer, nearest, through, scheme, host, new_id())
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
            request_id=_believed_id(fields.all(b"x-request-id")) or new_id(),
        )

    def _follow(self, nearest: str, hops: Iterable[Hop]) -> tuple[str, tuple[str, ...], str]:
        """Follow hops for as long as the one who wrote of them is listed.

        :param hops: nearest first.
        :return: the client's address; the listed proxies from the client's side to ours; the scheme that the proxy
            nearest the client has seen, "" if none says.
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


def _hops_of_list(values: list[bytes]) -> list[Hop]:
    """The entries of X-Forwarded-For, from the right."""
    entries = b",".join(values).decode("latin-1").split(",")
    addresses = (parse_address(entry.strip(" \t")) for entry in reversed(entries[-MAX_HOPS:]))
    return [Hop("" if address is None else str(address)) for address in addresses]


def _believed_scheme(values: list[bytes]) -> str:
    """The last word on the scheme: the listed peer's own. What stands before it, a client may have sent."""
    last = values[-1].rpartition(b",")[2].strip(b" \t").lower() if values else b""
    return last.decode("ascii") if last in (b"http", b"https") else ""


def _believed_id(values: list[bytes]) -> str | None:
    if len(values) != 1:
        return None
    text = values[0].decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else None

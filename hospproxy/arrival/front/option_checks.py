"""Checks of [front], [origin], [cors] and PROXY headers: combinations that cannot work or are risky. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ...options.front_section import MAX_SECRETS
from ...options.sections import Settings
from ..authority import without_port
from ..fields import HOP_BY_HOP, ONCE, WITNESS

Finding = tuple[str, str]
_ASKED_FOR = frozenset({b"accept", b"idempotency-key", b"cache-control", b"if-none-match"})
"""Header fields that clients send for their own purpose, so that the secret cannot use them."""


def listeners(settings: Settings) -> Iterator[Finding]:
    """Find listeners that require a PROXY header but accept it from no address, or list senders without need."""
    for index, each in enumerate(settings.listeners):
        path = f"listeners[{index}]"
        if each.proxy_protocol and not (each.proxy_protocol_from or settings.trusted_proxies):
            yield (
                f"{path}.proxy_protocol",
                "no client can connect: list the balancers in proxy_protocol_from or trusted_proxies",
            )
        if each.proxy_protocol_from and not each.proxy_protocol:
            yield f"{path}.proxy_protocol_from", "it has no effect: proxy_protocol is false"


def origin(settings: Settings) -> Iterator[Finding]:
    """Find a secret in a header field that has another meaning, or too many secrets."""
    section = settings.origin
    name = section.header.lower().encode()
    if section.enabled and name in HOP_BY_HOP | WITNESS | ONCE | _ASKED_FOR:
        yield "origin.header", f"{section.header} has another meaning in HTTP: choose another header field"
    if len(section.secret_files) + len(section.secret_variables) > MAX_SECRETS:
        yield "origin.secret_files", f"{MAX_SECRETS} secrets at most, the old one and the new one"


def fields(settings: Settings) -> Iterator[Finding]:
    """Find header fields of [front] that do not fit together."""
    front = settings.front
    if front.scheme_field == "forwarded" and front.forwarded_header != "forwarded":
        yield "front.forwarded_proto_header", "it needs front.forwarded_header = forwarded"


def unreachable(settings: Settings) -> Iterator[Finding]:
    """Find listeners that refuse every request."""
    front = settings.front
    if front.require_https == "off" or settings.trusted_proxies:
        return
    for index, each in enumerate(settings.listeners):
        if not each.address.secure and each.plain == "serve":
            yield (
                f"listeners[{index}].plain",
                "front.require_https refuses every request on this listener: without trusted_proxies no header field"
                " can prove HTTPS",
            )


def wide(settings: Settings) -> Iterator[Finding]:
    """Find networks so wide that almost anyone may send a PROXY header."""
    for index, each in enumerate(settings.listeners):
        for number, network in enumerate(each.proxy_protocol_from):
            if network.prefixlen < (8 if network.version == 4 else 16):
                yield (
                    f"listeners[{index}].proxy_protocol_from[{number}]",
                    f"{network} is very wide: almost anyone can forge client addresses in the audit trail",
                )


def pages(settings: Settings) -> Iterator[Finding]:
    """Find origins whose pages others on the network could change."""
    for index, origin in enumerate(settings.cors.origins):
        scheme, _, host = origin.partition("://")
        if scheme == "http" and without_port(host) not in ("localhost", "127.0.0.1", "[::1]"):
            yield (
                f"cors.origins[{index}]",
                f"{origin} is without TLS: an attacker in the network can change its pages and read what they read",
            )


def errors(settings: Settings) -> Iterator[Finding]:
    """Find combinations that cannot work; the proxy does not start with them."""
    return chain(listeners(settings), origin(settings), fields(settings))


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find combinations that are risky; the proxy starts with them."""
    return chain(unreachable(settings), wide(settings), pages(settings))

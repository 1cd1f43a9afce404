"""From what the options say of listeners to open ports."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTCP

from .authority import without_port
from .certificates import Credentials, load_credentials, self_signed
from .drain import stop
from .factory import Http1Factory
from .house import House
from .plain import Plain, PlainPolicy
from .tls import Doorway, TlsFactory, intermediate

BACKLOG: Final = 1024
"""Connections that the kernel keeps for us while we are busy; Twisted's 50 overflows in a surge."""


class ListenerError(ValueError):
    """A listener that cannot be opened as it is described."""


class ListenerLike(Protocol):
    """What is needed of a listener's options; ``Listener`` is one, a section of the options file another."""

    @property
    def url(self) -> str: ...
    @property
    def certificate_file(self) -> Path | None: ...
    @property
    def private_key_file(self) -> Path | None: ...
    @property
    def plain(self) -> str: ...


@frozen(slots=True)
class Listener:
    """One listener.

    :param url: ``https://`` or ``http://``, an address of this host or localhost, and a port; port 0 takes any.
    :param certificate_file: PEM; None for the self-signed certificate.
    :param private_key_file: PEM.
    :param plain: "reject", "redirect" or "serve"; of meaning for ``http://`` only.
    """

    url: str
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    plain: str = "reject"


@frozen(slots=True)
class _Address:
    secure: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> _Address:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
            raise ListenerError(f"{url}: not http:// or https:// with a host and a port")
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        return cls(parts.scheme == "https", host, port)


class Listeners:
    """All listeners of the process. Making it reads keys and certificates; only ``listen`` binds.

    :param values: the listeners, in the order of the options.
    :param house: what their connections share.
    :param state_dir: where the self-signed certificate is, or is made.
    :param names: further ones that a self-signed certificate vouches for.
    :raise ListenerError: an address is none.
    :raise CertificateError: a certificate or key cannot be used.
    """

    def __init__(
        self, values: Sequence[ListenerLike], house: House, state_dir: Path, names: Sequence[str] = ()
    ) -> None:
        self._values = [(value, _Address.of(value.url)) for value in values]
        self._house = house
        self._state_dir = state_dir
        self._names = names
        self._doorways = [Doorway(intermediate(credentials)) for credentials in self._load()]
        self.ports: list[IListeningPort] = []

    def listen(self, reactor: IReactorTCP) -> list[IListeningPort]:
        """Bind them all, or none.

        :raise CannotListenError: one of the addresses is taken.
        """
        doorways = iter(self._doorways)
        try:
            for value, address in self._values:
                factory: Any  # Twisted's ServerFactory is generic in a way that wrappers cannot meet
                if address.secure:
                    factory = TlsFactory(next(doorways), Http1Factory(self._house), self._house.clock)
                else:
                    policy = PlainPolicy(Plain(value.plain), self._https_port())
                    factory = Http1Factory(self._house, policy)
                self.ports.append(reactor.listenTCP(address.port, factory, BACKLOG, address.host))
        except BaseException:
            for port in self.ports:
                port.stopListening()
            self.ports.clear()
            raise
        return self.ports

    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each open listener, as the system gave them."""
        bound = [cast("IPv4Address | IPv6Address", port.getHost()) for port in self.ports]
        return [(address.host, address.port) for address in bound]

    def reload(self) -> None:
        """Read all certificates and keys again; new connections use them. If one is at fault nothing changes.

        :raise CertificateError: a certificate or key cannot be used.
        """
        fresh = [intermediate(credentials) for credentials in self._load()]
        for doorway, options in zip(self._doorways, fresh, strict=True):
            doorway.options = options

    def stop(self, deadline_s: float) -> Deferred[None]:
        """Stop listening, answer what is under way, cut off what is left at the deadline (seconds from now)."""
        return Deferred.fromCoroutine(stop(self.ports, self._house.connections, deadline_s))

    def _load(self) -> list[Credentials]:
        return [self._credentials(value) for value, address in self._values if address.secure]

    def _credentials(self, value: ListenerLike) -> Credentials:
        if value.certificate_file is not None and value.private_key_file is not None:
            return load_credentials(value.certificate_file, value.private_key_file)
        if value.certificate_file is not None or value.private_key_file is not None:
            raise ListenerError(f"{value.url}: a certificate and its key go together")
        now = datetime.datetime.fromtimestamp(self._house.wall(), datetime.UTC)
        return self_signed(self._state_dir, self._hosts(), now)

    def _hosts(self) -> Iterable[str]:
        """Names that clients may know us by: each listener's own, and those of the public hosts."""
        for _, address in self._values:
            yield address.host
        for name in (*sorted(self._house.public_hosts.names), *self._names):
            yield without_port(name).strip("[]")

    def _https_port(self) -> int:
        return next((address.port for _, address in self._values if address.secure), 443)

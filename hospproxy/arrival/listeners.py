"""Open the ports that the options describe, and keep their certificates current."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from attrs import frozen
from cryptography import x509
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTCP

from ..exchange.words import Reload
from ..options.arrival_section import ArrivalSettings
from ..process.worker import TaskRunner, TaskThread
from .authority import PublicHosts, without_port
from .client_sockets import ClientSockets
from .drain import stop
from .factory import Http1Factory
from .front.proxy_protocol import ProxyHeaderFactory
from .front.trust import Network, TrustedProxies
from .listener_context import ListenerContext
from .plain import PlainHttpMode, PlainPolicy
from .tls.certificates import CERTIFICATE_NAME, CertificateError, CertificatePair, self_signed
from .tls.contexts import TlsFactory
from .tls.listener_tls import ListenerTls, PairLike, TlsMaintenance, kept_authorities, kept_pair
from .tls.renewal import FileRenewal, FileVerdict, WatchedFiles
from .tls.secure import SecureFactory

BACKLOG: Final = 1024
"""Length of the kernel's accept queue; Twisted's default of 50 overflows in a surge."""


class ListenerError(ValueError):
    """A listener cannot be opened with these options."""


class ListenerLike(Protocol):
    """The options that this module needs; ``Listener`` and a section of the options file provide them."""

    @property
    def url(self) -> str: ...
    @property
    def certificate_file(self) -> Path | None: ...
    @property
    def private_key_file(self) -> Path | None: ...
    @property
    def certificates(self) -> Sequence[PairLike]: ...
    @property
    def client_ca_file(self) -> Path | None: ...
    @property
    def client_certificates(self) -> str: ...
    @property
    def hsts_s(self) -> int: ...
    @property
    def plain(self) -> str: ...
    @property
    def proxy_protocol(self) -> bool: ...
    @property
    def proxy_protocol_from(self) -> tuple[Network, ...]: ...


@frozen(slots=True)
class Listener:
    """The options of one listener.

    :param url: ``https://`` or ``http://``, an address of this host or localhost, and a port; port 0 takes any free
        one.
    :param certificate_file: PEM; None for the self-signed certificate.
    :param private_key_file: PEM.
    :param plain: "reject", "redirect" or "serve"; used for ``http://`` only.
    :param certificates: further certificates, each for the names in it.
    :param client_ca_file: PEM; CAs that issue client certificates.
    :param client_certificates: "off", "optional" or "required".
    :param hsts_s: max-age of Strict-Transport-Security in seconds; 0 sends none.
    :param proxy_protocol: every connection must begin with a PROXY header, before TLS.
    :param proxy_protocol_from: networks that may then connect; all others are refused. Empty: the trusted proxies.
    """

    url: str
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    plain: str = "reject"
    certificates: tuple[PairLike, ...] = ()
    client_ca_file: Path | None = None
    client_certificates: str = "off"
    hsts_s: int = 0
    proxy_protocol: bool = False
    proxy_protocol_from: tuple[Network, ...] = ()


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
            raise ListenerError(f"{url}: must be http:// or https:// with a host and a port")
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        return cls(parts.scheme == "https", host, port)


def place_of(url: str) -> tuple[str, int]:
    """Return the address and port of a listener's URL.

    :raise ListenerError: it is not a listener's URL.
    """
    address = _Address.of(url)
    return address.host, address.port


class Listeners:
    """All listeners of the process. The constructor reads keys and certificates; only ``listen`` binds ports.

    :param values: the listeners, in the order of the options.
    :param context: the state that their connections share.
    :param state_dir: folder of the self-signed certificate, which is made if missing.
    :param names: further names for a self-signed certificate.
    :raise ListenerError: a URL is not usable.
    :raise CertificateError: a certificate or key is not usable.
    """

    def __init__(
        self,
        values: Sequence[ListenerLike],
        context: ListenerContext,
        state_dir: Path,
        names: Sequence[str] = (),
    ) -> None:
        self._values = [(value, _Address.of(value.url)) for value in values]
        self._context = context
        self._state_dir = state_dir
        self._names = names
        self._entrances = [self._entrance(value) for value, address in self._values if address.secure]
        self._kept: list[WatchedFiles[Any]] = [kept for each in self._entrances for kept in each.kept]
        self._renewal: FileRenewal | None = None
        self._factories: list[Http1Factory] = []
        self._in_front: list[ProxyHeaderFactory] = []
        """Those whose senders are the trusted proxies."""
        self.ports: list[IListeningPort] = []

    def listen(
        self, reactor: IReactorTCP, sockets: Sequence[socket.socket | None] | None = None
    ) -> list[IListeningPort]:
        """Bind all listeners, or none.

        :param sockets: listening sockets to use instead, one per listener (None: bind it); they are closed here
            once they are adopted.
        :raise CannotListenError: an address is taken.
        """
        entrances = iter(self._entrances)
        given = iter(sockets or ())
        clients = ClientSockets(reactor)
        try:
            for value, address in self._values:
                inside: Http1Factory
                factory: Any  # Twisted's ServerFactory is generic in a way that wrappers cannot satisfy
                if address.secure:
                    inside = SecureFactory(self._context, value.hsts_s)
                    factory = TlsFactory(next(entrances).doorway, inside, self._context.clock)
                else:
                    policy = PlainPolicy(PlainHttpMode(value.plain), self._https_port())
                    factory = inside = Http1Factory(self._context, policy)
                self._factories.append(inside)
                if value.proxy_protocol:
                    senders = TrustedProxies(value.proxy_protocol_from or self._context.trust.networks)
                    factory = ProxyHeaderFactory(factory, self._context, senders)
                    if not value.proxy_protocol_from:
                        self._in_front.append(factory)
                taken = next(given, None)
                if taken is not None:
                    self.ports.append(_adopted(reactor, taken, factory))
                else:
                    self.ports.append(reactor.listenTCP(address.port, factory, BACKLOG, address.host))
                clients.adopt(self.ports[-1])
        except BaseException:
            for port in self.ports:
                port.stopListening()
            self.ports.clear()
            raise
        if self._entrances:
            self._keep_up(TaskThread(cast("Any", reactor), "certificates"))
        return self.ports

    def _keep_up(self, worker: TaskRunner) -> None:
        """Start the checks of certificate files, ticket keys and expiry, and their metrics."""
        context, upkeep = self._context, TlsMaintenance(self._entrances, self._context.clock.seconds())

        def look_out() -> None:
            upkeep.due(context.clock.seconds(), context.wall())

        def count(result: Reload) -> None:
            context.meter.count("certificate_reloads_total", result=result)

        self._renewal = FileRenewal(self._kept, worker, self._renew, count, look_out)
        self._renewal.start(context.clock, context.limits.certificate_check_s)
        for index, entrance in enumerate(self._entrances):
            for place, file in enumerate(entrance.files):
                context.meter.gauge("certificate_expiry_seconds", self._left(index, place), file=str(file))
        look_out()

    def _left(self, index: int, place: int) -> Callable[[], float]:
        return lambda: self._entrances[index].ends()[place][1] - self._context.wall()

    def _renew(self) -> None:
        for each in self._entrances:
            each.renew()

    def apply(
        self, limits: ArrivalSettings, trust: TrustedProxies, hosts: PublicHosts, shortcuts: int
    ) -> None:
        """Apply changed options to all listeners; see ``ListenerContext.reload``."""
        for context in (self._context, *(factory.context for factory in self._factories)):
            context.reload(limits, trust, hosts, shortcuts)
        for factory in self._in_front:
            factory.senders = TrustedProxies(trust.networks)

    def addresses(self) -> list[tuple[str, int]]:
        """Return host and port of each open listener, as the system reports them."""
        bound = [cast("IPv4Address | IPv6Address", port.getHost()) for port in self.ports]
        return [(address.host, address.port) for address in bound]

    def reload(self) -> None:
        """Read all certificates and keys again, for new connections; an unusable one does not replace the old one.

        :raise CertificateError: a certificate or key is not usable; the others are in use already.
        """
        if self._renewal is not None:
            self._renewal.forget()
        wrong = []
        for each in self._kept:
            glance = each.glance(anew=True)
            verdict = each.take(glance)
            if verdict is FileVerdict.WAITING:
                each.take(glance)  # an operator asked: do not wait for a second look
            if verdict is not FileVerdict.RENEWED and glance is not None:
                wrong.append(str(glance.error))
                self._context.meter.count("certificate_reloads_total", result="failed")
        self._renew()
        if wrong:
            raise CertificateError("; ".join(wrong))

    def stop(self, deadline_s: float) -> Deferred[None]:
        """Stop listening, finish the requests in flight, abort what is left at the deadline (seconds from now)."""
        if self._renewal is not None:
            self._renewal.stop()
            self._renewal = None
        return Deferred.fromCoroutine(stop(self.ports, self._context.connections, deadline_s))

    def _entrance(self, value: ListenerLike) -> ListenerTls:
        """:raise CertificateError: a certificate, key or CA is not usable."""
        pairs = [*([value] if value.certificate_file or value.private_key_file else []), *value.certificates]
        kept, files = [], []
        for pair in pairs:
            if pair.certificate_file is None or pair.private_key_file is None:
                raise ListenerError(
                    f"{value.url}: certificate_file and private_key_file must be set together"
                )
            kept.append(kept_pair(pair.certificate_file, pair.private_key_file, self._context.wall))
            files.append(pair.certificate_file)
        if not kept:
            kept.append(WatchedFiles((), self._self_signed))
            files.append(self._state_dir / CERTIFICATE_NAME)
        return ListenerTls(kept, files, self._authorities(value), value.client_certificates == "required")

    def _authorities(self, value: ListenerLike) -> WatchedFiles[tuple[x509.Certificate, ...]] | None:
        if value.client_certificates == "off":
            return None
        if value.client_ca_file is None:
            raise ListenerError(f"{value.url}: client_certificates needs client_ca_file")
        return kept_authorities(value.client_ca_file)

    def _self_signed(self) -> CertificatePair:
        now = datetime.datetime.fromtimestamp(self._context.wall(), datetime.UTC)
        return self_signed(self._state_dir, self._hosts(), now)

    def _hosts(self) -> Iterable[str]:
        """Names for the self-signed certificate: each listener's host, the public hosts, and ``names``."""
        for _, address in self._values:
            yield address.host
        for name in (*sorted(self._context.public_hosts.names), *self._names):
            yield without_port(name).strip("[]")

    def _https_port(self) -> int:
        return next((address.port for _, address in self._values if address.secure), 443)


def _adopted(reactor: Any, taken: socket.socket, factory: Any) -> IListeningPort:
    """Accept on a socket that other processes share: it is closed here at the end, but never shut down."""
    with taken:
        port: IListeningPort = reactor.adoptStreamPort(taken.fileno(), taken.family, factory)
    return port

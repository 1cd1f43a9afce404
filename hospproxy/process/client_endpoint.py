"""Connections that we open: how to reach a host, which CAs to trust, which certificate to present, how to write."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import tcp
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from zope.interface import implementer

_WHY: Final = {
    42: "its certificate is malformed, or not valid yet",
    43: "its certificate is of an unsupported kind",
    44: "its certificate has been revoked",
    45: "its certificate, or one of its chain, has expired",
    46: "its certificate is not acceptable",
    48: "its certificate comes from no authority that is trusted here",
}
"""What the alerts mean with which OpenSSL ends a handshake. Source: RFC 8446 §6.2."""


@frozen(slots=True)
class Certificates:
    """The certificate files of a TLS client.

    :param ca_file: certificates (PEM) to trust instead of the system's.
    :param certificate_file: our own chain (PEM), for servers that ask for one.
    :param private_key_file: its key (PEM).
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Return a value that changes when one of the files is replaced.

        :raise OSError: a file is missing.
        """
        files = (self.ca_file, self.certificate_file, self.private_key_file)
        found = [each.stat() for each in files if each is not None]
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)

    def client(self, host: str) -> Any:
        """Return a TLS context that verifies a server of this name and presents our certificate.

        Twisted's default minimum is TLS 1.2. Source: RFC 9525; for HTTP RFC 9110 §4.3.4, for syslog RFC 5425 §5.2.

        :raise OSError: a file cannot be read.
        :raise ValueError: a file does not hold what it should.
        """
        trust = own = None
        if self.ca_file is not None:
            found = x509.load_pem_x509_certificates(self.ca_file.read_bytes())
            trust = trustRootFromCertificates(
                [Certificate(crypto.X509.from_cryptography(each)) for each in found]
            )
        if self.certificate_file is not None and self.private_key_file is not None:
            pem = self.private_key_file.read_bytes() + b"\n" + self.certificate_file.read_bytes()
            own = PrivateCertificate.loadPEM(pem)
        return optionsForClientTLS(host, trustRoot=trust, clientCertificate=own)


@implementer(IOpenSSLClientConnectionCreator)
@define(slots=True)
class Explained:
    """A TLS context that remembers why it refused a server's certificate.

    An error of OpenSSL says only "certificate verify failed". The alert that goes to the server says more.

    :ivar refusal: why, in words, of the latest handshake; empty if it refused nothing.
    """

    _creator: Any
    refusal: str = field(default="", init=False)

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        """Make a connection of the context; see Twisted's ``IOpenSSLClientConnectionCreator``."""
        self.refusal = ""
        connection = self._creator.clientConnectionForTLS(protocol)
        connection.set_info_callback(self._told)
        return connection

    def _told(self, _connection: Any, where: int, value: int) -> None:
        if where & SSL.SSL_CB_WRITE_ALERT == SSL.SSL_CB_WRITE_ALERT:
            self.refusal = _WHY.get(value & 0xFF, "")


class Renewed:
    """Certificates that are read again when their files change, so that no restart is needed."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._made: tuple[Any, Any] | None = None

    def of(self, host: str) -> Any:
        """Return a TLS context that verifies a server.

        The first ``host`` counts until the files change: use one object per host.

        :raise OSError: a file cannot be read.
        :raise ValueError: a file does not hold what it should.
        """
        # Made once per set of files: reading the system's certificates alone takes milliseconds.
        stamp = self._certificates.stamp()
        if self._made is None or stamp != self._made[0]:
            self._made = (stamp, self._certificates.client(host))
        return self._made[1]


def endpoint_to(
    reactor: Any, host: str, port: int, timeout_s: float, tls: Any = None
) -> IStreamClientEndpoint:
    """Return an endpoint that connects to a server.

    :param host: a name or an IP address; IPv6 without brackets.
    :param timeout_s: seconds for each address of the host.
    :param tls: ``Certificates.client(host)`` for TLS; None: plain TCP.
    """
    endpoint = _tcp_endpoint(reactor, host, port, timeout_s)
    return endpoint if tls is None else wrapClientTLS(tls, endpoint)


def write_now(transport: Any, data: bytes) -> None:
    """Write to a connection. A plain one sends at once what the system takes, if nothing else waits to be sent.

    Twisted would send in the reactor's next turn, after one ``epoll_ctl`` to begin and another to end that. Errors are
    reported as for any other write: later, as the end of the connection.
    """
    if (
        isinstance(transport, tcp.Connection) and transport.connected and not transport.TLS
        and not transport.dataBuffer and not transport._tempDataBuffer and not transport.disconnecting
        and not transport._writeDisconnecting and not transport._writeDisconnected and not transport._aborting
    ):  # fmt: skip
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


def _tcp_endpoint(reactor: Any, host: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
    try:
        version = ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, timeout=timeout_s)
    # An address skips the resolver, which would use a thread for every connection.
    kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    return kind(reactor, host, port, timeout=timeout_s)

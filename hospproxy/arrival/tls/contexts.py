"""TLS with Mozilla's "intermediate" settings, and certificates that can be replaced while running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from attrs import field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from ..factory import Http1Factory
from .certificates import CertificatePair, host_names
from .transport import TlsTransport

CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""Mozilla's "intermediate" list for TLS 1.2, without finite-field Diffie-Hellman, which no client of the last ten
years needs. TLS 1.3 has its own suites, all of them good.
"""

SESSION_S: Final = 3600
"""Lifetime of a TLS session in seconds. A client that resumes one does not show its certificate again."""


@frozen(slots=True)
class ClientAuthorities:
    """The CAs that issue client certificates.

    :param certificates: of the trusted CAs, roots or not.
    :param required: refuse clients without a certificate.
    """

    certificates: tuple[x509.Certificate, ...]
    required: bool = False


def intermediate(
    credentials: CertificatePair, authorities: ClientAuthorities | None = None
) -> CertificateOptions:
    """Return options for TLS 1.2 and 1.3, session tickets, ALPN http/1.1; no compression and no renegotiation.

    Each result has its own ticket keys and session id context: a session that began here cannot be resumed elsewhere.
    """
    # Twisted's annotations use pyOpenSSL's own classes, which pyOpenSSL deprecates in favour of cryptography's.
    own, *others = cast("tuple[Any, ...]", credentials.chain)
    trusted = [] if authorities is None else [_of_pyopenssl(each) for each in authorities.certificates]
    options = CertificateOptions(
        privateKey=cast("Any", credentials.key),
        certificate=own,
        extraCertChain=others,
        verify=authorities is not None,
        caCerts=trusted or None,
        requireCertificate=authorities is not None and authorities.required,
        enableSessionTickets=True,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        acceptableProtocols=[b"http/1.1"],
    )
    context = options.getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)  # type: ignore[attr-defined]
    context.set_timeout(SESSION_S)
    if authorities is not None:
        # Accept the CA of one department without its root: the root would vouch for everybody.
        _store_of(context).set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for each in authorities.certificates:
            context.add_client_ca(each)
    return options


def vouching(certificates: Sequence[x509.Certificate]) -> None:
    """Check that OpenSSL accepts these certificates as CAs; it is stricter about their content than cryptography.

    :raise SSL.Error: or crypto.Error, it does not accept one.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for each in certificates:
        _store_of(context).add_cert(_of_pyopenssl(each))
        context.add_client_ca(each)


def _of_pyopenssl(certificate: x509.Certificate) -> Any:
    """pyOpenSSL's certificate stores accept no other type yet."""
    return crypto.X509.from_cryptography(certificate)


def _store_of(context: SSL.Context) -> crypto.X509Store:
    return cast("crypto.X509Store", context.get_cert_store())


@frozen(slots=True)
class TlsContexts:
    """The TLS contexts of one listener, by server name.

    :param first: used if no other context has the name.
    :param named: by host name; ``*.`` at the beginning stands for exactly one label.
    """

    first: CertificateOptions
    named: Mapping[str, CertificateOptions] = field(factory=dict)

    @classmethod
    def of(
        cls, credentials: Sequence[CertificatePair], authorities: ClientAuthorities | None = None
    ) -> TlsContexts:
        """:param credentials: at least one; if two have the same name, the first one is used for it."""
        made = [intermediate(each, authorities) for each in credentials]
        named: dict[str, CertificateOptions] = {}
        if len(made) > 1:
            for options, each in zip(made, credentials, strict=True):
                for name in host_names(each.chain[0]):
                    named.setdefault(name, options)
        return cls(made[0], named)

    def pick(self, name: str) -> CertificateOptions:
        """Return the context for a name: an exact match, then a wildcard for one whole label (RFC 6125 §6.4.3)."""
        return self.named.get(name) or self.named.get("*." + name.partition(".")[2]) or self.first


@implementer(IOpenSSLServerConnectionCreator)
class TlsConnectionCreator:
    """Creates the TLS side of connections. Set ``contexts`` to replace certificates; open connections keep theirs."""

    def __init__(self, contexts: TlsContexts) -> None:
        self.contexts = contexts

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803
        return self.contexts.first.serverConnectionForTLS(tlsProtocol)

    def named(self, protocol: TLSMemoryBIOProtocol, name: str) -> SSL.Connection:
        """Create the TLS side of a connection whose client asks for this server name."""
        connection = self.contexts.pick(name).serverConnectionForTLS(protocol)
        connection.set_accept_state()
        connection.set_app_data(protocol)
        return connection


class TlsFactory(TLSMemoryBIOFactory):
    """Twisted's TLS around HTTP/1.1; it refuses connections beyond the handshake limits."""

    protocol = TlsTransport

    def __init__(self, doorway: TlsConnectionCreator, wrapped: Http1Factory, clock: IReactorTime) -> None:
        super().__init__(doorway, False, wrapped, clock)
        self.doorway = doorway
        self.handshakes = wrapped.context.handshakes
        self._http = wrapped

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        wrapped = self._http.buildProtocol(addr)
        # Behind a load balancer this is the address from its PROXY header.
        host = getattr(addr, "source", "") or getattr(addr, "host", "")
        if wrapped is None or not self.handshakes.admit(host):
            return None
        transport = self.protocol(self, wrapped)
        self.handshakes.begin(transport, host)
        return transport

"""TLS as Mozilla's "intermediate" recommends it, over certificates that can be exchanged while running."""

from __future__ import annotations

from typing import Any, Final, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from .certificates import Credentials
from .factory import Http1Factory

CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""Mozilla's "intermediate" list for TLS 1.2, without finite-field Diffie-Hellman, which every client of the last ten
years does without. TLS 1.3 has its own suites, all of them good."""


def intermediate(credentials: Credentials) -> CertificateOptions:
    """TLS 1.2 and 1.3, session tickets, ALPN http/1.1; no compression and no renegotiation."""
    # Twisted is annotated with pyOpenSSL's own classes, which pyOpenSSL deprecates in favour of cryptography's.
    own, *others = cast("tuple[Any, ...]", credentials.chain)
    options = CertificateOptions(
        privateKey=cast("Any", credentials.key),
        certificate=own,
        extraCertChain=others,
        enableSessionTickets=True,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        acceptableProtocols=[b"http/1.1"],
    )
    options.getContext().set_options(SSL.OP_NO_RENEGOTIATION)  # type: ignore[attr-defined]
    return options


@implementer(IOpenSSLServerConnectionCreator)
class Doorway:
    """Makes the TLS side of new connections. Set ``options`` to exchange certificates; open connections keep theirs."""

    def __init__(self, options: CertificateOptions) -> None:
        self.options = options

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803
        return self.options.serverConnectionForTLS(tlsProtocol)


class TlsFactory(TLSMemoryBIOFactory):
    """Twisted's TLS around HTTP/1.1; it too may turn a connection away."""

    def __init__(self, doorway: Doorway, wrapped: Http1Factory, clock: IReactorTime) -> None:
        super().__init__(doorway, False, wrapped, clock)
        self._http = wrapped

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        wrapped = self._http.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)

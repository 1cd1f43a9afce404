"""HTTP/1.1 over TLS: waits for the handshake, adds the client's certificate to requests and HSTS to responses."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from ...http.errors import ProxyError
from ...http.messages import ClientCertificate, Request, Response
from ...interfaces import IHandler
from ..factory import Http1Factory
from ..http1 import Http1Protocol
from ..listener_context import ListenerContext
from ..shortcuts import ConnectionShortcuts
from .certificates import names_of

HSTS: Final = b"strict-transport-security"


@implementer(IHandler)
@frozen(slots=True)
class Hsts:
    """Adds Strict-Transport-Security (RFC 6797 §7.1) to every response, without ``includeSubDomains``: only the
    operator of the whole domain can decide that.

    :param handler: returns the responses.
    :param value: of the field.
    """

    handler: Any
    value: bytes

    def handle(self, request: Request) -> Deferred[Response]:
        answer: Deferred[Response] = self.handler.handle(request)
        return answer.addCallback(self._with)

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        answer: Deferred[Response] = self.handler.refuse(request, error)
        return answer.addCallback(self._with)

    def body_limit(self, method: str, path: bytes) -> int:
        limit: int = self.handler.body_limit(method, path)
        return limit

    def _with(self, response: Response) -> Response:
        return response.having(HSTS, self.value)


@implementer(IHandler)
@frozen(slots=True)
class CertificateForwarding:
    """Adds the client's certificate to every request on a connection."""

    handler: Any
    certificate: ClientCertificate

    def handle(self, request: Request) -> Deferred[Response]:
        handled: Deferred[Response] = self.handler.handle(self._with(request))
        return handled

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        refused: Deferred[Response] = self.handler.refuse(self._with(request), error)
        return refused

    def body_limit(self, method: str, path: bytes) -> int:
        limit: int = self.handler.body_limit(method, path)
        return limit

    def _with(self, request: Request) -> Request:
        return evolve(request, client=evolve(request.client, certificate=self.certificate))


def described(certificate: x509.Certificate) -> ClientCertificate:
    """Return what the audit record keeps of a verified client certificate."""
    try:
        subject = certificate.subject.rfc4514_string()
    except ValueError:
        subject = ""  # verified, but not in RFC 4514 form: the fingerprint identifies it
    return ClientCertificate(subject, names_of(certificate), certificate.fingerprint(hashes.SHA256()).hex())


@implementer(IHandshakeListener)
class SecureHttp1(Http1Protocol):
    """A connection of a TLS listener."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self._pace.stop()  # the handshake has its own deadline

    def handshakeCompleted(self) -> None:
        """The handshake is complete; requests can arrive from now on (IHandshakeListener)."""
        self._context.handshakes.end(self.transport, "done")
        self._pace.wait(self._context.limits.header_timeout_s)
        shown = self.transport.getHandle().get_peer_certificate(as_cryptography=True)
        if shown is not None:
            self._context = evolve(
                self._context, handler=CertificateForwarding(self._context.handler, described(shown))
            )
            # A shortcut knows nothing of the certificate, which belongs to the audit record.
            self._shortcuts = ConnectionShortcuts()


class SecureFactory(Http1Factory):
    """Creates the connections of a TLS listener.

    :param hsts_s: seconds for which browsers must use HTTPS only; 0 to send no HSTS field.
    """

    protocol = SecureHttp1

    def __init__(self, context: ListenerContext, hsts_s: int = 0) -> None:
        if hsts_s:
            context = evolve(context, handler=Hsts(context.handler, b"max-age=%d" % hsts_s))
        super().__init__(context)

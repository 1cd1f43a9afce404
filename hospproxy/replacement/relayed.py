"""Requests, refusals and responses as messages between two processes, and back."""

from __future__ import annotations

from ..http.errors import ProxyError
from ..http.messages import Client, ClientCertificate, Headers, Request, Response
from .messages import RelayedResponse, SentCertificate, SentClient, SentError, SentRequest


def sent_request(request: Request, body: bytes | None) -> SentRequest:
    """Return a request as a message.

    :param body: its whole content.
    """
    client, shown = request.client, request.client.certificate
    certificate = None if shown is None else SentCertificate(shown.subject, shown.names, shown.sha256)
    return SentRequest(
        request.method,
        request.path,
        request.query,
        request.version,
        request.headers.pairs,
        body,
        SentClient(
            client.peer, client.address, client.chain, client.scheme, client.host, client.request_id,
            certificate, client.via,
        ),
    )  # fmt: skip


def request_of(sent: SentRequest) -> Request:
    """Return the request of a message."""
    client, shown = sent.client, sent.client.certificate
    certificate = None if shown is None else ClientCertificate(shown.subject, shown.names, shown.sha256)
    return Request(
        sent.method,
        sent.path,
        sent.query,
        sent.version,
        Headers(sent.headers),
        sent.body,
        Client(
            client.peer, client.address, client.chain, client.scheme, client.host, client.request_id,
            certificate, client.via,
        ),
    )  # fmt: skip


def sent_error(error: ProxyError) -> SentError:
    """Return the reason of a refusal as a message."""
    return SentError(
        error.detail,
        error.status,
        error.outcome,
        error.limit,
        error.field,
        error.retry_after_s,
        error.headers.pairs,
        error.errors,
    )


def error_of(sent: SentError) -> ProxyError:
    """Return the reason of a refusal, from its message."""
    error = ProxyError(
        sent.detail,
        status=sent.status,
        field=sent.field,
        retry_after_s=sent.retry_after_s,
        headers=sent.headers,
        errors=sent.errors,
    )
    error.outcome, error.limit = sent.outcome, sent.limit
    return error


def sent_response(number: int, response: Response) -> RelayedResponse:
    """Return a response as a message."""
    tells = response.handed_over is not None
    return RelayedResponse(number, response.status, response.headers.pairs, response.content, tells)

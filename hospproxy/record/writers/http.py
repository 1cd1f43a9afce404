"""Carries the trail on to an HTTP server: a batch is one signed POST of JSON Lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ...host import REAL, Host
from ...interfaces import IAuditWriter
from ...options.secret_fields import shared_secret
from ..trail.following import Batch
from .posting import SignedPoster

if TYPE_CHECKING:
    from ...config import Settings


@implementer(IAuditWriter)
class HttpWriter:
    """See IAuditWriter: 2xx says that a batch is kept for good, anything else that it comes again."""

    name = "http"

    def __init__(self, poster: SignedPoster) -> None:
        self._poster = poster

    async def open(self) -> None:
        """Connections are opened as they are needed."""

    async def write(self, batch: Batch) -> None:
        """Post a batch.

        :raise PostError: it was not taken, or nobody knows.
        """
        await self._poster.post(b"\n".join((*batch.lines, b"")), headers_of(batch))

    async def close(self) -> None:
        await self._poster.close()


def headers_of(batch: Batch) -> dict[str, str]:
    """What a receiver needs to know a batch again, and to see that none is missing."""
    journal, first = batch.position.journal, batch.first_seq
    return {
        "Content-Type": "application/x-ndjson",
        "Idempotency-Key": f'"{batch.trail}-{journal}-{first}-{batch.head}"',
        "X-Hospproxy-Trail": batch.trail,
        "X-Hospproxy-Journal": journal,
        "X-Hospproxy-First-Seq": str(first),
        "X-Hospproxy-Head": batch.head,
    }


def writer_for(settings: Settings, reactor: Any, host: Host = REAL) -> IAuditWriter | None:
    """The writer that the settings ask for, if they do.

    :raise KeyFileError: the secret cannot be used.
    :raise OSError: ``ca_file`` cannot be read.
    :raise ValueError: it holds no certificate.
    """
    http = settings.audit_http
    if not http.enabled or http.url is None:
        return None
    secret = shared_secret(http, "secret")
    return HttpWriter(SignedPoster(reactor, http.url, secret, http.ca_file, http.timeout_s, host.wall))

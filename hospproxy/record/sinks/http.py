"""The HTTP sink: each batch is one signed POST of JSON Lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ...interfaces import IAuditWriter
from ...options.secret_values import shared_secret
from ...process.host import REAL, Host
from ..trail.follower import Batch

if TYPE_CHECKING:
    from ...config import Settings
    from .signed_post import SignedPoster


@implementer(IAuditWriter)
class HttpSink:
    """Posts batches. A 2xx means that the server has stored the batch; after anything else it is sent again."""

    name = "http"

    def __init__(self, poster: SignedPoster) -> None:
        self._poster = poster

    async def open(self) -> None:
        """Do nothing: connections are opened when needed."""

    async def write(self, batch: Batch) -> None:
        """Post a batch and wait for the response.

        :raise PostError: the server did not take it, or the result is unknown.
        """
        await self._poster.post(b"\n".join((*batch.lines, b"")), headers_of(batch))

    async def close(self) -> None:
        await self._poster.close()


def headers_of(batch: Batch) -> dict[str, str]:
    """Headers by which a receiver recognises a repeated batch and notices a missing one."""
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
    """The HTTP sink if the settings enable it, else None.

    :raise KeyFileError: the secret cannot be used.
    :raise OSError: ``ca_file`` cannot be read.
    :raise ValueError: ``ca_file`` holds no certificate.
    """
    http = settings.audit_http
    if not http.enabled or http.url is None:
        return None
    from .signed_post import SignedPoster  # its HTTP client takes 2 MiB and is slow to import

    secret = shared_secret(http, "secret")
    return HttpSink(
        SignedPoster(reactor, http.url, secret, http.ca_file, timeout_s=http.timeout_s, wall=host.wall)
    )

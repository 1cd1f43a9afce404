"""The sink that posts alerts to a webhook. A carrier reads the journal for it and retries until they are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from zope.interface import implementer

from ...interfaces import IAuditWriter
from ...options.secret_values import shared_secret
from ...process.host import REAL, Host
from ..trail.scan import record_of

if TYPE_CHECKING:
    from ...config import Settings
    from ..trail.follower import Batch

MOST = 50
"""Alerts that one POST holds at most."""
_SHOWN = 10
"""Alerts in the text of a POST: chat tools cut long texts off."""
_HEADERS = {"Content-Type": "application/json"}
_STEERING = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "(at)", "[": "(", "]": ")", "`": "'"})
"""Replaced in texts: anybody may have entered a name in HOSP, and none may notify a channel or look like a
link.
"""


class Poster(Protocol):
    """Posts bodies to one URL; the sink needs no more of an HTTP client."""

    def post(self, body: bytes, headers: Mapping[str, str]) -> Awaitable[None]:
        """Post once; returns when the server took it."""

    def close(self) -> Awaitable[None]:
        """Close connections that are idle; call it when the sink is closed."""


@implementer(IAuditWriter)
class Webhook:
    """Posts each alert as JSON that programs and chat tools can read (docs/alerts.md)."""

    name = "webhook"

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    async def open(self) -> None:
        """Do nothing: there is nothing to prepare."""

    async def write(self, batch: Batch) -> None:
        """Post the batch's alerts, in order.

        :raise Exception: a POST failed. The retry posts the batch's earlier alerts again.
        """
        alerts = list(alerts_in(batch.lines))
        for begin in range(0, len(alerts), MOST):
            await self._poster.post(body_of(alerts[begin : begin + MOST]), _HEADERS)

    async def close(self) -> None:
        await self._poster.close()


def alerts_in(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """The alerts among lines of the journal.

    :return: each with its ``id``: the line's SHA-256, which is the same each time it is sent.
    """
    for line in lines:
        if b'"kind":"alert"' not in line:
            continue
        record = record_of(line)  # empty for a damaged line, which must not block the others for ever
        if record.get("kind") == "alert":
            yield {"id": sha256(line).hexdigest(), **record}


def _said(text: str) -> str:
    return text.translate(_STEERING).replace("://", ": //")  # chat tools turn any URL into a link


def body_of(alerts: Sequence[Mapping[str, Any]]) -> bytes:
    """The body of a POST: ``text`` for people, ``alerts`` for programs."""
    said = [_said(f"hospproxy: {alert.get('text')}") for alert in alerts[:_SHOWN]]
    if len(alerts) > _SHOWN:
        said.append(f"hospproxy: and {len(alerts) - _SHOWN} more alerts.")
    return msgspec.json.encode({"text": "\n".join(said), "alerts": list(alerts)})


def writer_for(settings: Settings, reactor: Any, host: Host = REAL) -> IAuditWriter | None:
    """The webhook sink if the settings name a URL, else None.

    :raise OSError: the CA file cannot be read.
    :raise KeyFileError: the secret cannot be used.
    :raise ValueError: the CA file holds no certificate.
    """
    alerts = settings.alerts
    if not alerts.enabled or alerts.webhook_url is None:
        return None
    from ..sinks.signed_post import SignedPoster  # its TLS and HTTP client are slow to import

    secret = shared_secret(alerts, "webhook_secret")
    poster = SignedPoster(
        reactor,
        alerts.webhook_url,
        secret,
        alerts.webhook_ca_file,
        timeout_s=alerts.webhook_timeout_s,
        wall=host.wall,
    )
    return Webhook(poster)

"""The journal of a proxy that writes no audit records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...http.repeat import Told
from ...interfaces import ILineJournal
from ..disclosures import Disclosure
from .follower import Cursor


@implementer(ILineJournal)
class NullJournal:
    """The journal when recording is switched off: accepts records and drops them."""

    trouble = None
    full = False
    committed: Cursor | None = None

    def append(
        self,
        record: Mapping[str, Any],  # noqa: ARG002
        disclosure: Disclosure | None = None,  # noqa: ARG002
    ) -> Deferred[None]:
        return succeed(None)

    def append_line(
        self,
        line: bytes,  # noqa: ARG002
        kind: str,  # noqa: ARG002
        told: Told,
        disclosure: Disclosure | None = None,  # noqa: ARG002
    ) -> None:
        told(None)

    def close(self) -> Deferred[None]:
        """Return a Deferred that has fired: there is nothing to close."""
        return succeed(None)

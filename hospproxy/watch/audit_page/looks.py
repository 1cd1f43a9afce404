"""Builds the audit records of looks at the trail itself (kind ``look``). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import define, field, frozen

from ...http.messages import Request
from ...record.describe import VERSION, timestamp
from ...record.search.filters import Filters

_TEXT = 200


@define(slots=True)
class AuditLook:
    """One request to the audit page while it is processed.

    :param who: the record's ``who``.
    :param wall: its start, in seconds since the Unix epoch.
    :param started: its start, in monotonic seconds.
    """

    request: Request
    who: dict[str, Any]
    wall: float
    started: float
    route: str = "unknown"
    action: str = "search"
    filters: Filters = field(factory=Filters)
    patient: str | None = None
    record_id: str | None = None


@frozen(slots=True)
class AuditLooks:
    """Builds the audit record of each look, and the ``who`` in it.

    :param pseudonym: returns what stands for a claimed name, which may be a mistyped password
        (``Describer.pseudonym``).
    """

    pseudonym: Callable[[str], str] = field(repr=False)

    def auditor(self, name: str) -> dict[str, Any]:
        """Build ``who`` for a logged-in auditor."""
        return {"id": None, "name": name, "certainty": "auditor"}

    def claimed(self, name: str, known: bool) -> dict[str, Any]:
        """Build ``who`` for a client that has not logged in.

        :param known: whether a user has this name; any other name may be a mistyped password, and is not written.
        """
        hidden = {"name_hmac": self.pseudonym(name)}
        return {"id": None, "name": name[:_TEXT] if known else None, "certainty": "claimed", **hidden}

    def record(self, look: AuditLook, status: int | None, duration_s: float) -> dict[str, Any]:
        """Build the record of a finished look.

        :param status: of the response; None: the client left before there was one.
        """
        client = look.request.client
        return {
            "v": VERSION,
            "kind": "look",
            "time": timestamp(look.wall),
            "duration_ms": round(max(duration_s, 0.0) * 1000, 1),
            "request_id": client.request_id[:_TEXT] or None,
            "who": look.who,
            "client": {
                "address": client.address[:_TEXT],
                "peer": client.peer[:_TEXT],
                "chain": [proxy[:_TEXT] for proxy in client.chain[:50]],
                "scheme": client.scheme[:_TEXT],
            },
            "method": look.request.method[:_TEXT],
            "route": look.route,
            "action": look.action,
            "outcome": outcome(status),
            "status": status,
            "filters": said(look.filters),
            "patient_id": look.patient or look.filters.patient,
            "record_id": look.record_id,
        }


def outcome(status: int | None) -> str:
    """Return the outcome that the record names (docs/audit.md)."""
    if status is None:
        return "client gone"
    if status < 400:
        return "success"
    return "refused" if status < 500 else "failed"


def said(filters: Filters) -> dict[str, Any]:
    """Return the filters in use, with times as RFC 3339."""
    given = attrs.asdict(filters, filter=lambda each, value: value != each.default)
    return {name: timestamp(value) if name in ("since", "until") else value for name, value in given.items()}

"""What the trail says of those who look at it: records of the kind ``look``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import define, field, frozen

from ...messages import Request
from ...record.describe import VERSION, timestamp
from ...record.reading.filters import Filters

_TEXT = 200


@define(slots=True)
class Look:
    """One look while it goes on.

    :param who: the record's ``who``.
    :param wall: seconds since the epoch when it began.
    :param started: monotonic time in seconds.
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
class Looks:
    """Makes the records.

    :param pseudonym: what stands for a claimed name, which may be a password (``Describer.pseudonym``).
    """

    pseudonym: Callable[[str], str] = field(repr=False)

    def auditor(self, name: str) -> dict[str, Any]:
        """``who`` of somebody who has logged in."""
        return {"id": None, "name": name, "certainty": "auditor"}

    def claimed(self, name: str, known: bool) -> dict[str, Any]:
        """``who`` of somebody who has not.

        :param known: the name is a user's; another one may be a password and is not written.
        """
        hidden = {"name_hmac": self.pseudonym(name)}
        return {"id": None, "name": name[:_TEXT] if known else None, "certainty": "claimed", **hidden}

    def record(self, look: Look, status: int | None, duration_s: float) -> dict[str, Any]:
        """The record of a look that is over.

        :param status: of the answer; None: the client was gone before there was one.
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
    """In a word, what became of it (docs/audit.md)."""
    if status is None:
        return "client gone"
    if status < 400:
        return "success"
    return "refused" if status < 500 else "failed"


def said(filters: Filters) -> dict[str, Any]:
    """The filters that were given; times as RFC 3339."""
    given = attrs.asdict(filters, filter=lambda each, value: value != each.default)
    return {name: timestamp(value) if name in ("since", "until") else value for name, value in given.items()}

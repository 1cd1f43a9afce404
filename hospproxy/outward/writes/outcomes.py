"""The route for asking the outcome of an "unknown" write: by reference, with the author's credentials."""

from __future__ import annotations

from typing import Any

from ...contract.contract import Operation, Route
from ...exchange.answers import JSON_TYPE, encode
from ...exchange.exchange import Identified
from ...http.errors import Refused
from ...http.messages import Headers, Response
from .claims import Claims
from .entry import WriteState
from .ledger_entries import LedgerEntries
from .seen_ids import id_of

OPERATION = Operation(
    id="hospproxyOutcome",
    method="GET",
    template="/.hospproxy/outcomes/{reference}",
    parameters=("reference",),
    action="read",
    repeatable=True,
)
"""The proxy's own operation. It is in no contract, because HOSP does not know it."""

ROUTE = Route(OPERATION.template, (".hospproxy", "outcomes", None), {"GET": OPERATION}, text_ids=True)

_WORDS = {
    WriteState.OPEN.value: "open",
    WriteState.UNKNOWN.value: "unknown",
    WriteState.ANSWERED.value: "carried out or refused, as the response said",
    WriteState.FOUND.value: "carried out",
    WriteState.ABSENT.value: "not carried out",
    WriteState.GIVEN_UP.value: "will never be known",
    "refused": "refused by HOSP; the proxy keeps the note",
}


async def answer(exchange: Identified, keeping: LedgerEntries, claims: Claims) -> Response:
    """Respond with what is known about the write.

    :raise Refused: 404: there is no such write, or it has another author.
    """
    reference = exchange.call.path[0]
    row = await keeping.by_reference(reference)
    if row is None or row.state == WriteState.GIVEN_UP.value:
        known = await claims.known(reference)
        if (
            known is not None
            and known.state is not WriteState.GIVEN_UP
            and claims.is_author(known, exchange.identity)
        ):
            state = WriteState.UNKNOWN if known.told and known.state is WriteState.OPEN else known.state
            return _said(reference, state.value, None if row is None else row.resource, known.record, None)
    if row is None or not keeping.is_author(exchange.identity, row):
        raise Refused("You have no write with this reference.", status=404)
    return _said(reference, row.state, row.resource, row.record, keeping.refused_note(row))


def _said(reference: str, state: str, resource: str | None, record: str | None, note: object) -> Response:
    found: dict[str, Any] = {
        "reference": reference,
        "outcome": state,
        "meaning": _WORDS.get(state, state),
    }
    if resource is not None:
        found["resource"] = resource
    if record is not None:
        found["id"] = id_of(record)
    if note is not None:
        found["note"] = note
    return Response(200, Headers(((b"Content-Type", JSON_TYPE),)), encode(found))

"""Exchanges for tests of their description."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from hospproxy.contract.contract import FieldLocation, Operation
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.messages import ABSENT, Client, Headers, Request, Response
from tests.stages import arrived, identified

WALL = 1_700_000_000.25
SECRET = "hunter2-correct-horse"
CLIENT = Client(
    peer="10.0.0.1", address="192.0.2.7", chain=("10.0.0.9",), scheme="https", host="h", request_id="req-1"
)
READ_NOTE = Operation(
    id="getNote", method="GET", template="/notes/{id}", parameters=("id",), action="read", resource="notes",
    patient=FieldLocation("answer", "patient_id"), repeatable=True,
)  # fmt: skip
CREATE_NOTE = Operation(
    id="createNote", method="POST", template="/notes", parameters=(), action="create", resource="notes",
    patient=FieldLocation("document", "patient_id"),
)  # fmt: skip
LIST_NOTES = Operation(
    id="listNotes", method="GET", template="/notes", parameters=(), action="search", resource="notes",
    patient=FieldLocation("query", "patient_id"), repeatable=True,
)  # fmt: skip
SCREEN = Operation(
    id="screenPatient", method="POST", template="/patients/{id}/screen", parameters=("id",), action="execute",
    resource="patients", patient=FieldLocation("path", "id"), repeatable=True,
)  # fmt: skip


def exchange(
    operation: Operation | None = None,
    path: tuple[str, ...] = (),
    query: tuple[tuple[str, str], ...] = (),
    document: Any = ABSENT,
    **more: Any,
) -> Exchange:
    request = Request(
        method=operation.method if operation else "GET",
        path=b"/" + SECRET.encode(),
        query=b"password=" + SECRET.encode(),
        headers=Headers(((b"authorization", b"Basic " + SECRET.encode()), (b"x-other", SECRET.encode()))),
        body=SECRET.encode(),
        client=CLIENT,
    )
    if operation is None:
        return evolve(arrived(request, at=100.0, deadline=128.0, **more), wall=WALL)
    call = Call(operation, path, query, document, authorization=b"Basic " + SECRET.encode())
    known = identified(call, request, at=100.0, deadline=128.0, credentials=SECRET.encode(), **more)
    return evolve(known, wall=WALL)


def answer(body: bytes = b"", status: int = 200, **more: Any) -> Response:
    return Response(status, Headers(((b"content-type", b"application/json"),)), body, **more)

"""Encodes the call (with its principal) and the response of a ledger entry as bytes, and decodes them."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import astuple

from ...contract.contract import Contract
from ...exchange.exchange import Call, Deadline, Identified, Presence, Trace
from ...http.messages import ABSENT, Client, ClientCertificate, Headers, Identity, Origin, Request, Response


class WrittenCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A write and its principal. Fields may only be added, each with a default."""

    operation: str
    path: list[str]
    query: list[list[str]]
    accept: str
    authorization: bytes | None
    has_document: bool
    document: Any
    client: dict[str, Any]
    identity: int | str | None
    name: str
    credentials: bytes
    own: str = ""
    on_behalf_of: str = ""
    patient: str | None = None
    patient_before: str | None = None
    break_glass: str | None = None
    shown: bool = False


class StoredResponse(msgspec.Struct, frozen=True):
    """A response, as stored in an entry."""

    status: int
    headers: list[list[bytes]]
    body: bytes


def write_call(exchange: Identified) -> bytes:
    """Encode an exchange's call, with all that is needed to look for the write or to deliver it."""
    call, client, who = exchange.call, exchange.request.client, exchange.identity
    return msgspec.msgpack.encode(
        WrittenCall(
            operation=call.operation.id,
            path=list(call.path),
            query=[list(pair) for pair in call.query],
            accept=call.accept,
            authorization=call.authorization,
            has_document=call.document is not ABSENT,
            document=None if call.document is ABSENT else call.document,
            client={
                "peer": client.peer,
                "address": client.address,
                "chain": list(client.chain),
                "scheme": client.scheme,
                "host": client.host,
                "request_id": client.request_id,
                # Omitted if absent, so that an earlier version can still read the entry.
                **({} if client.certificate is None else {"certificate": astuple(client.certificate)}),
            },
            identity=None if who is None else who.id,
            name="" if who is None else who.name,
            credentials=exchange.credentials or b"",
            own=exchange.own,
            on_behalf_of=exchange.on_behalf_of,
            # The process that finds out the outcome also records it, and a deleted record no longer names its patient.
            patient=exchange.trace.patient,
            patient_before=exchange.trace.patient_before,
            break_glass=exchange.trace.break_glass,
            shown=exchange.trace.shown,
        )
    )


def read_call(data: bytes, contract: Contract, *, now: float, wall: float) -> Identified | None:
    """Decode the exchange of an entry; None if the contract no longer has its operation.

    :param now: monotonic seconds; arrival and deadline of the exchange.
    :param wall: seconds since the epoch.
    """
    written = msgspec.msgpack.decode(data, type=WrittenCall)
    operation = contract.operations.get(written.operation)
    if operation is None:
        return None
    client = _client(written.client)
    call = Call(
        operation,
        tuple(written.path),
        tuple((pair[0], pair[1]) for pair in written.query),
        written.document if written.has_document else ABSENT,
        written.accept,
        written.authorization,
    )
    who = None
    if written.identity is not None:
        who = Identity(written.identity, written.name, written.credentials)
    trace = Trace(
        call=call,
        claimed_name=written.name or None,
        identity=who,
        record_id=call.record_id,
        patient=written.patient,
        patient_before=written.patient_before,
        break_glass=written.break_glass,
        shown=written.shown,
    )
    return Identified(
        request=Request(operation.method, client=client),
        arrived=now,
        wall=wall,
        due=Deadline(now),
        own=written.own,
        on_behalf_of=written.on_behalf_of,
        trace=trace,
        presence=Presence(gone=True),
        call=call,
        identity=who,
        credentials=written.credentials or None,
    )


def _client(written: dict[str, Any]) -> Client:
    certificate = None
    if shown := written.get("certificate"):
        subject, names, sha256 = shown
        certificate = ClientCertificate(subject, tuple(names), sha256)
    return Client(**{**written, "chain": tuple(written["chain"]), "certificate": certificate})


def write_answer(response: Response) -> bytes:
    """Encode a response for an entry."""
    return msgspec.msgpack.encode(
        StoredResponse(response.status, [list(pair) for pair in response.headers], response.body)
    )


def read_answer(data: bytes) -> Response:
    """Decode a response. Its origin is MEMORY."""
    written = msgspec.msgpack.decode(data, type=StoredResponse)
    headers = Headers(tuple((name, value) for name, value in written.headers))
    return Response(written.status, headers, written.body, Origin.MEMORY)

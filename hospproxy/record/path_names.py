"""What a request's path names, even if the request was refused before it was parsed. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from ..contract.contract import Operation, Route, match
from ..exchange.call_ids import patient_of
from ..exchange.exchange import Call
from ..guard import paths
from ..http.messages import Request


@frozen(slots=True)
class PathNames:
    """What a record can say about a request from path and method alone.

    :param route: the contract's path template.
    :param operation: None if the path does not have this method.
    :param resource: the kind of record.
    :param record_id: id of the record that the path names.
    :param patient: id of the patient that the path names.
    """

    route: str
    operation: Operation | None
    resource: str | None
    record_id: str | None
    patient: str | None


def named(routes: Iterable[Route], request: Request) -> PathNames | None:
    """What the path names; None if it is not in the contract, or its ids are not valid: they may be a secret.

    None for ``OPTIONS`` too: it asks about a path, not about the patient that the path names.
    """
    found = paths.segments(request.path)
    matched = match(routes, found[0]) if found and request.method != "OPTIONS" else None
    if matched is None:
        return None
    route, given = matched
    spelling = paths.canonical_word if route.text_ids else paths.canonical_id
    values = tuple(value for value in map(spelling, given) if value is not None)
    if len(values) != len(given):
        return None
    operation = route.operations.get("GET" if request.method == "HEAD" else request.method)
    # Every method of a path is about the same record and the same patient.
    calls = [Call(each, values) for each in ([operation] if operation else route.operations.values())]
    return PathNames(
        route.template,
        operation,
        next((call.operation.resource for call in calls), None),
        next((call.record_id for call in calls), None),
        next((patient for call in calls if (patient := patient_of(call, None)) is not None), None),
    )

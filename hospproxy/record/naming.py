"""What the path of a request names, also where the request was refused before it was taken apart. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from ..contract import Operation, Route, match
from ..guard import paths
from ..messages import Call, Request
from .places import patient_of


@frozen(slots=True)
class Named:
    """What a record can say of a request by its path and method alone.

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


def named(routes: Iterable[Route], request: Request) -> Named | None:
    """What the path names; None if it is in no contract, or its ids are none: what stands there may be a secret.

    ``OPTIONS`` asks about a path, not about whom it names.
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
    # Another method of the same path means the same record, and the same patient.
    calls = [Call(each, values) for each in ([operation] if operation else route.operations.values())]
    return Named(
        route.template,
        operation,
        next((call.operation.resource for call in calls), None),
        next((call.record_id for call in calls), None),
        next((patient for call in calls if (patient := patient_of(call, None)) is not None), None),
    )

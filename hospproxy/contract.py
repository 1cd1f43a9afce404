"""The upstream's contract as values: routes, schemas, and what the proxy must know of each operation.

It is read from an OpenAPI 3.1 document by contract_document.py. Nothing else in the house knows any one API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from .contract_permissions import Permission
from .messages import Json


@frozen(slots=True)
class SchemaError:
    """One thing that is wrong with a value.

    :param field: key path of the offending part, "" for the whole.
    :param message: what is wrong, without the value itself.
    """

    field: str
    message: str


Check = Callable[[Json], Sequence[SchemaError]]
"""The first few mistakes of a value; empty for a value that is right."""


@frozen(slots=True)
class Parameter:
    """A query parameter that is sent on.

    :param check: judges the value, converted to what its schema wants where it is written so.
    :param allow_empty: ``?name=`` is sent on as it is.
    :param types: JSON types that its schema allows; none where it says nothing.
    :param inferred: the contract does not list it, but the records of the answer have a field of this name. Whether the
        upstream filters by it is not known.
    """

    name: str
    check: Check
    allow_empty: bool = False
    types: frozenset[str] = frozenset()
    inferred: bool = False


@frozen(slots=True, eq=False)
class Expected:
    """What an answer looks like.

    :param types: media types, lower-cased; empty for any.
    :param shape: of its JSON: "array", "object", or "" for any.
    :param check: judges the whole document.
    """

    types: frozenset[str] = frozenset()
    shape: str = ""
    check: Check | None = None


@frozen(slots=True)
class Lookup:
    """Where a POST whose outcome is uncertain is looked up.

    :param operation: the list's operation id.
    :param query: (parameter of the list, field of the document that gives its value).
    :param status: status of the answer when the record is found.
    :param location: template of its Location, with ``{id}``; None for none.
    """

    operation: str
    query: tuple[tuple[str, str], ...] = ()
    status: int = 201
    location: str | None = None


@frozen(slots=True)
class NoteShape:
    """The note that a screening becomes: the operation that makes it, and which field holds what.

    :param overall: field of the screening's answer with the overall result.
    :param results: field of the screening's answer with one result for each image.
    """

    operation: str
    patient: str
    author: str
    title: str
    body: str
    title_text: str
    overall: str
    results: str


@frozen(slots=True)
class Place:
    """Where an id stands: in the "path", the "query", the "document" or the "answer"."""

    where: str
    name: str


@frozen(slots=True)
class Resource:
    """What the contract says of one kind of record; each rule applies as far as its field is named.

    :param id: field of the id.
    :param ascending: a newer record has a higher id.
    """

    name: str
    id: str = "id"
    ascending: bool = False
    created_at: str | None = None
    updated_at: str | None = None


@frozen(slots=True, eq=False)
class Operation:
    """One method on one path.

    :param fields: the body's known fields; others are ignored by the upstream and not sent on.
    :param integers: fields in which a string of digits means the number.
    :param coercions: field → name of the coercion that it goes through when it is stored.
    :param columns: field → JSON type of what is stored of it, where the schema names one.
    :param write_only: fields that never come back.
    :param repeatable: may be sent again whatever became of the first.
    :param cache_s: seconds for which a 200 is fresh; 0 is never kept.
    :param stale_while_revalidate_s: seconds past that for which it is given out while it is renewed (RFC 5861 §3).
    :param stale_if_error_s: seconds past that for which it is given out while the upstream fails (RFC 5861 §4).
    :param record: operation id that reads the one record that this one changes.
    :param author: field that names who wrote the record.
    :param wrapper: a key under which Rails would look for the same fields; never let through where there is an author.
    :param discloses: field of each element of the answer's list that names a patient.
    :param deadline_s: seconds that a client's request may take, if that is less than for all of them.
    :param answers: what a successful answer looks like, by status ("200", "2XX").
    :param makes_stale: resources of which every answer is stale after this write, besides its own.
    """

    id: str
    method: str
    template: str
    parameters: tuple[str, ...]
    action: str
    resource: str | None = None
    query: tuple[Parameter, ...] = ()
    check: Check | None = None
    body_required: bool = False
    fields: frozenset[str] = frozenset()
    integers: frozenset[str] = frozenset()
    coercions: Mapping[str, str] = field(factory=dict)
    columns: Mapping[str, str] = field(factory=dict)
    write_only: frozenset[str] = frozenset()
    public: bool = False
    repeatable: bool = False
    cache_s: float = 0.0
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    lookup: Lookup | None = None
    record: str | None = None
    author: str | None = None
    wrapper: str | None = None
    patient: Place | None = None
    discloses: str | None = None
    makes_stale: tuple[str, ...] = ()
    max_body_bytes: int = 1 << 20
    becomes_note: NoteShape | None = None
    deadline_s: float | None = None
    answers: Mapping[str, Expected] = field(factory=dict)

    @property
    def certain_filters(self) -> frozenset[str]:
        """Parameters by which the upstream surely filters a list: those that the contract lists."""
        return frozenset(one.name for one in self.query if not one.inferred)

    @property
    def is_read(self) -> bool:
        """A safe method (RFC 9110 §9.2.1)."""
        return self.method == "GET"

    @property
    def is_write(self) -> bool:
        """Changes records at the upstream and so has one fate."""
        return not self.is_read and not self.repeatable

    def path(self, values: tuple[str, ...]) -> str:
        """The path with its parameters filled in; values are already in canonical spelling."""
        filled = self.template
        for name, value in zip(self.parameters, values, strict=True):
            filled = filled.replace("{" + name + "}", value)
        return filled


@frozen(slots=True)
class IdentityRule:
    """How the contract says who is calling."""

    operation: str
    resource: str
    id: str = "id"
    name: str = "name"


@frozen(slots=True)
class Texts:
    """What the upstream says itself, to be said in its words.

    :param error_json: members of an error; ``{status}`` and ``{reason}`` are filled in.
    :param error_html: page of an error, with ``{status}``, ``{reason}`` and ``{detail}``.
    """

    challenge: str
    denied_type: str
    denied_body: str
    error_json: Mapping[str, str]
    error_html: str
    deletion_page: str


@frozen(slots=True, eq=False)
class Route:
    """A path template with its operations by method.

    :param segments: None stands for a parameter.
    :param text_ids: its parameters are words; otherwise positive whole numbers.
    """

    template: str
    segments: tuple[str | None, ...]
    operations: Mapping[str, Operation]
    text_ids: bool = False

    @property
    def allow(self) -> str:
        """Value of Allow (RFC 9110 §10.2.1)."""
        methods = set(self.operations) | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))


def match(routes: Iterable[Route], segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
    """The first route that a path fits, and the values of its parameters."""
    for route in routes:
        if len(route.segments) != len(segments):
            continue
        pairs = list(zip(route.segments, segments, strict=True))
        if all(wanted is None or wanted == given for wanted, given in pairs):
            return route, tuple(given for wanted, given in pairs if wanted is None)
    return None


@frozen(slots=True, eq=False)
class Contract:
    """All of it.

    :param late_commit_s: seconds after sending at which a write has been carried out or never will be.
    :param probe: operation id that asks whether the upstream is there.
    :param permissions: who may do what.
    :param addresses: fields of records that hold their address.
    :param answer_fields: header fields of answers that go on, besides those that are known; lower-cased.
    :param override_no_cache: answers with ``Cache-Control: no-cache`` are kept all the same.
    """

    operations: Mapping[str, Operation]
    routes: tuple[Route, ...]
    resources: Mapping[str, Resource]
    identity: IdentityRule | None
    texts: Texts
    late_commit_s: float
    probe: str | None
    document: Mapping[str, Any]
    permissions: tuple[Permission, ...] = ()
    addresses: tuple[str, ...] = ()
    answer_fields: frozenset[bytes] = frozenset()
    override_no_cache: bool = False

    def route(self, segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
        """The route of a path and the values of its parameters; a literal segment goes before a parameter."""
        return match(self.routes, segments)

    def operation(self, operation_id: str) -> Operation:
        """An operation by its id; the document was checked to name only those that are there."""
        return self.operations[operation_id]

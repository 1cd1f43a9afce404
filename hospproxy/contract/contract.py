"""The upstream's contract as values: routes, schemas, and what the proxy must know about each operation.

``contract_document.py`` reads it from an OpenAPI 3.1 document. No other code knows a particular API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ..http.messages import Json
from .permissions import Permission


@frozen(slots=True)
class SchemaError:
    """One violation of a schema: where it is, and what is wrong.

    :param field: key path of the offending part, "" for the whole value.
    :param message: what is wrong, without the value itself.
    """

    field: str
    message: str


Check = Callable[[Json], Sequence[SchemaError]]
"""Returns the first few violations in a value; empty if there are none."""


@frozen(slots=True)
class Parameter:
    """A query parameter that is sent on.

    :param check: judges the value, after conversion to the type that its schema wants, if it can be converted.
    :param allow_empty: ``?name=`` is sent on as it is.
    :param types: JSON types that its schema allows; empty if it names none.
    :param inferred: the contract does not list it, but the records in the response have a field of this name. Whether
        the upstream filters by it is not known.
    """

    name: str
    check: Check
    allow_empty: bool = False
    types: frozenset[str] = frozenset()
    inferred: bool = False


@frozen(slots=True, eq=False)
class ExpectedResponse:
    """What a response must look like.

    :param types: media types, lower-cased; empty for any.
    :param shape: of its JSON: "array", "object", or "" for any.
    :param check: judges the whole document.
    :param fields: members that its schema names, if it is an object.
    """

    types: frozenset[str] = frozenset()
    shape: str = ""
    check: Check | None = None
    fields: tuple[str, ...] = ()


@frozen(slots=True)
class LookupRule:
    """Where to look up the record of a POST whose outcome is unknown.

    :param operation: operation id of the list.
    :param query: (parameter of the list, field of the document that gives its value).
    :param status: status of the response if the record is found.
    :param location: template of its Location, with ``{id}``; None for none.
    """

    operation: str
    query: tuple[tuple[str, str], ...] = ()
    status: int = 201
    location: str | None = None


@frozen(slots=True)
class NoteShape:
    """The note that stores a screening result: the operation that creates it, and which field holds what.

    :param overall: field of the screening's response with the overall result.
    :param results: field of the screening's response with one result per image.
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
class FieldLocation:
    """Where an id is found: in the "path", the "query", the "document" or the "answer" (the response)."""

    where: str
    name: str


@frozen(slots=True)
class Resource:
    """One kind of record. A rule applies only if the field that it needs is named here.

    :param id: field of the id.
    :param ascending: a newer record has a higher id.
    :param copy: the copy of HOSP's records keeps those of this resource.
    """

    name: str
    id: str = "id"
    ascending: bool = False
    created_at: str | None = None
    updated_at: str | None = None
    copy: bool = False


@frozen(slots=True, eq=False)
class Operation:
    """One method on one path of the contract, with everything that the proxy must know about it.

    :param fields: the body's known fields; the upstream ignores others, and they are not sent on.
    :param integers: fields in which a string of digits means the number.
    :param coercions: field → name of the coercion that the upstream applies when it stores the value.
    :param columns: field → JSON type of the stored value, if the schema names one.
    :param write_only: fields that no response contains.
    :param compressible: everybody may know all that its response can say, so that its length gives nothing away.
    :param repeatable: may be sent again, no matter what became of the first attempt.
    :param cache_s: seconds for which a 200 is fresh; 0 is never cached.
    :param stale_while_revalidate_s: seconds after that in which it is served while it is revalidated (RFC 5861 §3).
    :param stale_if_error_s: seconds after that in which it is served while the upstream fails (RFC 5861 §4).
    :param record: operation id that reads the one record which this operation changes.
    :param author: field that names the author of the record.
    :param wrapper: a key under which Rails would look for the same fields; refused if the operation has an author.
    :param discloses: field of each element in the response's list that names a patient.
    :param deadline_s: seconds that a client's request may take, if less than the general deadline.
    :param answers: what a successful response looks like, by status ("200", "2XX").
    :param makes_stale: resources whose cached responses this write invalidates, besides its own resource.
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
    compressible: bool = False
    repeatable: bool = False
    cache_s: float = 0.0
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    lookup: LookupRule | None = None
    record: str | None = None
    author: str | None = None
    wrapper: str | None = None
    patient: FieldLocation | None = None
    discloses: str | None = None
    makes_stale: tuple[str, ...] = ()
    max_body_bytes: int = 1 << 20
    becomes_note: NoteShape | None = None
    deadline_s: float | None = None
    answers: Mapping[str, ExpectedResponse] = field(factory=dict)

    # Each request asks for these some fifty times.
    is_read: bool = field(init=False)
    """Whether this is a safe method (RFC 9110 §9.2.1)."""
    is_write: bool = field(init=False)
    """Whether this changes records at the upstream and must therefore have exactly one outcome."""

    @is_read.default
    def _is_safe(self) -> bool:
        return self.method == "GET"

    @is_write.default
    def _has_one_outcome(self) -> bool:
        return self.method != "GET" and not self.repeatable

    @property
    def certain_filters(self) -> frozenset[str]:
        """Parameters by which the upstream certainly filters a list: those that the contract lists."""
        return frozenset(one.name for one in self.query if not one.inferred)

    def path(self, values: tuple[str, ...]) -> str:
        """Return the path with its parameters filled in; the values are in canonical spelling already."""
        filled = self.template
        for name, value in zip(self.parameters, values, strict=True):
            filled = filled.replace("{" + name + "}", value)
        return filled


@frozen(slots=True)
class IdentityRule:
    """How the contract says to find out who is calling."""

    operation: str
    resource: str
    id: str = "id"
    name: str = "name"


@frozen(slots=True)
class UpstreamTexts:
    """Texts of the upstream, so that the proxy's responses use the same ones.

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
        """The value of Allow (RFC 9110 §10.2.1)."""
        methods = set(self.operations) | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))


def match(routes: Iterable[Route], segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
    """Return the first route that a path matches, and the values of its parameters; None if no route matches."""
    for route in routes:
        if len(route.segments) != len(segments):
            continue
        pairs = list(zip(route.segments, segments, strict=True))
        if all(wanted is None or wanted == given for wanted, given in pairs):
            return route, tuple(given for wanted, given in pairs if wanted is None)
    return None


@frozen(slots=True, eq=False)
class Contract:
    """The whole contract: what the upstream offers, and how the proxy treats each part of it.

    :param late_commit_s: seconds after sending at which a write has been carried out or never will be.
    :param probe: operation id that tests whether the upstream is there.
    :param permissions: rules about who may do what.
    :param addresses: fields of records that hold the record's own URL.
    :param answer_fields: further header fields of responses that are passed on, besides the known ones; lower-cased.
    :param override_no_cache: cache responses even if they say ``Cache-Control: no-cache``.
    """

    operations: Mapping[str, Operation]
    routes: tuple[Route, ...]
    resources: Mapping[str, Resource]
    identity: IdentityRule | None
    texts: UpstreamTexts
    late_commit_s: float
    probe: str | None
    document: Mapping[str, Any]
    permissions: tuple[Permission, ...] = ()
    addresses: tuple[str, ...] = ()
    answer_fields: frozenset[bytes] = frozenset()
    override_no_cache: bool = False

    def route(self, segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
        """Return a path's route and parameter values; a literal segment takes precedence over a parameter."""
        return match(self.routes, segments)

    def operation(self, operation_id: str) -> Operation:
        """Return an operation by its id. The document was checked: it names only operations that exist."""
        return self.operations[operation_id]

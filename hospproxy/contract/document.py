"""Read a Contract from an OpenAPI 3.1 document; report all its mistakes at once, with their key paths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from .answers import expected
from .contract import (
    Check,
    Contract,
    FieldLocation,
    IdentityRule,
    LookupRule,
    NoteShape,
    Operation,
    Parameter,
    Resource,
    Route,
    UpstreamTexts,
)
from .permissions import permissions
from .query import QueryReader
from .schema_walk import check_of

METHODS = ("get", "post", "put", "patch", "delete")
ACTIONS = ("read", "search", "create", "update", "delete", "execute")
RETRY = ("repeatable", "write")
TOP_KEYS = frozenset(
    (
        "identity", "unauthorized", "errors", "deletion_page", "late_commit_s", "probe", "resources", "permissions",
        "addresses", "answer_fields", "override_no_cache",
    )
)  # fmt: skip
"""Keys of x-hospproxy at the top of the document; docs/contract.md explains them."""
OPERATION_KEYS = frozenset(
    (
        "action", "resource", "public", "retry", "cache_s", "lookup", "record", "author", "wrapper", "patient",
        "discloses", "filters", "makes_stale", "max_body_bytes", "becomes_note", "stale_while_revalidate_s",
        "stale_if_error_s", "deadline_s", "compressible",
    )
)  # fmt: skip
"""Keys of x-hospproxy in an operation."""


# libyaml parses eight times as fast. Not every build of PyYAML has it.
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ContractError(ValueError):
    """The document is not a valid contract.

    :param errors: one line each, beginning with the key path.
    """

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def load(path: Path | None = None) -> Contract:
    """Read a contract from a YAML file and check it.

    :param path: the document; None for HOSP's own, which is part of the package.
    :raise ContractError: with every mistake.
    """
    if path is None:
        text = resources.files(__package__).joinpath("hosp.openapi.yaml").read_text("utf-8")
    else:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError([f"{path}: cannot be read: {error}"]) from error
    return _contract_in(text, path)


@lru_cache(maxsize=1)
def _contract_in(text: str, path: Path | None) -> Contract:
    """Parse and check a text. A start needs it twice: to check the options, and to build the parts."""
    try:
        document = yaml.load(text, _YAML_LOADER)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        raise ContractError([f"{path}: is not YAML: {error}"]) from error
    return read(document)


def read(document: Any) -> Contract:
    """Return the contract in a parsed document.

    :raise ContractError: with every mistake.
    """
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ContractError(["paths: missing: this is not an OpenAPI document"])
    return _Reader(document).contract()


class _Reader:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.errors: list[str] = []
        self._checks: dict[str, Check] = {}

    def contract(self) -> Contract:
        top = self.document.get("x-hospproxy")
        if not isinstance(top, dict):
            raise ContractError(["x-hospproxy: missing"])
        self.errors.extend(f"x-hospproxy.{key}: unknown key" for key in top if key not in TOP_KEYS)
        routes = [self._route(template, item) for template, item in self.document["paths"].items()]
        routes.sort(key=lambda route: [segment is None for segment in route.segments])
        operations = {operation.id: operation for route in routes for operation in route.operations.values()}
        known = {name: self._resource(name, said) for name, said in top.get("resources", {}).items()}
        identity = self._make("x-hospproxy.identity", IdentityRule, top.get("identity"))
        self._names(operations, known, identity, top.get("probe"))
        texts = self._texts(top)
        late_commit_s = self._number("x-hospproxy.late_commit_s", top.get("late_commit_s", 25))
        rules, wrong = permissions(top.get("permissions", {}), operations, identity=identity is not None)
        self.errors += wrong
        addresses = self._words("x-hospproxy.addresses", top.get("addresses", []))
        fields = self._words("x-hospproxy.answer_fields", top.get("answer_fields", []))
        override_no_cache = top.get("override_no_cache", False)
        if not isinstance(override_no_cache, bool):
            self.errors.append("x-hospproxy.override_no_cache: must be true or false")
        if self.errors:
            raise ContractError(self.errors)
        return Contract(
            operations=operations,
            routes=tuple(routes),
            resources=known,
            identity=identity,
            texts=texts,
            late_commit_s=late_commit_s,
            probe=top.get("probe"),
            document=self.document,
            permissions=rules,
            addresses=addresses,
            answer_fields=frozenset(name.lower().encode() for name in fields),
            override_no_cache=override_no_cache,
        )

    def _resource(self, name: str, said: Any) -> Resource:
        where = f"x-hospproxy.resources.{name}"
        made = self._make(where, Resource, {"name": name, **(said or {})})
        if made is not None and not isinstance(made.copy, bool):
            self.errors.append(f"{where}.copy: must be true or false")
        return made or Resource(name)

    def _make(self, where: str, kind: type[Any], said: Any) -> Any:
        """Return an attrs value from a mapping with the same keys; None for None or a mistake."""
        if said is None:
            return None
        try:
            return kind(**said)
        except TypeError as error:
            self.errors.append(f"{where}: {str(error).replace('__init__() ', '')}")
            return None

    def _texts(self, top: Mapping[str, Any]) -> UpstreamTexts:
        denied, errors = top.get("unauthorized", {}), top.get("errors", {})
        return UpstreamTexts(
            challenge=denied.get("challenge", 'Basic realm="Application"'),
            denied_type=denied.get("content_type", "text/plain; charset=utf-8"),
            denied_body=denied.get("body", "HTTP Basic: Access denied.\n"),
            error_json=errors.get("json", {"status": "{status}", "error": "{reason}"}),
            error_html=errors.get(
                "html", "<!DOCTYPE html><title>{status}</title><h1>{reason}</h1><p>{detail}"
            ),
            deletion_page=top.get("deletion_page", ""),
        )

    def _route(self, template: str, item: Mapping[str, Any]) -> Route:
        parts = [part for part in template.split("/") if part]
        segments = tuple(None if part.startswith("{") else part for part in parts)
        shared = item.get("parameters", [])
        operations = {
            method.upper(): self._operation(template, method, item[method], shared)
            for method in METHODS
            if method in item
        }
        text_ids = any(
            self._resolve(parameter.get("schema", {})).get("type") != "integer"
            for parameter in map(self._resolve, shared)
            if parameter.get("in") == "path"
        )
        return Route(template, segments, operations, text_ids)

    def _operation(self, template: str, method: str, said: Mapping[str, Any], shared: list[Any]) -> Operation:
        where = f"paths.{template}.{method}"
        ours = said.get("x-hospproxy")
        if not isinstance(ours, dict) or "operationId" not in said:
            self.errors.append(f"{where}: needs operationId and x-hospproxy")
            ours = {}
        self.errors.extend(
            f"{where}.x-hospproxy.{key}: unknown key" for key in ours if key not in OPERATION_KEYS
        )
        if ours.get("retry", "write") not in RETRY:
            self.errors.append(f"{where}.x-hospproxy.retry: must be one of {', '.join(RETRY)}")
        if ours.get("action", "read") not in ACTIONS:
            self.errors.append(f"{where}.x-hospproxy.action: must be one of {', '.join(ACTIONS)}")
        if not isinstance(ours.get("compressible", False), bool):
            self.errors.append(f"{where}.x-hospproxy.compressible: must be true or false")
        if ours.get("compressible") and method != "get":
            self.errors.append(f"{where}.x-hospproxy.compressible: it is for GET only")
        if not isinstance(ours.get("discloses"), str | None):
            self.errors.append(f"{where}.x-hospproxy.discloses: must be the name of a field")
        parameters = [self._resolve(parameter) for parameter in [*shared, *said.get("parameters", [])]]
        body = self._resolve(said.get("requestBody", {}))
        schema = body.get("content", {}).get("application/json", {}).get("schema")
        properties = self._properties(schema)
        lookup = ours.get("lookup")
        place = ours.get("patient")
        return Operation(
            id=said.get("operationId", where),
            method=method.upper(),
            template=template,
            parameters=tuple(part[1:-1] for part in template.split("/") if part.startswith("{")),
            action=ours.get("action", "read"),
            resource=ours.get("resource"),
            query=self._query(where, method, said, ours, parameters),
            check=None if schema is None else self.check(schema),
            body_required=bool(body.get("required")),
            fields=frozenset(properties),
            integers=_marked(properties, "x-hospproxy-coerce", "integer"),
            coercions={
                name: one["x-hospproxy-stored-as"]
                for name, one in properties.items()
                if "x-hospproxy-stored-as" in one
            },
            columns={name: _column(one) for name, one in properties.items()},
            write_only=frozenset(name for name, one in properties.items() if one.get("writeOnly")),
            public=bool(ours.get("public")),
            compressible=bool(ours.get("compressible")),
            repeatable=method == "get" or ours.get("retry") == "repeatable",
            cache_s=self._number(f"{where}.x-hospproxy.cache_s", ours.get("cache_s", 0)),
            stale_while_revalidate_s=self._number(
                f"{where}.x-hospproxy.stale_while_revalidate_s", ours.get("stale_while_revalidate_s", 0)
            ),
            stale_if_error_s=self._number(
                f"{where}.x-hospproxy.stale_if_error_s", ours.get("stale_if_error_s", 0)
            ),
            lookup=self._lookup(f"{where}.x-hospproxy.lookup", lookup),
            record=ours.get("record"),
            author=ours.get("author"),
            wrapper=ours.get("wrapper"),
            patient=FieldLocation(*place.split(".", 1)) if isinstance(place, str) and "." in place else None,
            discloses=ours.get("discloses"),
            makes_stale=tuple(ours.get("makes_stale", ())),
            max_body_bytes=int(
                self._number(f"{where}.x-hospproxy.max_body_bytes", ours.get("max_body_bytes", 1 << 20))
            ),
            becomes_note=self._make(f"{where}.x-hospproxy.becomes_note", NoteShape, ours.get("becomes_note")),
            answers=expected(said.get("responses"), self._resolve, self.check),
            deadline_s=self._seconds(f"{where}.x-hospproxy.deadline_s", ours.get("deadline_s")),
        )

    def _words(self, where: str, said: Any) -> tuple[str, ...]:
        if isinstance(said, list) and all(isinstance(one, str) and one.isascii() for one in said):
            return tuple(said)
        self.errors.append(f"{where}: must be a list of names")
        return ()

    def _seconds(self, where: str, said: Any) -> float | None:
        if said is None:
            return None
        if isinstance(said, bool) or not isinstance(said, (int, float)) or not 0 < said < math.inf:
            self.errors.append(f"{where}: must be a number of seconds above 0")
            return None
        return float(said)

    def _number(self, where: str, said: Any) -> float:
        """Return a number that is not negative; report anything else as an error and return 0."""
        if isinstance(said, bool) or not isinstance(said, (int, float)) or not 0 <= said < float("inf"):
            self.errors.append(f"{where}: must be a number, 0 or more")
            return 0.0
        return float(said)

    def _lookup(self, where: str, said: Any) -> LookupRule | None:
        if isinstance(said, dict) and isinstance(said.get("query"), dict):
            said = {**said, "query": tuple(said["query"].items())}
        made = self._make(where, LookupRule, said)
        return made if isinstance(made, LookupRule) else None

    def _query(
        self,
        where: str,
        method: str,
        said: Mapping[str, Any],
        ours: Mapping[str, Any],
        parameters: list[dict[str, Any]],
    ) -> tuple[Parameter, ...]:
        addresses = (self.document.get("x-hospproxy") or {}).get("addresses") or ()
        reader = QueryReader(self._resolve, self.check, frozenset(map(str, addresses)))
        found, wrong = reader.read(method, said, ours, parameters)
        self.errors.extend(f"{where}.x-hospproxy.filters: {each}" for each in wrong)
        return found

    def _resolve(self, said: Any) -> dict[str, Any]:
        """Follow local ``$ref`` references and return the value."""
        for _ in range(20):
            if not isinstance(said, dict):
                return {}
            if "$ref" not in said:
                return said
            reference = said["$ref"]
            said = self.document
            for part in str(reference).removeprefix("#/").split("/"):
                said = said.get(part) if isinstance(said, dict) else None
            if said is None:
                self.errors.append(f"{reference}: there is nothing at this reference")
        return {}

    def _properties(self, schema: Any) -> dict[str, dict[str, Any]]:
        properties = self._resolve(schema).get("properties", {}) if schema else {}
        return {name: self._resolve(one) for name, one in properties.items()}

    def check(self, schema: Any) -> Check:
        """Return a function that finds the violations in a value (JSON Schema 2020-12).

        Equal schemas have one: many query parameters are just integers.
        """
        key = repr(schema)
        if key not in self._checks:
            self._checks[key] = self._check(schema)
        return self._checks[key]

    def _check(self, schema: Any) -> Check:
        try:
            return check_of(schema, self.document.get("components", {}))
        except ValueError as error:
            self.errors.append(f"{schema}: not a valid schema: {error}")
            return lambda _value: ()

    def _names(
        self,
        operations: Mapping[str, Operation],
        known: Mapping[str, Resource],
        identity: IdentityRule | None,
        probe: str | None,
    ) -> None:
        """Report names of operations and resources that do not exist."""
        named: list[tuple[str, Any]] = [
            ("x-hospproxy.probe", probe),
            ("x-hospproxy.identity.operation", identity and identity.operation),
        ]
        for one in operations.values():
            where = f"paths.{one.template}.{one.method.lower()}.x-hospproxy"
            named.append((f"{where}.lookup.operation", one.lookup and one.lookup.operation))
            named.append((f"{where}.record", one.record))
            named.append((f"{where}.becomes_note.operation", one.becomes_note and one.becomes_note.operation))
            for name in (one.resource, *one.makes_stale):
                if name is not None and name not in known:
                    self.errors.append(f"{where}: resource {name!r} is not among x-hospproxy.resources")
        self.errors.extend(
            f"{where}: there is no operation {name!r}"
            for where, name in named
            if name and name not in operations
        )


def _marked(properties: Mapping[str, Mapping[str, Any]], mark: str, value: str) -> frozenset[str]:
    return frozenset(name for name, one in properties.items() if one.get(mark) == value)


def _column(said: Mapping[str, Any]) -> str:
    """Return the JSON type of a stored field; "" if its schema allows several types, or any."""
    if said.get("x-hospproxy-coerce") == "integer":
        return "integer"
    types = said.get("type", [])
    named = [one for one in ([types] if isinstance(types, str) else types) if one != "null"]
    return str(named[0]) if len(named) == 1 else ""

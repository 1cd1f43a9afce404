"""Find the query parameters that are sent on: those that the contract lists, and the fields of a list's records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from .contract import Check, Parameter

SCALARS = frozenset({"integer", "number", "string", "boolean", "null"})
"""JSON types whose values can be written in a query."""

Resolve = Callable[[Any], dict[str, Any]]


@frozen(slots=True)
class QueryReader:
    """Reads the query parameters of operations.

    :param resolve: follows a local ``$ref``.
    :param check: makes a check from a schema.
    :param addresses: fields with a record's own URL. They are not filters: their values contain the proxy's host.
    """

    resolve: Resolve
    check: Callable[[Any], Check]
    addresses: frozenset[str]

    def read(
        self,
        method: str,
        said: Mapping[str, Any],
        ours: Mapping[str, Any],
        parameters: Sequence[Mapping[str, Any]],
    ) -> tuple[tuple[Parameter, ...], list[str]]:
        """Return an operation's parameters in the order in which they are sent, and mistakes in ``filters``.

        Record fields count for lists only: a Rails upstream takes a parameter of a write for a field of its body.

        :param said: the operation.
        :param ours: its x-hospproxy.
        :param parameters: its parameters and those of its path.
        """
        listed = tuple(self._listed(one) for one in parameters if one.get("in") == "query")
        names = {one.name for one in listed}
        fields = self._fields(said) if method == "get" and ours.get("action") == "search" else {}
        wanted = ours.get("filters", list(fields))
        if not isinstance(wanted, list):
            return listed, ["must be a list of names"]
        errors = [
            f"the records in the response have no field {name!r} to filter by"
            for name in wanted
            if name not in fields
        ]
        known = [name for name in dict.fromkeys(wanted) if name in fields and name not in names]
        return listed + tuple(self._inferred(name, fields[name]) for name in known), errors

    def _listed(self, said: Mapping[str, Any]) -> Parameter:
        schema = said.get("schema", {})
        return Parameter(
            name=said["name"],
            check=self.check(schema),
            allow_empty=bool(said.get("allowEmptyValue")),
            types=_types(self.resolve(schema)),
        )

    def _inferred(self, name: str, schema: Any) -> Parameter:
        return Parameter(
            name, self.check(schema), allow_empty=True, types=_types(self.resolve(schema)), inferred=True
        )

    def _fields(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record fields by which a list may be filtered: scalars that responses contain."""
        responses = said.get("responses", {})
        content = self.resolve(responses.get("200", responses.get(200, {}))).get("content", {})
        array = self.resolve(content.get("application/json", {}).get("schema", {}))
        found = self.resolve(array.get("items", {})).get("properties", {})
        return {name: schema for name, schema in found.items() if self._may_filter(name, schema)}

    def _may_filter(self, name: str, schema: Any) -> bool:
        resolved = self.resolve(schema)
        types = _types(resolved)
        return (
            name not in self.addresses and not resolved.get("writeOnly") and bool(types) and types <= SCALARS
        )


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the JSON types that a schema names; empty if it names none."""
    said = schema.get("type", ())
    return frozenset((said,) if isinstance(said, str) else said)

"""Check JSON values against a schema, and stop after a few violations. Pure.

jsonschema-rs builds an error for every wrong part of a value before it returns the first one: a list of a million
numbers where texts are expected takes gigabytes and many seconds. Its ``is_valid`` stops at the first violation, but
does not say which one it is. So ``is_valid`` decides, and this module finds the first violations in a rejected value.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from ..http.long_text import LongText
from ..http.messages import Json
from .contract import Check, SchemaError

MOST_ERRORS: Final = 10
"""Violations of one value that are named."""

DATE: Final = "hospproxy-date"
"""Name under which ``format: date`` is enforced; other formats are annotations only, as in JSON Schema."""

_WALKED = frozenset(
    (
        "$ref", "type", "properties", "required", "items", "maxItems", "minimum", "maximum", "maxLength", "pattern",
        "format",
    )
)  # fmt: skip
_REMARKS = frozenset(
    (
        "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "$comment",
        "components",
    )
)  # fmt: skip
_MAX_REFS = 50

Path = tuple[str | int, ...]
Walk = Callable[[Json, Path], Iterator[SchemaError]]


def is_date(text: str) -> bool:
    """Whether a text is a full-date (RFC 3339 §5.6), such as ``2021-03-27``."""
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10 and text.isascii() and text[4] == text[7] == "-"


def check_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Check:
    """Return a check of values by a schema (JSON Schema 2020-12).

    It names up to MOST_ERRORS violations, in the order of jsonschema-rs. If the schema has keywords that this module
    does not know, it names the value as a whole.

    :param components: of the document; local ``$ref`` point into it.
    :raise ValueError: it is not a valid schema.
    """
    whole = {**schema, "components": _referred(schema, components)}
    try:
        validator = jsonschema_rs.Draft202012Validator(
            _with_dates(whole), validate_formats=True, formats={DATE: is_date}
        )
    except jsonschema_rs.ValidationError as error:
        raise ValueError(str(error)) from error
    walk = _Compiler(whole).walk(schema)

    def check(value: Json) -> tuple[SchemaError, ...]:
        try:
            if validator.is_valid(value):
                return ()
        except ValueError:
            # It contains a LongText, which jsonschema-rs does not know.
            if walk is None and validator.is_valid(_plain(value)):
                return ()
        if walk is None:
            return (SchemaError("", "does not match the contract"),)
        return tuple(islice(walk(value, ()), MOST_ERRORS))

    return check


def _referred(schema: Any, components: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the components that a schema refers to, and those that they refer to.

    jsonschema-rs keeps a copy of what it is given for each schema: with all components that takes megabytes.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        waiting += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
        reference = one.get("$ref") if isinstance(one, Mapping) else None
        if reference is None:
            continue
        match str(reference).split("/"):
            case ["#", "components", kind, name, *_] if name in (named := components.get(kind, {})):
                if name not in found.setdefault(kind, {}):
                    found[kind][name] = named[name]
                    waiting.append(named[name])
            case _:
                return components
    return found


def _plain(value: Json) -> Json:
    if isinstance(value, LongText):
        return value.text()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _with_dates(schema: Any) -> Any:
    """Return the schema with only ``format: date`` enforced."""
    if isinstance(schema, list):
        return [_with_dates(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: _with_dates(one)
        for name, one in schema.items()
        if not (name == "format" and isinstance(one, str))
    }
    return {**kept, "format": DATE} if schema.get("format") == "date" else kept


class _Compiler:
    """Compiles schemas into functions that find violations.

    :param document: local references point into it.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._refs = 0

    def walk(self, schema: Any) -> Walk | None:
        """Return a function that finds the violations in a value; None if the schema has unknown keywords."""
        if not isinstance(schema, Mapping) or any(
            name not in _WALKED and name not in _REMARKS and not name.startswith("x-") for name in schema
        ):
            return None
        steps: list[Walk | None] = []
        if "type" in schema:
            steps.append(_type(schema["type"]))
        if "$ref" in schema:
            steps.append(self._ref(schema["$ref"]))
        steps += [make(schema[name]) for name, make in _LIMITS.items() if name in schema]
        if schema.get("format") == "date":
            steps.append(_date)
        if "properties" in schema:
            steps.append(self._properties(schema["properties"]))
        if "items" in schema:
            steps.append(self._items(schema["items"]))
        known = [step for step in steps if step is not None]
        return _in_turn(known) if len(known) == len(steps) else None

    def _ref(self, reference: Any) -> Walk | None:
        self._refs += 1
        said: Any = self._document
        for part in str(reference).removeprefix("#/").split("/"):
            said = said.get(part) if isinstance(said, Mapping) else None
        # A schema that refers to itself is left to jsonschema-rs.
        return self.walk(said) if self._refs <= _MAX_REFS else None

    def _properties(self, said: Mapping[str, Any]) -> Walk | None:
        inner = {name: self.walk(one) for name, one in said.items()}
        known = {name: one for name, one in sorted(inner.items()) if one is not None}
        if len(known) < len(inner):
            return None

        def walk(value: Json, path: Path) -> Iterator[SchemaError]:
            if not isinstance(value, dict):
                return
            # The order of jsonschema-rs: it iterates over the shorter of both, and its own properties are sorted.
            for name in value if len(value) <= len(known) else known:
                if name in value and name in known:
                    yield from known[name](value[name], (*path, name))

        return walk

    def _items(self, said: Any) -> Walk | None:
        one = self.walk(said)
        if one is None:
            return None

        def walk(value: Json, path: Path) -> Iterator[SchemaError]:
            for number, item in enumerate(value if isinstance(value, list) else ()):
                yield from one(item, (*path, number))

        return walk


def _in_turn(steps: list[Walk]) -> Walk:
    def walk(value: Json, path: Path) -> Iterator[SchemaError]:
        for step in steps:
            yield from step(value, path)

    return walk


def _error(path: Path, message: str) -> SchemaError:
    return SchemaError(".".join(map(str, path)), message)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, (str, LongText)),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    # JSON has one number type: 1.0 is an integer.
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def _type(said: Any) -> Walk | None:
    names = [said] if isinstance(said, str) else list(said)
    if any(name not in _TYPES for name in names):
        return None
    tests = [_TYPES[name] for name in names]

    def walk(value: Json, path: Path) -> Iterator[SchemaError]:
        if not any(test(value) for test in tests):
            yield _error(path, "is of the wrong type")

    return walk


def _required(names: list[str]) -> Walk:
    def walk(value: Json, path: Path) -> Iterator[SchemaError]:
        if isinstance(value, dict):
            for name in names:
                if name not in value:
                    yield _error((*path, name), "is missing")

    return walk


def _limit(applies: Callable[[Json], bool], breaks: Callable[[Json], bool], message: str) -> Walk:
    def walk(value: Json, path: Path) -> Iterator[SchemaError]:
        if applies(value) and breaks(value):
            yield _error(path, message)

    return walk


def _is_text(value: Json) -> bool:
    return isinstance(value, (str, LongText))


def _pattern(said: str) -> Walk:
    # The regular expression engine of jsonschema-rs: ECMA's "$" differs from Python's.
    validator = jsonschema_rs.Draft202012Validator({"pattern": said})
    return _limit(
        _is_text, lambda value: not validator.is_valid(_plain(value)), "does not match the contract"
    )


_LIMITS: Mapping[str, Callable[[Any], Walk]] = {
    "minimum": lambda said: _limit(_is_number, lambda value: value < said, "is too small"),
    "maximum": lambda said: _limit(_is_number, lambda value: value > said, "is too large"),
    "maxLength": lambda said: _limit(_is_text, lambda value: len(value) > said, "is too long"),
    "pattern": _pattern,
    "maxItems": lambda said: _limit(
        lambda value: isinstance(value, list), lambda value: len(value) > said, "has too many items"
    ),
    "required": _required,
}

_date = _limit(_is_text, lambda value: not is_date(_plain(value)), "is not a date such as 2021-03-27")

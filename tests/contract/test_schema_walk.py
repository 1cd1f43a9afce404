"""The walk that names errors agrees with jsonschema-rs, and stops early."""

from __future__ import annotations

from typing import Any, ClassVar

import jsonschema_rs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import SchemaError
from hospproxy.contract.schema_walk import (
    DATE,
    MOST_ERRORS,
    _Compiler,
    _referred,
    _with_dates,
    check_of,
    is_date,
)
from hospproxy.http.long_text import LongText
from tests.rig import CONTRACT

COMPONENTS = CONTRACT.document["components"]
SCHEMAS = COMPONENTS["schemas"]
NAMES = sorted({name for one in SCHEMAS.values() for name in one.get("properties", {})})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-1, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [1.0, 0.5, 10.0**18, 10**18 - 1, "12", "0", "1\n", "٣", "2021-03-27", "2021-3-2", "", "x" * 256]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
ROUNDS = settings(max_examples=400, deadline=None, print_blob=True)


def wholly(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def reference(schema: dict[str, Any], value: Any) -> list[str]:
    """The key paths of all errors, as jsonschema-rs lists them."""
    whole = _with_dates({**schema, "components": COMPONENTS})
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True, formats={DATE: is_date})
    found = []
    for error in validator.iter_errors(value):
        path = [str(part) for part in error.instance_path]
        if error.kind.name == "required":
            path.append(error.kind.property.strip("'\""))
        found.append(".".join(path))
    return found


def walked(schema: dict[str, Any], value: Any) -> list[SchemaError]:
    walk = _Compiler({**schema, "components": COMPONENTS}).walk(schema)
    assert walk is not None
    return list(walk(value, ()))


class AgreementTests(SynchronousTestCase):
    def test_every_schema_of_the_contract_is_walked(self) -> None:
        for name in SCHEMAS:
            self.assertIsNotNone(_Compiler(CONTRACT.document).walk(wholly(name)), name)

    @given(st.sampled_from(sorted(SCHEMAS)), VALUES)
    @ROUNDS
    def test_with_jsonschema_on_what_is_right_and_on_the_first_mistake(self, name: str, value: Any) -> None:
        schema = wholly(name)
        expected = reference(schema, value)
        found = [one.field for one in walked(schema, value)]
        self.assertEqual(found[:1], expected[:1])
        self.assertEqual(sorted(found), sorted(expected))
        self.assertEqual(
            [one.field for one in check_of(schema, COMPONENTS)(value)],
            found[:MOST_ERRORS] if expected else [],
        )

    @given(st.sampled_from(sorted(SCHEMAS)), st.lists(VALUES, max_size=5))
    @ROUNDS
    def test_on_lists(self, name: str, value: list[Any]) -> None:
        schema = {"type": "array", "maxItems": 3, "items": wholly(name)}
        expected = reference(schema, value)
        found = [one.field for one in walked(schema, value)]
        self.assertEqual((found[:1], sorted(found)), (expected[:1], sorted(expected)))

    @given(st.sampled_from(sorted(SCHEMAS)), VALUES)
    @ROUNDS
    def test_a_long_text_is_a_text(self, name: str, value: Any) -> None:
        def lifted(one: Any) -> Any:
            if isinstance(one, str):
                return LongText(msgspec.Raw(msgspec.json.encode(one)), len(one))
            if isinstance(one, dict):
                return {key: lifted(inner) for key, inner in one.items()}
            return [lifted(inner) for inner in one] if isinstance(one, list) else one

        check = check_of(wholly(name), COMPONENTS)
        self.assertEqual(check(lifted(value)), check(value))


class BoundTests(SynchronousTestCase):
    def test_of_a_million_mistakes_only_the_first_few_are_built(self) -> None:
        class Counting(list[int]):
            looked_at = 0

            def __iter__(self) -> Any:
                for one in super().__iter__():
                    self.looked_at += 1
                    yield one

        images = Counting([1] * 900)
        schema = wholly("Screening")
        walk = _Compiler({**schema, "components": COMPONENTS}).walk(schema)
        assert walk is not None
        first = next(walk({"images": images}, ()))
        self.assertEqual((first.field, images.looked_at), ("images.0", 1))
        self.assertEqual(len(check_of(schema, COMPONENTS)({"images": [1] * 900})), MOST_ERRORS)

    def test_the_first_mistakes_are_all_named(self) -> None:
        wrong = check_of(wholly("NewStaff"), COMPONENTS)({"name": 1, "hospital_id": "x"})
        self.assertEqual(
            [(one.field, one.message) for one in wrong],
            [
                ("password", "is missing"),
                ("name", "is of the wrong type"),
                ("hospital_id", "does not match the contract"),
            ],
        )


class ForeignSchemaTests(SynchronousTestCase):
    """Schemas with keywords that only jsonschema-rs knows, in contracts of other servers."""

    def test_such_a_schema_is_judged_as_a_whole(self) -> None:
        check = check_of({"anyOf": [{"type": "integer"}, {"minLength": 3}]}, {})
        self.assertEqual(check("abc"), ())
        self.assertEqual(check("ab"), (SchemaError("", "does not match the contract"),))
        self.assertEqual(check(LongText(msgspec.Raw(b'"abc"'), 3)), ())
        self.assertEqual(len(check([LongText(msgspec.Raw(b'"abc"'), 3), 1])), 0)

    def test_one_that_leads_into_itself_is_judged_as_a_whole(self) -> None:
        tree = {"type": "object", "properties": {"below": {"$ref": "#/components/schemas/Tree"}}}
        check = check_of({"$ref": "#/components/schemas/Tree"}, {"schemas": {"Tree": tree}})
        self.assertEqual(check({"below": {"below": {}}}), ())
        self.assertEqual(len(check({"below": {"below": 1}})), 1)

    def test_only_dates_are_asserted_of_formats(self) -> None:
        self.assertEqual(check_of({"type": "string", "format": "email"}, {})("nobody"), ())
        self.assertEqual(len(check_of({"type": "string", "format": "date"}, {})("banana")), 1)

    def test_what_is_no_schema(self) -> None:
        with self.assertRaises(ValueError):
            check_of({"type": 7}, {})


class DateTests(SynchronousTestCase):
    def test_what_upstreams_keep_as_a_date(self) -> None:
        for text in ("2021-03-27", "2020-02-29"):
            self.assertTrue(is_date(text), text)
        for text in (
            "banana",
            "2021-02-30",
            "2021-3-7",
            "20210327",
            "2021-W12-6",
            "2021-03-27x",
            "27/03/2021",
            "٢٠٢١-03-27",
        ):
            self.assertFalse(is_date(text), text)


class ReferredTests(SynchronousTestCase):
    """Each check holds the components that its schema refers to, and no others."""

    COMPONENTS: ClassVar[dict[str, Any]] = {
        "schemas": {
            "Note": {"properties": {"author": {"$ref": "#/components/schemas/Author"}}},
            "Author": {"properties": {"name": {"type": "string"}}},
            "Other": {"type": "integer"},
        },
        "parameters": {"id": {"schema": {"type": "integer"}}},
    }

    def test_also_what_those_refer_to(self) -> None:
        schema = {"items": {"$ref": "#/components/schemas/Note"}}
        referred = _referred(schema, self.COMPONENTS)
        self.assertEqual(
            {kind: set(named) for kind, named in referred.items()}, {"schemas": {"Note", "Author"}}
        )
        check = check_of(schema, self.COMPONENTS)
        self.assertEqual([each.field for each in check([{"author": {"name": 1}}])], ["0.author.name"])
        self.assertEqual(_referred({"type": "integer"}, self.COMPONENTS), {})

    def test_one_that_leads_elsewhere_gets_all(self) -> None:
        for reference in ("#/components/schemas/None", "#", "https://elsewhere.example/schema"):
            referred = _referred({"$ref": reference}, self.COMPONENTS)
            self.assertEqual(referred, self.COMPONENTS)

"""How the upstream converts values, and whether a record holds them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.records import RESOURCES, OutOfRange
from hospproxy.http.messages import ABSENT
from hospproxy.outward.writes.stored_values import DoubtfulValue, ValueMatch, as_stored, likeness, same
from tests.rig import CONTRACT

PATIENT, STAFF, NOTE = (CONTRACT.operation(f"create{name}") for name in ("Patient", "Staff", "Note"))
VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("ab57 -T\0\u0301\u00e9\u0665\U0001f600", max_size=12),
    st.dates().map(str),
    st.dates().map(lambda date: f" {date:%Y%m%d}T07"),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.just("a"), st.integers(), max_size=1),
)


class StoredTests(SynchronousTestCase):
    def test_what_is_certain(self) -> None:
        for sent, stored in (("2020-02-03", "2020-02-03"), (None, None), ("", None), ("banana", None)):
            self.assertEqual(as_stored({"birthdate": sent}, PATIENT), {"birthdate": stored})
        self.assertEqual(as_stored({"name": "A", "password": "p"}, STAFF), {"name": "A"})
        for sent, stored in ((5, "5"), (-(2**63), str(-(2**63))), ("x ", "x "), (None, None)):
            self.assertEqual(as_stored({"title": sent}, NOTE), {"title": stored})
        for number, kept in ((7, 7), (7.0, 7), (None, None)):
            self.assertEqual(as_stored({"patient_id": number}, NOTE), {"patient_id": kept})
        self.assertEqual(as_stored(ABSENT, NOTE), {})

    def test_what_is_not(self) -> None:
        for field, operation, values in (
            ("birthdate", PATIENT, ("2020-02-31", "3 May", "20200203", 5, True, ["2020-02-03"])),
            ("title", NOTE, (True, 1.5, 1e20, ["x"], {"a": 1}, "a\0b")),
            ("patient_id", NOTE, (True, 7.5, "7abc", "", " 7", 1e300, [7])),
        ):
            for value in values:
                self.assertEqual(as_stored({field: value}, operation), {field: DoubtfulValue(value)})
        self.assertEqual(
            as_stored(["a"], CONTRACT.operation("createHospital")), {"name": DoubtfulValue(["a"])}
        )

    @given(st.dictionaries(st.sampled_from(["title", "body", "patient_id", "staff_id"]), VALUE))
    def test_a_note_that_rails_has_stored_is_never_unlike_it(self, document: dict[str, Any]) -> None:
        self.is_like("notes", NOTE, document)

    @given(st.dictionaries(st.sampled_from(["name", "hospital_id", "birthdate"]), VALUE))
    def test_nor_is_a_patient(self, document: dict[str, Any]) -> None:
        self.is_like("patients", PATIENT, document)

    def is_like(self, resource: str, operation: Any, document: dict[str, Any]) -> None:
        try:
            row = RESOURCES[resource].coerce(document)
        except OutOfRange:
            return
        expected = as_stored(document, operation)
        doubtful = any(isinstance(value, DoubtfulValue) for value in expected.values())
        self.assertIs(
            likeness(expected, row), ValueMatch.MAYBE if doubtful else ValueMatch.YES, (document, row)
        )


class LikenessTests(SynchronousTestCase):
    def how(self, sent: Any, seen: Any) -> ValueMatch:
        return likeness({"x": sent}, {} if seen is ABSENT else {"x": seen})

    def test_what_an_upstream_may_have_made_of_it(self) -> None:
        for sent, seen in (
            ("limping ", "limping"), ("Ame\u0301lie", "Am\u00e9lie"), ("sit\r\nup", "sit\nup"), ("", None), (None, ""),
            ("  ", ABSENT), ("x" * 300, "x" * 255), ("fine \U0001f600", "fine ?"), (5, "5"), (True, 1), (False, "f"),
            ("2020-02-03", "2020-02-03T00:00:00.000Z"), (DoubtfulValue("3 May"), "anything"),
            (DoubtfulValue("3 May"), None),
        ):  # fmt: skip
            self.assertIs(self.how(sent, seen), ValueMatch.MAYBE, (sent, seen))

    def test_what_it_cannot_have(self) -> None:
        for sent, seen in (
            ("a", "b"), ("a", None), (None, "a"), (1, 2), (1, 1.5), ("x" * 300, "x" * 254), ("x", "xy"), (5, "6"),
            ({"a": 1}, {"a": 2}), ([1], None), (True, False), (1, 10**400), ("1", float("inf")),
        ):  # fmt: skip
            self.assertIs(self.how(sent, seen), ValueMatch.NO, (sent, seen))

    def test_one_field_that_differs_decides(self) -> None:
        self.assertIs(likeness({"a": "x ", "b": 1}, {"a": "x", "b": 2}), ValueMatch.NO)
        self.assertIs(likeness({"a": "x ", "b": 1}, {"a": "x", "b": 1}), ValueMatch.MAYBE)
        self.assertIs(likeness({"a": DoubtfulValue(1), "b": "y"}, {"a": "x", "b": "z"}), ValueMatch.NO)

    def test_sameness(self) -> None:
        for one, other in ((1, 1.0), ({"a": [1]}, {"a": [1]}), ("x", "x"), (None, None), (True, True)):
            self.assertTrue(same(one, other))
        for one, other in ((1, True), (0, False), ("1", 1), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (None, 0)):
            self.assertFalse(same(one, other))

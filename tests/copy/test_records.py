"""Which parts of a response the copy takes for records."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import Contract
from hospproxy.contract.document import ContractError, read
from hospproxy.copy.records import MOST_ID, CopiedRecord, NotWhole, Shapes, as_id, moment_of

from .rig import CONTRACT, DAY, SHAPES, body, patient, stamp

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=8,
)


def of(content: bytes, resource: str = "patients", shapes: Shapes = SHAPES) -> list[CopiedRecord | None]:
    return list(shapes.records(resource, content))


class RecordTests(SynchronousTestCase):
    def test_a_record_and_each_record_of_a_list(self) -> None:
        (one,) = of(body(patient(7, updated=5.0)))
        assert one is not None
        self.assertEqual((one.resource, one.id, one.updated), ("patients", "7", DAY + 5.0))
        self.assertEqual([each and each.id for each in of(body(patient(9), patient(8)))], ["9", "8"])
        self.assertEqual(of(b"[]"), [])

    def test_addresses_and_write_only_fields_are_never_kept(self) -> None:
        staff = {"id": 3, "name": "ann", "hospital_id": 1, "created_at": stamp(0), "updated_at": stamp(0),
                 "url": "http://hosp.test/staffs/3.json", "password": "secret-word"}  # fmt: skip
        (one,) = of(body(staff), "staffs")
        assert one is not None
        self.assertEqual(
            list(json.loads(one.content)), ["id", "name", "hospital_id", "created_at", "updated_at"]
        )

    def test_what_the_contract_asks_of_dropped_fields_is_not_asked_of_a_kept_record(self) -> None:
        kept = {name: value for name, value in patient().items() if name != "url"}
        for url, required in (({"type": "string", "minLength": 12}, []), ({"type": "string", "format": "uri"}, []),
                              ({"type": "object"}, ["url"]), ({"type": "string"}, ["url"])):  # fmt: skip
            document: Any = json.loads(json.dumps(CONTRACT.document))
            schema = document["components"]["schemas"]["Patient"]
            schema["properties"]["url"], schema["required"] = url, required
            shape = Shapes.of(read(document)).by_name["patients"]
            self.assertEqual(shape.read_kept(json.dumps(kept).encode()).id, "7", url)
            self.assertRaises(NotWhole, shape.read_kept, json.dumps({**kept, "name": 7}).encode())

    def test_the_host_of_the_reader_makes_no_difference(self) -> None:
        key = b"k" * 32
        (one,), (other,) = of(body(patient())), of(body(patient(url="https://other.test/patients/7.json")))
        assert one is not None and other is not None
        self.assertEqual(one.digest(key), other.digest(key))
        (turned,) = of(json.dumps(dict(reversed(patient().items()))).encode())
        (changed,) = of(body(patient(name="Rax")))
        assert turned is not None and changed is not None
        self.assertEqual(one.digest(key), turned.digest(key))
        self.assertNotEqual(one.digest(key), changed.digest(key))

    def test_an_incomplete_record_is_none(self) -> None:
        whole = patient()
        for name in whole:
            part = {field: value for field, value in whole.items() if field != name}
            self.assertEqual([one is None for one in of(body(part))], [name != "url"], name)

    def test_what_does_not_match_the_contract_is_none(self) -> None:
        for wrong in (patient(name=7), patient(birthdate=["x"]), {**patient(), "id": True}, {**patient(), "id": -1},
                      {**patient(), "id": None}, 7, None, "x"):  # fmt: skip
            self.assertEqual(of(body(wrong)), [None], wrong)

    def test_one_bad_record_does_not_spoil_the_others_of_a_list(self) -> None:
        self.assertEqual(
            [one and one.id for one in of(body(patient(9), {"id": 8}, patient(7)))], ["9", None, "7"]
        )

    @given(st.binary(max_size=30) | Json.map(lambda value: json.dumps(value).encode()))
    def test_any_bytes(self, content: bytes) -> None:
        for resource in SHAPES.by_name:
            of(content, resource)

    def test_deep_and_long_content(self) -> None:
        self.assertEqual(of(b"[" * 100_000), [])
        self.assertEqual(of(body(patient()).replace(b'"Rex"', b'"\\ud800"')), [])
        self.assertIsNone(as_id("9" * (MOST_ID + 1)))
        self.assertIsNone(as_id(10**MOST_ID))
        self.assertIsNone(as_id("a\n"))
        self.assertEqual((as_id(7), as_id("a-7")), ("7", "a-7"))
        self.assertEqual([moment_of(each) for each in ("2024-02-30T00:00:00Z", 7, None)], [None] * 3)


class ContractTests(SynchronousTestCase):
    def changed(self, **mark: Any) -> Contract:
        document: Any = json.loads(json.dumps(CONTRACT.document))
        document["x-hospproxy"]["resources"]["notes"].update(mark)
        return read(document)

    def test_hosps_contract_marks_all_four(self) -> None:
        self.assertEqual(sorted(SHAPES.by_name), ["hospitals", "notes", "patients", "staffs"])
        self.assertEqual(SHAPES.by_name["notes"].fields[:3], ("id", "title", "body"))

    def test_a_resource_without_the_mark_is_left_out(self) -> None:
        self.assertNotIn("notes", Shapes.of(self.changed(copy=False)).by_name)

    def test_the_mark_is_true_or_false(self) -> None:
        with self.assertRaisesRegex(
            ContractError, r"x-hospproxy\.resources\.notes\.copy: must be true or false"
        ):
            self.changed(copy="yes")

    def test_a_resource_of_which_no_single_record_can_be_read_is_left_out(self) -> None:
        operations = {name: one for name, one in CONTRACT.operations.items() if name != "getNote"}
        self.assertNotIn("notes", Shapes.of(evolve(CONTRACT, operations=operations)).by_name)

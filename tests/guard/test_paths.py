"""One spelling for each path and query."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard import paths
from hospproxy.http.errors import Refused
from tests.rig import CONTRACT

PATIENTS = CONTRACT.operation("listPatients")
NOTES = CONTRACT.operation("listNotes")


class SegmentsTests(SynchronousTestCase):
    def test_spellings_that_a_rails_router_takes(self) -> None:
        for path in (
            b"/hospitals/1",
            b"/hospitals/1/",
            b"//hospitals//1",
            b"/%68ospitals/1",
            b"/hospitals/%31",
        ):
            self.assertEqual(paths.segments(path), (("hospitals", "1"), False), path)
        self.assertEqual(paths.segments(b"/hospitals/1.json"), (("hospitals", "1"), True))
        self.assertEqual(paths.segments(b"/"), ((), False))

    def test_tricks_name_nothing(self) -> None:
        for path in (
            b"/hospitals/../staffs",
            b"/hospitals/%2e%2e/staffs",
            b"/./hospitals",
            b"/hospitals%2f1",
            b"/hospitals%5c1",
            b"/%2568ospitals",
            b"/hospitals/%00",
            b"/hospitals/%ff",
            b"/hospitals;a=b",
            b"/hospitals/1%3fx",
            b"/hospitals%0a",
        ):
            self.assertIsNone(paths.segments(path), path)

    def test_ids(self) -> None:
        for text, wanted in (("1", "1"), ("007", "7"), ("9" * 18, "9" * 18)):
            self.assertEqual(paths.canonical_id(text), wanted)
        for text in ("", "0", "-1", "+1", "1a", "1.0", "٣", "9" * 19, " 1"):
            self.assertIsNone(paths.canonical_id(text), text)

    @given(st.binary(max_size=100))
    def test_what_is_found_is_its_own_spelling(self, raw: bytes) -> None:
        found = paths.segments(raw)
        if found is not None:
            again = paths.segments("".join("/" + quote(part, safe="") for part in found[0]).encode())
            if all(not part.endswith(".json") for part in found[0]):
                self.assertEqual(again, (found[0], False))


class QueryTests(SynchronousTestCase):
    def test_known_parameters_pass_in_one_spelling_and_others_go(self) -> None:
        self.assertEqual(
            paths.query(b"utm=x&hospital_id=07&&page=2&url=x", PATIENTS), ((("hospital_id", "7"),), None)
        )
        self.assertEqual(paths.query(b"%68ospital_id=%37", PATIENTS), ((("hospital_id", "7"),), None))
        self.assertEqual(paths.query(None, PATIENTS), ((), None))

    def test_an_empty_filter_passes_as_it_is(self) -> None:
        self.assertEqual(paths.query(b"hospital_id=", PATIENTS), ((("hospital_id", ""),), None))

    def test_what_reads_in_two_ways_is_refused(self) -> None:
        for raw in (
            b"hospital_id[]=1",
            b"name[]=x",
            b"name[x]=x",
            b"hospital_id%5B%5D=1",
            b"hospital_id=%00",
            b"a=%ff",
        ):
            with self.assertRaises(Refused, msg=repr(raw)):
                paths.query(raw, PATIENTS)

    def test_of_one_that_is_given_twice_the_last_counts(self) -> None:
        """Rails takes the last, so clients that send two have always got the list of the second."""
        for raw, wanted in (
            (b"hospital_id=1&hospital_id=1", "1"),
            (b"hospital_id=1&hospital_id=2", "2"),
            (b"hospital_id=x&hospital_id=02", "2"),
            (b"hospital_id=2&hospital%5fid=3", "3"),
            (b"hospital_id=2&hospital_id=", ""),
        ):
            self.assertEqual(paths.query(raw, PATIENTS), ((("hospital_id", wanted),), None), raw)

    def test_a_field_of_the_records_is_a_filter(self) -> None:
        for raw, wanted in (
            (b"staff_id=03", (("staff_id", "3"),)),
            (b"staff_id=3&patient_id=7", (("patient_id", "7"), ("staff_id", "3"))),
            (b"title=07&body=a+b", (("title", "07"), ("body", "a b"))),
            (b"staff_id=", (("staff_id", ""),)),
            (b"staff_id=2&staff_id=3", (("staff_id", "3"),)),
        ):
            self.assertEqual(paths.query(raw, NOTES), (wanted, None), raw)

    def test_a_filter_is_judged_by_the_fields_schema(self) -> None:
        for raw, field in ((b"staff_id=x", "staff_id"), (b"id=0", "id"), (b"title=" + b"x" * 256, "title")):
            wrong = paths.query(raw, NOTES)[1]
            assert wrong is not None, raw
            self.assertEqual((wrong.status, wrong.field), (422, field))

    def test_nothing_in_the_query_of_anything_but_a_list(self) -> None:
        """In Rails a query parameter wins over the body: ?staff_id=2 would set another author."""
        for name in (
            "createNote",
            "updateNote",
            "deleteNote",
            "getNote",
            "getMe",
            "screenPatient",
            "getStatus",
        ):
            self.assertEqual(paths.query(b"staff_id=2&title=x&id=1", CONTRACT.operation(name)), ((), None))

    def test_the_contract_judges_the_value(self) -> None:
        for raw in (b"hospital_id=x", b"hospital_id=0", b"hospital_id=-1", b"hospital_id=" + b"9" * 19):
            wrong = paths.query(raw, PATIENTS)[1]
            assert wrong is not None, raw
            self.assertEqual((wrong.status, wrong.field), (422, "hospital_id"))

    @given(st.binary(max_size=80))
    def test_never_more_than_the_contract_knows(self, raw: bytes) -> None:
        try:
            found, _ = paths.query(raw, PATIENTS)
        except Refused:
            return
        self.assertLessEqual(
            {name for name, _ in found},
            {"hospital_id", "id", "name", "birthdate", "created_at", "updated_at"},
        )

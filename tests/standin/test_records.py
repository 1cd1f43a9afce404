from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.records import (
    MAX_INTEGER,
    RESOURCES,
    OutOfRange,
    Store,
    timestamp,
    to_date,
    to_integer,
    to_text,
)
from hosp_standin.service import load_seed

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


def ticking() -> Iterator[float]:
    return itertools.count(1_700_000_000.5)


def store() -> Store:
    ticks = ticking()
    return Store(load_seed(), lambda: next(ticks))


class CoercionTests(SynchronousTestCase):
    def test_integers_as_ruby_reads_them(self) -> None:
        for given_value, stored in [
            (7, 7),
            ("7", 7),
            (" 7", 7),
            ("7abc", 7),
            ("-3", -3),
            ("abc", 0),
            ("", None),
            ("  ", None),
            (None, None),
            (True, 1),
            (False, 0),
            (7.9, 7),
        ]:
            self.assertEqual(to_integer(given_value), stored, repr(given_value))

    def test_integers_that_no_column_holds(self) -> None:
        self.assertEqual(to_integer(MAX_INTEGER), MAX_INTEGER)
        for value in (MAX_INTEGER + 1, str(MAX_INTEGER + 1), 1e300, float("nan"), float("inf")):
            self.assertRaises(OutOfRange, to_integer, value)

    @given(SCALARS)
    def test_an_integer_fits_or_is_out_of_range(self, value: object) -> None:
        try:
            number = to_integer(value)
        except OutOfRange:
            return
        self.assertTrue(number is None or (type(number) is int and abs(number) <= MAX_INTEGER))

    def test_texts(self) -> None:
        self.assertEqual(
            [to_text(value) for value in ("a", None, True, False, 7, 7.5)], ["a", None, "t", "f", "7", "7.5"]
        )

    def test_dates(self) -> None:
        for value in ("2014-08-28", "2014/08/28", "20140828", "2014-08-28T10:00:00Z", " 2014-08-28"):
            self.assertEqual(to_date(value), "2014-08-28", value)
        for value in (
            "2014-02-30",
            "yesterday",
            "",
            None,
            20140828,
            "2014-08/28",
            "0000-01-01",
            "2014-08-28x",
        ):
            self.assertIsNone(to_date(value), repr(value))

    @given(st.dates())
    def test_every_date_is_kept(self, date: object) -> None:
        self.assertEqual(to_date(str(date)), str(date))

    @given(st.dictionaries(st.text() | st.sampled_from(["title", "staff_id"]), SCALARS | st.lists(SCALARS)))
    def test_only_columns_and_scalars_are_stored(self, fields: dict[str, object]) -> None:
        try:
            stored = RESOURCES["notes"].coerce(fields)
        except OutOfRange:
            return
        expected = {
            name
            for name, value in fields.items()
            if name in ("title", "body", "patient_id", "staff_id") and not isinstance(value, list)
        }
        self.assertEqual(set(stored), expected)


class TimestampTests(SynchronousTestCase):
    def test_as_hosp_writes_it(self) -> None:
        self.assertEqual(timestamp(1616866394.049), "2021-03-27T17:33:14.049Z")
        self.assertEqual(timestamp(0), "1970-01-01T00:00:00.000Z")


class StoreTests(SynchronousTestCase):
    def test_seed(self) -> None:
        counts = {name: len(list(store().newest_first(name))) for name in RESOURCES}
        self.assertEqual(counts, {"hospitals": 7, "staffs": 14, "patients": 140, "notes": 300})

    def test_newest_id_first(self) -> None:
        ids = [record["id"] for record in store().newest_first("hospitals")]
        self.assertEqual(ids, [9, 6, 5, 4, 3, 2, 1])

    def test_filter(self) -> None:
        records = list(store().newest_first("patients", "hospital_id", {3}))
        self.assertTrue(records)
        self.assertEqual({record["hospital_id"] for record in records}, {3})

    def test_created_with_the_next_id_and_nulls(self) -> None:
        hosp = store()
        note = hosp.create("notes", {"title": "x", "staff_id": "7", "colour": "red"})
        self.assertEqual(
            note,
            {
                "id": 301,
                "title": "x",
                "body": None,
                "patient_id": None,
                "staff_id": 7,
                "created_at": "2023-11-14T22:13:20.500Z",
                "updated_at": "2023-11-14T22:13:20.500Z",
            },
        )
        self.assertEqual(hosp.get("notes", 301), note)

    @given(st.lists(st.sampled_from(["create", "delete"]), max_size=30))
    def test_ids_rise_and_are_never_reused(self, deeds: list[str]) -> None:
        hosp = store()
        seen = [9]
        for deed in deeds:
            if deed == "create":
                created = hosp.create("hospitals", {"name": "x"})["id"]
                assert isinstance(created, int)
                self.assertGreater(created, seen[-1])
                seen.append(created)
            else:
                hosp.delete("hospitals", seen[-1])

    def test_update_moves_updated_at_only_if_something_changed(self) -> None:
        hosp = store()
        before = hosp.get("notes", 300)
        assert before is not None
        self.assertEqual(hosp.update("notes", 300, {"title": before["title"]}), before)
        after = hosp.update("notes", 300, {"title": "changed"})
        assert after is not None
        self.assertEqual((after["title"], after["created_at"]), ("changed", before["created_at"]))
        self.assertEqual(after["updated_at"], "2023-11-14T22:13:20.500Z")
        self.assertEqual(hosp.get("notes", 300), after)

    def test_what_was_handed_out_stays_as_it_was(self) -> None:
        hosp = store()
        before = hosp.get("notes", 300)
        assert before is not None
        copy = dict(before)
        hosp.update("notes", 300, {"title": "changed"})
        self.assertEqual(before, copy)

    def test_update_of_what_is_not_there(self) -> None:
        self.assertIsNone(store().update("notes", 999, {"title": "x"}))

    def test_delete(self) -> None:
        hosp = store()
        gone = hosp.delete("patients", 7)
        assert gone is not None
        self.assertEqual(gone["id"], 7)
        self.assertIsNone(hosp.get("patients", 7))
        self.assertIsNone(hosp.delete("patients", 7))

    def test_credentials(self) -> None:
        hosp = store()
        staff = hosp.authenticate("staff1", "password1")
        assert staff is not None
        self.assertEqual(staff["id"], 1)
        self.assertIsNone(hosp.authenticate("staff1", "password2"))
        self.assertIsNone(hosp.authenticate("nobody", "password1"))

    def test_no_record_shows_a_password(self) -> None:
        hosp = store()
        created = hosp.create("staffs", {"name": "new", "hospital_id": 1, "password": "secret"})
        updated = hosp.update("staffs", 1, {"password": "secret"})
        for record in (created, updated, hosp.delete("staffs", 1), *hosp.newest_first("staffs")):
            self.assertNotIn("password", record or {"password": 1})

    def test_a_new_password_counts_at_once_and_an_empty_one_changes_nothing(self) -> None:
        hosp = store()
        before = hosp.get("staffs", 1)
        self.assertEqual(hosp.update("staffs", 1, {"password": ""}), before)
        self.assertIsNotNone(hosp.authenticate("staff1", "password1"))
        after = hosp.update("staffs", 1, {"password": "new"})
        self.assertNotEqual(after, before)
        self.assertIsNone(hosp.authenticate("staff1", "password1"))
        self.assertIsNotNone(hosp.authenticate("staff1", "new"))

    def test_the_deleted_and_the_renamed_are_not_let_in(self) -> None:
        hosp = store()
        hosp.delete("staffs", 1)
        hosp.update("staffs", 2, {"name": "other"})
        self.assertIsNone(hosp.authenticate("staff1", "password1"))
        self.assertIsNone(hosp.authenticate("staff2", "password2"))
        self.assertIsNotNone(hosp.authenticate("other", "password2"))

    def test_of_several_with_one_name_the_oldest_counts(self) -> None:
        hosp = store()
        hosp.create("staffs", {"name": "staff1", "password": "mine"})
        self.assertIsNone(hosp.authenticate("staff1", "mine"))
        self.assertIsNotNone(hosp.authenticate("staff1", "password1"))

    def test_restore(self) -> None:
        hosp = store()
        hosp.create("notes", {"title": "x"})
        hosp.update("staffs", 1, {"password": "new"})
        hosp.delete("hospitals", 1)
        hosp.restore()
        fresh = store()
        for name in RESOURCES:
            self.assertEqual(list(hosp.newest_first(name)), list(fresh.newest_first(name)))
        self.assertIsNotNone(hosp.authenticate("staff1", "password1"))
        self.assertEqual(hosp.create("notes", {})["id"], 301)

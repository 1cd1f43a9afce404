"""Which record is the write's own: a wrong "found" loses a write, a wrong "absent" doubles it."""

from __future__ import annotations

import datetime
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import Resource
from hospproxy.outward.writes.stored_values import DoubtfulValue
from hospproxy.outward.writes.verdict import (
    Found,
    LostPatch,
    LostPost,
    NotKnowable,
    NotThere,
    has_changed,
    moment,
    which_is_mine,
)
from hospproxy.outward.writes.versions import RecordVersion
from tests.rig import CONTRACT

NOTES = CONTRACT.resources["notes"]
BARE = Resource("things", ascending=True)


def at(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def note(number: int, created: float = 1000.0, **fields: Any) -> dict[str, Any]:
    row = {"id": number, "title": "t", "body": "b", "patient_id": 7, "staff_id": 1}
    return {**row, "created_at": at(created), "updated_at": at(created), **fields}


MINE = {"title": "t", "body": "b", "patient_id": 7, "staff_id": 1}
SEARCH = LostPost(NOTES, MINE, floor=100, not_before=990.0)


class WhichIsMineTests(SynchronousTestCase):
    def found(self, search: LostPost, *rows: Any) -> int:
        verdict = which_is_mine(search, rows)
        assert isinstance(verdict, Found), verdict
        return int(verdict.record["id"])

    def is_a(self, kind: type, search: LostPost, *rows: Any) -> None:
        self.assertIsInstance(which_is_mine(search, rows), kind)

    def test_the_one_that_is_equal_and_new(self) -> None:
        self.assertEqual(self.found(SEARCH, note(102, title="other"), note(101), note(99, 900.0)), 101)

    def test_none(self) -> None:
        self.is_a(NotThere, SEARCH)
        self.is_a(NotThere, SEARCH, note(101, title="other"), "junk", {"title": "t"}, note(0, id=True))

    def test_not_one_that_had_been_seen(self) -> None:
        self.is_a(NotThere, SEARCH, note(100, 900.0), note(99, 900.0))

    def test_not_one_from_before_the_write(self) -> None:
        self.is_a(NotThere, SEARCH, note(99, created=989.9))
        self.assertEqual(self.found(SEARCH, note(101, created=990.0)), 101)

    def test_not_one_that_is_anothers(self) -> None:
        self.is_a(NotThere, evolve(SEARCH, claimed=frozenset({101})), note(101))
        self.assertEqual(self.found(evolve(SEARCH, claimed=frozenset({101})), note(102), note(101)), 102)

    def test_more_than_writes_are_open_is_not_knowable(self) -> None:
        self.is_a(NotKnowable, SEARCH, note(101), note(102))
        self.assertEqual(self.found(evolve(SEARCH, open_entries=2), note(102), note(101)), 101)

    def test_one_that_somebody_changed_is_not_knowable(self) -> None:
        self.is_a(NotKnowable, SEARCH, note(101, title="new", updated_at=at(1001)))
        self.is_a(NotThere, SEARCH, note(99, 900.0, updated_at=at(1001)))
        self.is_a(NotThere, evolve(SEARCH, claimed=frozenset({101})), note(101, updated_at=at(1001)))

    def test_one_that_was_touched_through_the_proxy_is_not_knowable(self) -> None:
        self.is_a(NotKnowable, evolve(SEARCH, touched=frozenset({101})))
        self.is_a(NotThere, evolve(SEARCH, touched=frozenset({99}), sequence=100))
        self.is_a(NotKnowable, evolve(SEARCH, touched=frozenset({99})))
        self.is_a(NotThere, evolve(SEARCH, touched=frozenset({99})), note(99, 900.0))
        self.is_a(NotThere, evolve(SEARCH, touched=frozenset({101}), claimed=frozenset({101})))

    def test_one_with_more_in_it_than_was_sent_is_not_knowable(self) -> None:
        search = evolve(SEARCH, expected={"patient_id": 7}, optional=frozenset({"title"}))
        self.is_a(NotKnowable, search, note(101))
        self.assertEqual(self.found(search, note(101, title=None)), 101)

    def test_where_the_contract_names_less_less_is_asked(self) -> None:
        search = LostPost(BARE, {"title": "t"}, floor=5, not_before=1e12)
        self.assertEqual(self.found(search, {"id": 6, "title": "t"}, {"id": 5, "title": "t"}), 6)
        self.is_a(NotKnowable, search, {"id": 6, "title": "t"}, {"id": 7, "title": "t"})

    def test_without_any_bound_an_equal_record_may_be_an_old_one(self) -> None:
        search = LostPost(BARE, {"title": "t"}, floor=None)
        self.is_a(NotKnowable, search, {"id": 6, "title": "t"})
        self.is_a(NotThere, search, {"id": 6, "title": "x"})

    def test_one_that_may_be_what_was_made_of_it_is_neither_found_nor_absent(self) -> None:
        self.is_a(
            NotKnowable, evolve(SEARCH, expected={**MINE, "title": DoubtfulValue(True)}), note(101, title="t")
        )
        self.is_a(NotKnowable, evolve(SEARCH, expected={**MINE, "title": "t "}), note(101))
        self.is_a(
            NotThere, evolve(SEARCH, expected={**MINE, "title": DoubtfulValue(True)}), note(101, body="x")
        )
        self.is_a(NotThere, evolve(SEARCH, expected={**MINE, "title": DoubtfulValue(True)}), note(99, 900.0))
        # A record may be this write's if only its id, or only its date, is older.
        self.is_a(NotKnowable, evolve(SEARCH, expected={**MINE, "title": DoubtfulValue(True)}), note(99))
        self.is_a(
            NotKnowable, evolve(SEARCH, expected={**MINE, "title": DoubtfulValue(True)}), note(101, 900.0)
        )
        self.assertEqual(self.found(SEARCH, note(102, title="t "), note(101)), 101)

    def test_by_its_reference_alone(self) -> None:
        search = evolve(SEARCH, reference=("body", "hp-1"), claimed=frozenset({101}))
        self.assertEqual(self.found(search, note(102), note(101, body="x hp-1", updated_at=at(5000))), 101)
        self.is_a(NotThere, search, note(102), note(103, body=None))

    @given(
        st.lists(
            st.tuples(
                st.integers(95, 110),
                st.sampled_from(["t", "u"]),
                st.sampled_from([980.0, 1000.0]),
                st.booleans(),
            ),
            max_size=6,
            unique_by=lambda row: row[0],
        ),
        st.frozensets(st.integers(99, 110), max_size=4),
        st.frozensets(st.integers(99, 110), max_size=2),
    )
    def test_only_what_every_rule_allows(
        self, rows: list[tuple[int, str, float, bool]], claimed: frozenset[int], touched: frozenset[int]
    ) -> None:
        made = [
            note(number, created, title=title, updated_at=at(created + changed))
            for number, title, created, changed in rows
        ]
        search = evolve(SEARCH, claimed=claimed, touched=touched, sequence=99)
        verdict = which_is_mine(search, made)
        mine = [row for row in rows if row[0] not in claimed]
        equal = [row for row in mine if row[1] == "t" and (row[0] > 100 or row[2] >= 990)]
        changed = [row for row in mine if row[1] != "t" and row[3] and row[0] > 100 and row[2] >= 990]
        if isinstance(verdict, Found):
            self.assertEqual([row[0] for row in equal], [verdict.record["id"]])
            self.assertTrue(equal[0][0] > 100 and equal[0][2] >= 990)
        elif isinstance(verdict, NotThere):
            self.assertEqual(equal, [])
        if not isinstance(verdict, NotKnowable):
            self.assertEqual(changed, [])
            old = {row[0] for row in rows if row[0] <= 100 and row[2] < 990}
            self.assertLessEqual({number for number in touched if number > 99}, claimed | old)

    def test_one_sign_of_age_alone_is_no_proof(self) -> None:
        """Otherwise a clock that was set, or one id out of order, would hide the write's own record."""
        for doubtful in (note(101, created=989.9), note(100, created=1000.0)):
            self.is_a(NotKnowable, SEARCH, doubtful)
        for unknown in (evolve(SEARCH, floor=None), evolve(SEARCH, not_before=None)):
            self.is_a(NotKnowable, unknown, note(99, created=900.0))
            self.assertEqual(self.found(unknown, note(101)), 101)

    def test_a_record_that_another_author_changed_is_not_mine(self) -> None:
        search = evolve(SEARCH, immutable=frozenset({"staff_id", "patient_id"}))
        self.is_a(NotThere, search, note(101, staff_id=2, updated_at=at(1001)))
        self.is_a(NotThere, search, note(101, patient_id=8, updated_at=at(1001)))
        self.is_a(NotKnowable, search, note(101, title="x", updated_at=at(1001)))
        self.is_a(NotKnowable, search, note(101, title="x", updated_at=at(999)))

    def test_stamps_that_are_one_moment_cut_to_milliseconds_are_no_change(self) -> None:
        self.is_a(NotThere, SEARCH, note(101, title="x", updated_at=at(1000.001)))
        self.is_a(NotKnowable, SEARCH, note(101, title="x", updated_at=at(1000.003)))

    def test_one_that_is_equal_is_mine_whatever_its_last_stamp(self) -> None:
        self.assertEqual(self.found(SEARCH, note(101, updated_at=at(1005))), 101)


class HasChangedTests(SynchronousTestCase):
    change = LostPatch(NOTES, {"title": "new"}, unreadable=False, not_before=990.0)

    def test_new_values(self) -> None:
        self.assertIsInstance(has_changed(self.change, note(1, title="new")), Found)

    def test_last_changed_before_the_write(self) -> None:
        self.assertIsInstance(has_changed(self.change, note(1, created=980.0)), NotThere)

    def test_as_it_was_seen_before_whatever_the_clock_says(self) -> None:
        seen = RecordVersion.of(note(1))
        self.assertIsInstance(has_changed(evolve(self.change, before=seen), note(1)), NotThere)
        other = note(1, updated_at=at(1000.001))
        self.assertIsInstance(has_changed(evolve(self.change, before=seen), other), NotKnowable)
        hidden = evolve(self.change, before=seen, unreadable=True)
        self.assertIsInstance(has_changed(hidden, note(1)), NotKnowable)

    def test_what_it_may_have_been_before_does_not_show_that_it_has_landed(self) -> None:
        old, new = note(1, 900.0), note(1, 900.0, title="new", updated_at=at(1000))
        for before, row, landed in (
            (RecordVersion.of(old), new, True),
            (None, new, False),
            (RecordVersion.of(new), new, False),
            # It had these values already, and another field was changed.
            (RecordVersion.of({**old, "title": "new"}), new, False),
            # Another worker may have written them before this began.
            (RecordVersion.of(old), {**new, "updated_at": at(980)}, False),
        ):
            found = has_changed(evolve(self.change, before=before), row)
            assert isinstance(found, Found)
            self.assertEqual(found.landed, landed, (before, row))

    def test_a_colleague_wrote(self) -> None:
        for updated in (995.0, 989.0):  # HOSP's clock may have been set a little
            self.assertIsInstance(has_changed(self.change, note(1, created=updated)), NotKnowable)
        self.assertIsInstance(has_changed(evolve(self.change, not_before=None), note(1)), NotKnowable)

    def test_what_never_comes_back_proves_nothing(self) -> None:
        hidden = evolve(self.change, unreadable=True)
        self.assertIsInstance(has_changed(hidden, note(1, title="new")), NotKnowable)
        self.assertIsInstance(has_changed(hidden, note(1, created=980.0)), NotThere)

    def test_what_may_be_the_new_value_is_neither(self) -> None:
        spaced = evolve(self.change, expected={"title": "new "})
        self.assertIsInstance(has_changed(spaced, note(1, title="new", created=995.0)), NotKnowable)
        bare = LostPatch(BARE, {"title": "new "}, unreadable=False, not_before=None)
        self.assertIsInstance(has_changed(bare, {"id": 1, "title": "new"}), NotKnowable)

    def test_without_dates_the_values_are_all_there_is(self) -> None:
        change = LostPatch(BARE, {"title": "new"}, unreadable=False, not_before=None)
        self.assertIsInstance(has_changed(change, {"id": 1, "title": "new"}), Found)
        self.assertIsInstance(has_changed(change, {"id": 1, "title": "old"}), NotThere)
        self.assertIsInstance(has_changed(change, None), NotKnowable)


class ValueTests(SynchronousTestCase):
    def test_moments(self) -> None:
        self.assertEqual(moment("1970-01-01T00:00:01.500Z"), 1.5)
        self.assertEqual(moment("1970-01-01T00:00:01"), 1.0)
        for nothing in (None, 5, "", "x"):
            self.assertIsNone(moment(nothing))

"""A list with a record added to it equals the list that HOSP would send, or counts as unknown."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.contract import Resource
from hospproxy.memory.record_patch import patched
from hospproxy.memory.storable import to_keep
from hospproxy.memory.store import CacheEntry, EntryRequest

from .cache_rig import JSON, answer, call_of

NOTES = Resource("notes", ascending=True)
ORIGIN = "https://hosp.example"


def entry(document: Any, *query: tuple[str, str], operation: str = "listNotes", **how: Any) -> CacheEntry:
    body = json.dumps(document).encode()
    response = to_keep(answer(body, headers=how.pop("headers", (JSON, (b"ETag", b'"1"')))))
    return CacheEntry(response, 0.0, 60.0, b"name", EntryRequest(operation, query, ORIGIN))


def after(kept: CacheEntry, write: str, *path: str, stored: Any = None, **how: Any) -> Any:
    """The document after a write; None if that is not known."""
    body = b"<p>gone" if stored is None else json.dumps(stored).encode()
    headers = (JSON,) if stored is not None else ((b"Content-Type", b"text/html"),)
    given = {"origin": ORIGIN, "resource": NOTES, "filters": frozenset({"patient_id"}), **how}
    found = patched(kept, call_of(write, *path, document={}), answer(body, headers=headers), **given)
    return None if found is None else json.loads(found.response.body)


def note(number: Any, patient: Any = 1, text: str = "") -> dict[str, Any]:
    return {"id": number, "patient_id": patient, "text": text}


class UncertainFilterTests(SynchronousTestCase):
    """HOSP may filter by a field that the contract does not list, or ignore it."""

    def test_a_record_that_fits_is_in_the_list_either_way(self) -> None:
        kept = entry([note(1, text="a")], ("text", "a"))
        new = note(2, text="a")
        self.assertEqual(after(kept, "createNote", stored=new), [new, note(1, text="a")])

    def test_of_one_that_does_not_fit_nothing_is_known(self) -> None:
        kept = entry([note(1, text="a")], ("text", "a"))
        self.assertIsNone(after(kept, "createNote", stored=note(2, text="b")))
        self.assertIsNone(after(kept, "updateNote", "1", stored=note(1, text="b")))

    def test_one_that_acertain_filter_leaves_out_is_not_in_the_list(self) -> None:
        for query in ((("text", "a"), ("patient_id", "1")), (("patient_id", "1"), ("text", "a"))):
            kept = entry([note(1, text="a")], *query)
            self.assertEqual(after(kept, "createNote", stored=note(2, 9, "b")), [note(1, text="a")])

    def test_what_is_deleted_is_in_no_list(self) -> None:
        kept = entry([note(2, text="a"), note(1, text="a")], ("text", "a"))
        self.assertEqual(after(kept, "deleteNote", "2"), [note(1, text="a")])

    def test_a_stamp_is_cut_when_it_is_written_out(self) -> None:
        resource = Resource("notes", ascending=True, created_at="made", updated_at="changed")
        for name in ("made", "changed"):
            kept = entry([], (name, "2026"))
            self.assertIsNone(after(kept, "createNote", stored={**note(2), name: "2026"}, resource=resource))


class ExampleTests(SynchronousTestCase):
    def test_what_is_not_sure(self) -> None:
        new = note(3)
        for kept, stored, how in (
            (entry([note(1), note(2)]), new, {}),  # not newest first
            (entry([note(2), note(2)]), new, {}),
            (entry([{"name": "x"}]), new, {}),
            (entry([1]), new, {}),
            (entry([note("2")]), new, {}),
            (entry({"notes": []}), new, {}),
            (entry([note(2)]), {"id": 3}, {}),  # not the whole record
            (entry([note(2)]), {**new, "more": 1}, {}),
            (entry([note(2)]), [new], {}),
            (entry([note(2)]), {"patient_id": 1}, {}),
            (entry([note(2)]), note("3"), {}),
            (entry([note(2)]), note(True), {}),
            (entry([note(2)], ("_page", "2")), new, {}),
            (entry([note(2)], ("patient_id", "")), new, {}),
            (entry([note(2)]), new, {"origin": "http://hosp.example"}),
            (entry([note(2)]), new, {"resource": Resource("notes")}),
            (entry([note(2)], headers=((b"Content-Type", b"text/html"),)), new, {}),
        ):
            self.assertIsNone(after(kept, "createNote", stored=stored, **how), (kept, stored, how))

    def test_an_empty_list_is_alist(self) -> None:
        self.assertEqual(after(entry([]), "createNote", stored=note(3)), [note(3)])

    def test_a_record_of_another_is_left_alone(self) -> None:
        me = entry({"id": 1, "name": "ann"}, operation="getMe")
        staffs = Resource("staffs", ascending=True)
        said = {"id": 9, "name": "new", "hospital_id": 1}
        self.assertEqual(after(me, "createStaff", stored=said, resource=staffs), {"id": 1, "name": "ann"})

    def test_the_write_must_have_answered_with_its_own_record(self) -> None:
        self.assertIsNone(after(entry([note(2)]), "updateNote", "2", stored=note(3)))

    def test_what_belonged_to_the_old_body_goes(self) -> None:
        found = patched(
            entry([]), call_of("createNote", document={}), answer(b'{"id":3}'), ORIGIN, NOTES, frozenset()
        )
        assert found is not None
        self.assertEqual(found.response.headers.pairs, (JSON,))
        self.assertEqual((found.name, found.began, found.asked), (b"name", 0.0, entry([]).asked))


class ModelTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(
        st.dictionaries(st.integers(1, 6), st.sampled_from([1, 2, None])),
        st.sampled_from(["createNote", "updateNote", "deleteNote"]),
        st.integers(1, 8),
        st.sampled_from([1, 2, None]),
        st.sampled_from([(), (("patient_id", "1"),), (("patient_id", "2"),)]),
    )
    def test_it_is_as_hosp_would_answer(
        self, there: dict[int, Any], write: str, number: int, patient: Any, query: tuple[tuple[str, str], ...]
    ) -> None:
        def listed(records: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
            return [
                records[one]
                for one in sorted(records, reverse=True)
                if all(str(records[one][name]) == value for name, value in query)
            ]

        records = {one: note(one, of) for one, of in there.items()}
        before = entry(listed(records), *query)
        new = note(number, patient, "new")
        if write == "deleteNote":
            records.pop(number, None)
            found = after(before, write, str(number))
        else:
            records[number] = new
            found = after(before, write, *([] if write == "createNote" else [str(number)]), stored=new)
        self.assertEqual(found, listed(records))

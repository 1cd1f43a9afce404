"""The notes made from one result contain all of it, and each is found again by its reference alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.memory.note_text import NOTE_BYTES, NoteText, note_texts
from tests.rig import CONTRACT

SHAPE = CONTRACT.operation("screenPatient").becomes_note
REFERENCE = "hp-0123456789abcdef0123"


def texts(answer: dict[str, Any]) -> list[NoteText]:
    assert SHAPE is not None
    return note_texts(SHAPE, answer, REFERENCE)


def inside(note: NoteText) -> str:
    """The piece of the result that a part contains."""
    head, _, rest = note.body.partition("\n")
    assert head.startswith("Part ")
    return rest.removesuffix(f"\nReference: {note.reference}")


class NoteTextTests(SynchronousTestCase):
    def test_it_reads_as_people_write(self) -> None:
        (note,) = texts({"overall": "clear", "results": ["fine", {"a": 1}, None]})
        self.assertEqual((note.reference, note.title), (REFERENCE, "Screening result"))
        self.assertEqual(
            note.body,
            f'Overall: clear\nImage 1: fine\nImage 2: {{"a":1}}\nImage 3: no result\nReference: {REFERENCE}',
        )

    def test_odd_answers_still_make_a_note(self) -> None:
        self.assertEqual(texts({})[0].body, f"Overall: no result\nReference: {REFERENCE}")
        self.assertIn("No images.", texts({"overall": 1, "results": []})[0].body)

    def test_a_long_one_is_cut_between_lines(self) -> None:
        results = [f"{number} {'x' * 10_000}" for number in range(20)]
        notes = texts({"overall": "clear", "results": results})
        self.assertEqual(
            [note.title for note in notes], [f"Screening result (part {n} of 4)" for n in range(1, 5)]
        )
        lines = [line for note in notes for line in inside(note).split("\n")]
        self.assertEqual(
            lines, ["Overall: clear", *(f"Image {n}: {one}" for n, one in enumerate(results, 1))]
        )

    def test_as_long_as_one_note_may_be(self) -> None:
        room = NOTE_BYTES - len(f"Overall: \nReference: {REFERENCE}")
        self.assertEqual(len(texts({"overall": "x" * room})), 1)
        self.assertEqual(len(texts({"overall": "x" * (room + 1)})), 2)

    @given(
        st.lists(st.tuples(st.sampled_from("x\u00e9\u732b\U0001f43e\n"), st.integers(1, 90_000)), max_size=5)
    )
    def test_nothing_is_lost_and_nothing_is_too_long(self, runs: list[tuple[str, int]]) -> None:
        overall = "".join(character * count for character, count in runs)
        notes = texts({"overall": overall})
        self.assertTrue(all(len(note.body.encode()) <= NOTE_BYTES for note in notes))
        if len(notes) > 1:
            held = "".join(map(inside, notes))
            self.assertEqual(held.replace("\n", ""), f"Overall: {overall}".replace("\n", ""))
            self.assertGreaterEqual(held.count("\n"), overall.count("\n") - len(notes))
        for note in notes:
            self.assertEqual([one for one in notes if note.reference in one.body], [note])
            self.assertEqual(sum(note.reference in one.reference for one in notes), 1)

    def test_the_references_of_many_parts_are_no_parts_of_each_other(self) -> None:
        notes = texts({"overall": "x" * 1_500_000})
        self.assertGreater(len(notes), 20)
        for note in notes:
            self.assertEqual([one for one in notes if note.reference in one.body], [note])

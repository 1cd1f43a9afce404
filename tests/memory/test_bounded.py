from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.memory.bounded import LastChanges, OpenCounts

KEYS = st.sampled_from("abcdefgh")


class LastChangesTests(SynchronousTestCase):
    def test_it_knows_the_latest(self) -> None:
        changes: LastChanges[str] = LastChanges(4)
        changes.note("a", 1)
        changes.note("a", 2)
        self.assertEqual((changes.of("a"), changes.of("b")), (2, 0))
        changes.note_all(3)
        self.assertEqual((changes.of("a"), changes.of("b"), len(changes)), (3, 3, 0))

    @given(st.lists(KEYS, max_size=40), st.integers(1, 5))
    def test_it_is_bounded_and_forgets_to_the_safe_side(self, noted: list[str], most: int) -> None:
        changes: LastChanges[str] = LastChanges(most)
        true: dict[str, int] = {}
        seen = dict.fromkeys("abcdefgh", 0)
        for sequence, key in enumerate(noted, 1):
            changes.note(key, sequence)
            true[key] = sequence
            self.assertLessEqual(len(changes), most)
            for one, before in seen.items():
                self.assertGreaterEqual(changes.of(one), true.get(one, 0))
                self.assertGreaterEqual(changes.of(one), before, "it must never fall")
                seen[one] = changes.of(one)
            self.assertLessEqual(max(seen.values()), sequence)


class CountsTests(SynchronousTestCase):
    def test_all_means_everybody(self) -> None:
        counts = OpenCounts(2)
        counts.add(None)
        self.assertTrue(counts.holds("a"))
        counts.end("a")
        self.assertTrue(counts.holds("a"), "ending one account's ends nobody else's")
        counts.end(None)
        self.assertFalse(counts.holds("a"))
        counts.end(None)
        counts.add(None)
        self.assertTrue(counts.holds("a"), "an end without a beginning must not count")

    @given(st.lists(st.tuples(st.booleans(), KEYS), max_size=60), st.integers(1, 4))
    def test_what_is_open_is_held_and_in_the_end_nothing_is(
        self, steps: list[tuple[bool, str]], most: int
    ) -> None:
        counts, true = OpenCounts(most), Counter[str]()
        for begins, key in steps:
            if begins:
                counts.add(key)
                true[key] += 1
            elif true[key]:
                counts.end(key)
                true[key] -= 1
            self.assertLessEqual(len(counts), most)
            for one, number in true.items():
                if number:
                    self.assertTrue(counts.holds(one))
        for key, number in true.items():
            for _ in range(number):
                counts.end(key)
        self.assertFalse(any(counts.holds(key) for key in "abcdefgh"))
        self.assertEqual(len(counts), 0)

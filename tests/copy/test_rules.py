"""Which sighting of a record is newer, what proves a deletion, since when a state holds."""

from __future__ import annotations

import random
from collections.abc import Iterator

from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.copy.rules import RecordState, Sighting, Verdict, accepted, holds_since, judge

PRESENT, MISSING, DELETED = RecordState.PRESENT, RecordState.MISSING, RecordState.DELETED
A, B = b"a", b"b"
KNOWN = Sighting(PRESENT, 10.0, 20.0, A, 100.0)
DAY = 86_400.0


def shown(began: float, ended: float, digest: bytes = B, updated: float | None = 101.0) -> Sighting:
    return Sighting(PRESENT, began, ended, digest, updated)


class JudgeTests(SynchronousTestCase):
    def test_of_a_record_that_is_not_known(self) -> None:
        self.assertIs(judge(None, KNOWN), Verdict.NEW)
        self.assertIs(judge(None, Sighting(MISSING, 1.0, 2.0)), Verdict.NOTHING)
        self.assertIs(judge(None, Sighting(DELETED, 1.0, 2.0)), Verdict.DELETED)

    def test_a_look_that_began_later_is_newer_whatever_dates_it_carries(self) -> None:
        self.assertIs(judge(KNOWN, shown(20.0, 21.0, B, 5.0)), Verdict.CHANGED)
        self.assertIs(judge(KNOWN, shown(20.0, 21.0, B, None)), Verdict.CHANGED)
        self.assertIs(judge(KNOWN, shown(20.0, 21.0, A, 100.0)), Verdict.CONFIRMED)

    def test_a_look_that_ended_before_changes_nothing_whatever_dates_it_carries(self) -> None:
        for late in (shown(1.0, 10.0, B, 999.0), Sighting(MISSING, 1.0, 10.0), Sighting(DELETED, 1.0, 10.0)):
            self.assertIs(judge(KNOWN, late), Verdict.LATE)

    def test_between_looks_that_overlap_the_higher_date_is_newer(self) -> None:
        self.assertIs(judge(KNOWN, shown(15.0, 25.0, B, 101.0)), Verdict.CHANGED)
        self.assertIs(judge(KNOWN, shown(5.0, 25.0, B, 99.0)), Verdict.LATE)
        self.assertIs(judge(KNOWN, shown(5.0, 15.0, A, 100.0)), Verdict.CONFIRMED)

    def test_without_a_date_that_decides_what_is_known_stays(self) -> None:
        for updated in (None, 100.0):
            self.assertIs(judge(KNOWN, shown(15.0, 25.0, B, updated)), Verdict.UNDECIDED)
        self.assertIs(judge(evolve(KNOWN, updated=None), shown(15.0, 25.0)), Verdict.UNDECIDED)
        self.assertIsNone(accepted(KNOWN, shown(15.0, 25.0, B, None), Verdict.UNDECIDED))

    def test_a_record_that_is_not_found_is_missing_until_somebody_sees_it(self) -> None:
        self.assertIs(judge(KNOWN, Sighting(MISSING, 20.0, 21.0)), Verdict.MISSING)
        self.assertIs(judge(KNOWN, Sighting(MISSING, 15.0, 25.0)), Verdict.LATE)
        missing = accepted(KNOWN, Sighting(MISSING, 20.0, 21.0), Verdict.MISSING)
        assert missing is not None
        self.assertIs(judge(missing, shown(20.5, 22.0, A, 100.0)), Verdict.CONFIRMED)
        self.assertIs(judge(missing, shown(30.0, 31.0)), Verdict.CHANGED)
        self.assertIs(judge(missing, Sighting(MISSING, 30.0, 31.0)), Verdict.NOTHING)
        self.assertIs(judge(missing, Sighting(DELETED, 30.0, 30.0)), Verdict.DELETED)

    def test_a_late_look_does_not_bring_a_deleted_record_back(self) -> None:
        deleted = evolve(KNOWN, state=DELETED, began=20.0, ended=20.0)
        self.assertIs(judge(deleted, shown(15.0, 25.0, B, 999.0)), Verdict.LATE)
        self.assertIs(judge(deleted, shown(15.0, 20.0, B, 999.0)), Verdict.LATE)
        self.assertIs(judge(deleted, Sighting(MISSING, 30.0, 31.0)), Verdict.NOTHING)
        self.assertIs(judge(deleted, Sighting(DELETED, 15.0, 25.0)), Verdict.NOTHING)
        self.assertIs(judge(deleted, Sighting(DELETED, 30.0, 30.0)), Verdict.NOTHING)

    def test_a_later_look_shows_that_a_deleted_record_is_back(self) -> None:
        deleted = evolve(KNOWN, state=DELETED)
        self.assertIs(judge(deleted, shown(20.0, 21.0, A, 100.0)), Verdict.CHANGED)

    def test_a_deletion_counts_even_if_a_read_was_in_flight(self) -> None:
        self.assertIs(judge(KNOWN, Sighting(DELETED, 15.0, 15.0)), Verdict.DELETED)


class SinceTests(SynchronousTestCase):
    def test_a_state_holds_from_its_own_date_if_that_rose(self) -> None:
        self.assertEqual(holds_since(500.0, 100.0, None, None), 100.0)
        self.assertEqual(holds_since(500.0, 100.0, 50.0, 50.0), 100.0)
        self.assertEqual(holds_since(500.0, 50.0, 50.0, 50.0), 500.0)
        self.assertEqual(holds_since(500.0, None, 50.0, 50.0), 500.0)

    @given(
        st.lists(st.tuples(st.floats(-1e9, 1e10), st.one_of(st.none(), st.floats(-1e9, 1e10))), min_size=1)
    )
    def test_it_never_falls_and_is_never_after_all_that_was_seen(
        self, sightings: list[tuple[float, float | None]]
    ) -> None:
        before = updated_before = None
        for seen_at, updated in sightings:
            since = holds_since(seen_at, updated, before, updated_before)
            self.assertTrue(before is None or since >= before)
            self.assertLessEqual(since, max(one for one, _ in sightings))
            before, updated_before = since, updated


@frozen
class Moment:
    """A state of the record at HOSP, from ``at`` until the next."""

    at: float
    content: bytes | None
    updated: float | None


class HospModel:
    """One record at HOSP, and responses that overlap and arrive in any order.

    :param dates: "rising", "steps" (HOSP's clock is set back and forth) or "none".
    """

    def __init__(self, seed: int, dates: str) -> None:
        self.random = random.Random(seed)
        self.journal = [Moment(-1.0, b"0", self._date(0.0, dates))]
        at = 0.0
        for number in range(1, self.random.randrange(2, 12)):
            at += self.random.uniform(0.5, 5.0)
            content = str(number).encode()
            self.journal.append(Moment(at, content, self._date(at, dates)))
        self.deleted_at = at + 2.0 if self.random.random() < 0.5 else None
        if self.deleted_at is not None:
            self.journal.append(Moment(self.deleted_at, None, None))
        self.end = at + 10.0

    def _date(self, at: float, dates: str) -> float | None:
        if dates == "none":
            return None
        return at + (self.random.uniform(-50, 50) if dates == "steps" else 0.0)

    def state_at(self, at: float) -> int:
        return max(number for number, one in enumerate(self.journal) if one.at <= at)

    def sightings(self) -> Iterator[tuple[Sighting, int]]:
        """Looks with the number of the state that each saw, nearly in the order of their responses."""
        found = []
        for _ in range(self.random.randrange(1, 25)):
            began = self.random.uniform(0, self.end)
            ended = began + self.random.choice((0.1, 1.0, 10.0))
            seen = self.state_at(self.random.uniform(began, ended))
            one = self.journal[seen]
            state = MISSING if one.content is None else PRESENT
            found.append((Sighting(state, began, ended, one.content, one.updated), seen))
        if self.deleted_at is not None and self.random.random() < 0.8:
            ended = self.deleted_at + self.random.uniform(0, 3.0)
            found.append((Sighting(DELETED, ended, ended), len(self.journal) - 1))
        # Several processes: what one has waiting arrives up to seconds later than what another has.
        found.sort(key=lambda each: each[0].ended + self.random.uniform(0, 4.0))
        yield from found

    def quiet(self) -> Sighting:
        """A sighting when all is over."""
        one = self.journal[-1]
        began = self.end + 100.0
        if one.content is None:
            return Sighting(DELETED, began, began)
        return Sighting(PRESENT, began, began + 1.0, one.content, one.updated)


class ModelTests(SynchronousTestCase):
    """Random histories; a failure names its seed."""

    def known_after(self, model: HospModel, *, monotone: bool, why: str) -> Sighting | None:
        known: Sighting | None = None
        newest = -1
        for sighting, number in model.sightings():
            verdict = judge(known, sighting)
            after = accepted(known, sighting, verdict)
            if known is not None and sighting.ended <= known.began and sighting.began < known.ended:
                self.assertIsNone(after, why)
            if after is None:
                continue
            if monotone and after.state is not MISSING:
                self.assertGreaterEqual(number, newest, f"{why}: an older state replaced a newer one")
                newest = number
            known = after
        return known

    def test_with_dates_that_rise_knowledge_never_goes_back(self) -> None:
        for seed in range(400):
            self.known_after(HospModel(seed, "rising"), monotone=True, why=f"seed {seed}")

    def test_a_quiet_look_settles_everything_even_if_clocks_step(self) -> None:
        for seed in range(300):
            for dates in ("rising", "steps", "none"):
                model = HospModel(seed, dates)
                known = self.known_after(model, monotone=False, why=f"seed {seed} {dates}")
                last = model.quiet()
                after = accepted(known, last, judge(known, last)) or known
                assert after is not None
                self.assertIs(after.state, last.state, f"seed {seed} {dates}")
                if last.digest is not None:
                    self.assertEqual(after.digest, last.digest, f"seed {seed} {dates}")

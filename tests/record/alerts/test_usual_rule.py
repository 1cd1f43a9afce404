from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.alerts.alert import Alert
from hospproxy.record.alerts.local_time import Calendar
from hospproxy.record.alerts.usual_rule import MoreThanUsual, SavedUsual

from .records import DAY, HOUR, MONDAY, facts, failed_login, opened, record


def rule(learning_days: float = 28, **more: int) -> MoreThanUsual:
    return MoreThanUsual(Calendar("UTC"), 4.0, 20, learning_days, **more)


def day_of(given: MoreThanUsual, day: int, patients: int, person: int = 1) -> list[Alert]:
    """One day's work: the alerts that it raised."""
    begin = MONDAY + day * DAY + 9 * HOUR
    said = [
        given.observe(opened(f"{day}-{number}", person), begin + number * 60) for number in range(patients)
    ]
    return [alert for alert in said if alert is not None]


class MoreThanUsualTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rule = rule()
        for day in range(30):
            self.assertEqual(day_of(self.rule, day, 10), [])

    def test_four_times_as_many_and_not_one_less(self) -> None:
        [alert] = day_of(self.rule, 32, 40)
        self.assertEqual((alert.rule, alert.subject, alert.count), ("more-patients-than-usual", 1, 40))
        self.assertEqual(alert.text, "staff1 (id 1) opened 40 patients within a day; usual are 10.")

    def test_few_are_never_too_many(self) -> None:
        self.rule = rule()
        for day in range(30):
            day_of(self.rule, day, 1)
        self.assertEqual((day_of(self.rule, 32, 19), len(day_of(self.rule, 35, 20))), ([], 1))

    def test_a_holiday_teaches_nothing(self) -> None:
        self.assertEqual(day_of(self.rule, 60, 39), [])

    def test_a_strange_day_teaches_no_more_than_its_limit(self) -> None:
        self.assertEqual(len(day_of(self.rule, 32, 500)), 461)
        self.assertEqual(len(day_of(self.rule, 35, 52)), 1)  # 10 + (40 - 10) / 10 = 13, and four times that

    def test_nobody_is_judged_before_he_is_known(self) -> None:
        for day in range(40, 60):
            self.assertEqual(day_of(self.rule, day, 10, person=2), [])
        self.assertEqual(day_of(self.rule, 62, 200, person=2), [])

    def test_a_night_shift_is_not_cut_in_two(self) -> None:
        begin = MONDAY + 40 * DAY + 23 * HOUR + 1800
        said = [self.rule.observe(opened(str(number)), begin + number * 60) for number in range(60)]
        self.assertTrue(any(said))

    def test_what_opens_no_patient_does_not_count(self) -> None:
        for given_ in (record(), failed_login()):
            self.assertIsNone(self.rule.observe(facts(given_), MONDAY + 40 * DAY))

    def test_what_is_kept_is_gone_on_from_and_names_no_patient(self) -> None:
        again = rule()
        again.load(self.rule.dump())
        self.assertEqual(again.dump(), self.rule.dump())
        self.assertNotIn("29-", repr(self.rule.dump()))
        self.assertEqual((day_of(again, 32, 39), len(day_of(again, 35, 60)) > 0), ([], True))

    def test_what_is_damaged_changes_nothing(self) -> None:
        before = self.rule.dump()
        for mean in (float("nan"), float("inf"), -1.0):
            self.assertRaises(ValueError, self.rule.load, [SavedUsual(2, 0.0, 1, 1, mean, 1)])
        self.assertEqual(self.rule.dump(), before)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 50), st.integers(0, 200_000)), max_size=100))
    def test_it_is_bounded(self, seen: list[tuple[int, int, int]]) -> None:
        given_, now = rule(0, max_people=4, max_entries=2000), MONDAY
        for person, patient, passed in seen:
            now += passed
            given_.observe(opened(str(patient), person), now)
            self.assertLessEqual(len(given_), 4)
            self.assertLessEqual(given_._patients.size[1], 4)

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.alerts.alert import Alert
from hospproxy.record.alerts.hour_rules import HALF_LIFE_DAYS, QuietHours, SavedHours, UnusualHours
from hospproxy.record.alerts.local_time import HOURS, Calendar

from .records import DAY, HOUR, MONDAY, facts, failed_login, record


def active(rule: UnusualHours, person: int, times: Iterable[float]) -> list[Alert]:
    said = [rule.observe(facts(record(person)), now) for now in times]
    return [alert for alert in said if alert is not None]


def weeks(number: int, days: Iterable[int], hours: Iterable[int], since: float = MONDAY) -> list[float]:
    """Times at which a user with regular hours is at work."""
    return [
        since + week * 7 * DAY + day * DAY + hour * HOUR
        for week in range(number)
        for day in days
        for hour in hours
    ]


class TheCalendar(SynchronousTestCase):
    def test_days_and_hours_are_those_of_the_zone(self) -> None:
        moment = Calendar("UTC").moment(MONDAY + 3 * DAY + 5 * HOUR + 1000)
        self.assertEqual((moment.hour, moment.minute), (3 * 24 + 5, 315))
        berlin = Calendar("Europe/Berlin")
        summer = MONDAY + 200 * DAY
        self.assertEqual(berlin.moment(MONDAY + 23 * HOUR).hour, 24)
        self.assertEqual(berlin.moment(summer).minute, 120)
        self.assertEqual(Calendar("Asia/Kathmandu").moment(MONDAY).minute, 345)
        self.assertEqual(berlin.clock(MONDAY), "Monday 01:00 (Europe/Berlin)")


class Quiet(SynchronousTestCase):
    def within(self, now: float, *spans: tuple[int, int]) -> bool:
        return QuietHours(spans, Calendar("UTC")).observe(facts(record()), MONDAY + now) is not None

    def test_over_midnight(self) -> None:
        night = (22 * 60, 5 * 60)
        for hour, quiet in ((21.9, False), (22, True), (23.9, True), (0, True), (4.9, True), (5, False)):
            self.assertEqual(self.within(hour * HOUR, night), quiet, hour)

    def test_within_a_day_and_several(self) -> None:
        noon, evening = (12 * 60, 13 * 60), (20 * 60, 1440)
        said = [self.within(hour * HOUR, noon, evening) for hour in (11, 12, 13, 19, 20, 23.9)]
        self.assertEqual(said, [False, True, False, False, True, True])

    def test_whoever_was_not_let_in_was_not_active(self) -> None:
        self.assertIsNone(QuietHours([(0, 720)], Calendar("UTC")).observe(facts(failed_login()), MONDAY))


class Unusual(SynchronousTestCase):
    def setUp(self) -> None:
        self.rule = UnusualHours(Calendar("UTC"), 28)

    def test_at_night_in_a_practice_that_is_closed(self) -> None:
        self.assertEqual(active(self.rule, 1, weeks(6, range(5), range(9, 17))), [])
        after = MONDAY + 6 * 7 * DAY
        self.assertEqual(active(self.rule, 1, [after + 9 * HOUR, after + 17 * HOUR]), [])
        [alert] = active(self.rule, 1, [after + DAY + 3 * HOUR])
        self.assertEqual((alert.rule, alert.subject), ("unusual-hours", 1))
        self.assertEqual(alert.text, "staff1 (id 1) was active at an unusual time: Tuesday 03:00 (UTC).")

    def test_no_wolf_is_cried_in_a_house_that_works_at_night(self) -> None:
        night = [20, 21, 22, 23, 0, 1, 2, 3, 4, 5]
        everything = sorted(
            [(now, 1) for now in weeks(6, range(5), range(8, 17))]
            + [(now, person) for person in (2, 3) for now in weeks(6, range(7), night)]
        )
        for now, person in everything:
            self.assertEqual(active(self.rule, person, [now]), [])
        self.assertEqual(active(self.rule, 1, weeks(1, range(7), night, MONDAY + 42 * DAY)), [])

    def test_nobody_has_a_usual_before_it_is_learnt(self) -> None:
        active(self.rule, 1, weeks(3, range(5), range(9, 17)))
        self.assertEqual(active(self.rule, 1, [MONDAY + 25 * DAY + 3 * HOUR]), [])

    def test_nor_does_whoever_is_seldom_here_or_new(self) -> None:
        active(self.rule, 1, weeks(8, range(5), range(9, 17)))
        active(self.rule, 2, weeks(8, [0], [10]))
        night = MONDAY + 57 * DAY + 3 * HOUR
        self.assertEqual(active(self.rule, 2, [night]) + active(self.rule, 3, [night]), [])

    def test_one_strange_night_does_not_make_the_next_one_usual(self) -> None:
        active(self.rule, 1, weeks(6, range(5), range(9, 17)))
        nights = [MONDAY + 42 * DAY + week * 7 * DAY + 3 * HOUR for week in range(3)]
        self.assertEqual(len(active(self.rule, 1, nights)), 3)
        later = [MONDAY + 63 * DAY + week * 7 * DAY + 3 * HOUR for week in range(3)]
        self.assertEqual(active(self.rule, 1, later), [], "what goes on becomes usual")

    def test_what_was_is_forgotten_by_halves(self) -> None:
        active(self.rule, 1, [MONDAY, MONDAY + HALF_LIFE_DAYS * DAY + 5 * HOUR])
        _, [saved] = self.rule.dump()
        weights = memoryview(saved.hours).cast("f")
        self.assertAlmostEqual(weights[0], 0.5)

    def test_many_records_of_one_hour_are_one(self) -> None:
        active(self.rule, 1, [MONDAY + second for second in range(0, 3600, 100)])
        _, [saved] = self.rule.dump()
        self.assertEqual(sum(memoryview(saved.hours).cast("f")), 1.0)

    def test_what_is_kept_is_gone_on_from(self) -> None:
        active(self.rule, 1, weeks(6, range(5), range(9, 17)))
        again = UnusualHours(Calendar("UTC"), 28)
        again.load(*self.rule.dump())
        self.assertEqual(again.dump(), self.rule.dump())
        self.assertEqual(len(active(again, 1, [MONDAY + 43 * DAY + 3 * HOUR])), 1)

    def test_what_is_damaged_changes_nothing(self) -> None:
        active(self.rule, 1, [MONDAY])
        before = self.rule.dump()
        good = before[1][0]
        for hours in (b"", good.hours[:-4], good.hours[:-4] + b"\0\0\xc0\x7f", bytes(HOURS * 8)):
            bad = SavedHours(2, good.since, good.day, good.days, hours)
            self.assertRaises(ValueError, self.rule.load, None, [good, bad])
        self.assertEqual(self.rule.dump(), before)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(-50, 2000)), max_size=80))
    def test_it_is_bounded(self, seen: list[tuple[int, int]]) -> None:
        rule = UnusualHours(Calendar("UTC"), 0, max_people=5)
        for person, hour in seen:
            given_ = facts(record(person))
            rule.observe(given_, MONDAY + hour * HOUR)
            self.assertLessEqual(len(rule), 5)
            self.assertLessEqual(len(rule._here), 5)

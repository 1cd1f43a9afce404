from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.alerts.alert import Alert, in_words
from hospproxy.record.alerts.bounded import DistinctCounter, RepeatFilter
from hospproxy.record.alerts.count_rules import (
    AnothersName,
    BreakGlass,
    FailedLoginsByAddress,
    FailedLoginsByName,
    ManyPatients,
    source_of,
)

from .records import facts, failed_login, opened, record, told


class TheGlass(SynchronousTestCase):
    def test_each_time_for_each_patient(self) -> None:
        broken = record(
            patient_id="9", break_glass="collapsed", rule_hits=["permissions:x", "permissions:break-glass"]
        )
        seen = [(facts(one), 0.0) for one in (broken, {**broken, "patient_id": "8"})]
        alerts = told(BreakGlass(), seen)
        assert alerts[0] is not None and alerts[1] is not None
        self.assertIn("for patient 9: collapsed", alerts[0].text)
        self.assertNotEqual(alerts[0].subject, alerts[1].subject)

    def test_not_where_nothing_was_broken(self) -> None:
        for without in (record(break_glass="x"), record(rule_hits=["permissions:other_hospital(report)"])):
            self.assertEqual(told(BreakGlass(), [(facts(without), 0.0)]), [None])


class FailedLogins(SynchronousTestCase):
    def test_from_one_address_at_the_number_not_before(self) -> None:
        seen = [(facts(failed_login(pseudonym=f"{n:064x}")), float(n)) for n in range(4)]
        *before, alert = told(FailedLoginsByAddress(4, 60), seen)
        self.assertEqual(before, [None] * 3)
        assert alert is not None
        self.assertEqual(
            (alert.rule, alert.subject, alert.who, alert.count, alert.window_s),
            ("failed-logins-address", "192.0.2.7", None, 4, 60),
        )
        self.assertEqual(alert.text, "4 failed log-ins from 192.0.2.7 within 1 minute.")

    def test_spread_over_addresses_or_time_they_are_not_many(self) -> None:
        spread = [(facts(failed_login(address=f"192.0.2.{n}")), 0.0) for n in range(20)]
        slow = [(facts(failed_login()), n * 31.0) for n in range(20)]
        self.assertEqual(told(FailedLoginsByAddress(3, 60), [*spread]), [None] * 20)
        self.assertEqual(told(FailedLoginsByAddress(3, 60), [*slow]), [None] * 20)

    def test_one_sender_has_a_whole_network_of_ipv6(self) -> None:
        self.assertEqual(source_of("2001:db8::1"), source_of("2001:db8::ffff:2"))
        self.assertNotEqual(source_of("2001:db8::1"), source_of("2001:db8:0:1::1"))
        self.assertEqual(source_of("::ffff:192.0.2.7"), "192.0.2.7")
        self.assertEqual(source_of("fe80::1%eth0"), "fe80::/64")
        self.assertEqual(source_of("a pipe"), "a pipe")

    def test_for_one_name_which_is_told_by_its_hmac_alone(self) -> None:
        seen = [(facts(failed_login(address=f"192.0.2.{n}")), float(n)) for n in range(3)]
        alert = told(FailedLoginsByName(3, 60), seen)[-1]
        assert alert is not None and alert.who is not None
        self.assertEqual((alert.subject, alert.who["name_hmac"]), ("ab" * 32, "ab" * 32))
        self.assertIn("(HMAC abababababababab)", alert.text)
        self.assertIn("192.0.2.2", alert.text)

    def test_a_name_that_hosp_knows_is_told(self) -> None:
        [alert] = told(FailedLoginsByName(1, 60), [(facts(failed_login(name="staff1")), 0.0)])
        assert alert is not None
        self.assertIn("log-ins for staff1 within", alert.text)

    def test_what_succeeded_does_not_count(self) -> None:
        seen = [(facts(record()), 0.0)] * 5
        for rule in (FailedLoginsByAddress(1, 60), FailedLoginsByName(1, 60)):
            self.assertEqual(told(rule, seen), [None] * 5)


class Patients(SynchronousTestCase):
    def test_distinct_ones_of_one_person(self) -> None:
        same = [(opened("7"), 0.0)] * 50
        others = [(opened(str(n), person=n), 0.0) for n in range(50)]
        rule = ManyPatients(3, 3600)
        self.assertEqual(told(rule, [*same, *others]), [None] * 100)
        alert = told(rule, [(opened("8"), 1.0), (opened("9"), 2.0)])[-1]
        assert alert is not None
        self.assertEqual((alert.rule, alert.subject, alert.count), ("many-patients", 1, 3))
        self.assertEqual(alert.text, "staff1 (id 1) opened 3 patients or more within 1 hour.")

    def test_a_list_counts_as_one(self) -> None:
        listed = facts(record(disclosed={"set": "c0ffee", "count": 500}))
        self.assertEqual(told(ManyPatients(2, 3600), [(listed, 0.0)] * 20), [None] * 20)

    def test_a_name_steers_no_terminal(self) -> None:
        who = {"id": 1, "name": "a\n\x1b[31m\u202eb" + "c" * 900, "certainty": "verified"}
        [alert] = told(ManyPatients(1, 60), [(facts(record(who=who, patient_id="7")), 0.0)])
        assert alert is not None
        self.assertTrue(alert.text.isprintable())
        self.assertEqual((alert.text[:9], len(alert.text)), ("a··[31m·b", 500))


class NotesInAnothersName(SynchronousTestCase):
    def test_each_claim_counts(self) -> None:
        claim = facts(record(rule_hits=["ownership:refuse:staff_id"], status=403))
        nothing, alert = told(AnothersName(2, 60), [(claim, 0.0), (claim, 1.0)])
        self.assertIsNone(nothing)
        assert alert is not None
        self.assertEqual(alert.text, "staff1 (id 1) sent 2 records in another's name within 1 minute.")
        self.assertEqual(told(AnothersName(1, 60), [(facts(record()), 0.0)]), [None])


EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=120
)
"""Subject, key, seconds since the one before."""


class AgainstTheWholeHistory(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(EVENTS, st.integers(1, 5), st.integers(1, 20))
    def test_the_number_is_that_of_the_window_up_to_the_most(
        self, events: list[tuple[int, int, int]], most: int, window: int
    ) -> None:
        counting, history, now = DistinctCounter(most, window), [], 0
        for subject, key, passed in events:
            now += passed
            history.append((subject, key, now))
            naive = {k for s, k, at in history if s == subject and now - at < window}
            self.assertEqual(counting.add(subject, key, now), min(len(naive), most))

    @settings(max_examples=200, deadline=None)
    @given(EVENTS, st.integers(1, 5), st.integers(1, 8), st.integers(1, 4))
    def test_it_is_bounded_and_forgets_rather_than_invents(
        self, events: list[tuple[int, int, int]], most: int, entries: int, subjects: int
    ) -> None:
        counting = DistinctCounter(most, 20, max_entries=entries, max_subjects=subjects)
        everything, now = DistinctCounter(most, 20), 0
        for subject, key, passed in events:
            now += passed
            self.assertLessEqual(counting.add(subject, key, now), everything.add(subject, key, now))
            self.assertLessEqual(counting.size[0], max(entries, most))
            self.assertLessEqual(counting.size[1], subjects)
            held = [len(seen) for seen in counting._subjects.values()]
            self.assertEqual(counting.size, (sum(held), len(held)))

    def test_a_clock_that_is_set_back_does_not_stop_the_counting(self) -> None:
        counting = DistinctCounter(3, 60)
        for key in range(3):
            counting.add("a", key, 1e9)
        self.assertEqual([counting.add("a", key, 100.0) for key in range(4, 8)], [1, 2, 3, 3])


class Repeating(SynchronousTestCase):
    def alert(self, subject: int | str = 1, **more: Any) -> Alert:
        return Alert(rule="many-patients", subject=subject, text="", facts=facts(record()), **more)

    def test_once_and_then_with_a_count(self) -> None:
        repeats = RepeatFilter(60)
        at = (0.0, 1.0, 59.0, 60.0, 61.0, 500.0)
        self.assertEqual([repeats.withheld(self.alert(), now) for now in at], [0, None, None, 2, None, 1])

    def test_subjects_are_apart_and_a_rule_may_be_silent_for_longer(self) -> None:
        repeats = RepeatFilter(60)
        self.assertEqual([repeats.withheld(self.alert(subject), 0.0) for subject in (1, 2, "1")], [0, 0, 0])
        self.assertIsNone(repeats.withheld(self.alert(silent_s=100), 99.0))
        self.assertEqual(repeats.withheld(self.alert(silent_s=100), 100.0), 1)

    def test_a_clock_that_is_set_back_does_not_silence(self) -> None:
        repeats = RepeatFilter(60)
        repeats.withheld(self.alert(), 1e9)
        self.assertEqual(repeats.withheld(self.alert(), 100.0), 0)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(0, 20), max_size=60), st.integers(1, 6))
    def test_it_is_bounded(self, subjects: list[int], most: int) -> None:
        repeats = RepeatFilter(60, most)
        for subject in subjects:
            repeats.withheld(self.alert(subject), 0.0)
            self.assertLessEqual(len(repeats), most)


class Words(SynchronousTestCase):
    def test_spans_of_time(self) -> None:
        said = [in_words(each) for each in (1.5, 60, 300, 3600, 5400, 86_400, 172_800)]
        self.assertEqual(
            said, ["1.5 seconds", "1 minute", "5 minutes", "1 hour", "90 minutes", "1 day", "2 days"]
        )

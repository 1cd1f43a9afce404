"""Each rule of the checker finds a small history that breaks it, and accepts one that does not."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simulation.history import Committed, Credentials, Recorded

from .stories import STAMP, Life, Measured, Story, Trouble, Unhandled, note, shown

POST = {"title": "T", "body": "x", "patient_id": 1}


class RuleCase(SynchronousTestCase):
    def good(self, story: Story) -> None:
        self.assertEqual([each.text for each in story.violations()], [])

    def broken(self, story: Story, *rules: str) -> None:
        self.assertEqual(sorted(story.rules()), sorted(rules), [each.text for each in story.violations()])


class WritesTests(RuleCase):
    def repeated(self, key: str | None = None, **end: Any) -> Story:
        """A POST that HOSP has stored; its client sends it again, and HOSP stores it a second time."""
        story = Story(**end.pop("premises", {}))
        first = story.ask(1.0, "POST", "/notes", POST, key=key, intent="w")
        story.stored(2.0, note(2, "T"), first)
        if end.get("told"):
            story.tell(3.0, first, 504, {"outcome": "unknown", "reference": "hp-1"})
        else:
            story.breaks(3.0, first, "left" if "record" in end else "reset")
        if "record" in end:
            story.record(first, **end["record"])
        second = story.ask(4.0, "POST", "/notes", POST, key=key, intent="w", house=end.get("house", ""))
        story.stored(5.0, note(3, "T"), second)
        story.tell(6.0, second, 201, shown(note(3, "T")))
        return story

    def test_doubled(self) -> None:
        self.broken(self.repeated(), "writes.doubled")
        self.broken(self.repeated(key="k"), "writes.doubled")
        self.broken(self.repeated(told=True), "writes.doubled")
        self.broken(self.repeated(record={"status": None, "client_gone": True}), "writes.doubled")

    def test_two_that_were_wanted_or_whose_answer_was_written(self) -> None:
        self.good(self.repeated(record={"status": 201, "client_gone": False}))
        story = Story()
        for number, id_ in ((1.0, 2), (1.1, 3)):
            op = story.ask(number, "POST", "/notes", POST)
            story.stored(number + 2, note(id_, "T"), op)
            story.tell(number + 3, op, 201, shown(note(id_, "T")))
        self.good(story)

    def test_with_redis_away_each_machine_knows_its_own_only(self) -> None:
        for shape, house, rules in (
            ("machines", "10.0.2.2", ()),
            ("machines", "", ("writes.doubled",)),
            ("workers", "", ("writes.doubled",)),
        ):
            story = self.repeated(told=True, premises={"shape": shape}, house=house)
            story.add(Trouble(3.5, "redis away", "", 20.0))
            self.broken(story, *rules)
        story = self.repeated(key="k", told=True, premises={"shape": "machines"})
        story.add(Trouble(3.5, "redis away", "", 20.0))
        self.broken(story, "writes.doubled")

    def test_an_imported_id_and_astep_of_hosps_clock_together_are_beyond_the_promise(self) -> None:
        for imported, step, rules in (
            (True, False, ("writes.doubled",)),
            (False, True, ("writes.doubled",)),
            (True, True, ()),
        ):
            story = self.repeated(told=True)
            if imported:
                story.stored(0.5, note(90_000, "old"))
            if step:
                story.add(Trouble(3.5, "clock hosp", "", 3.5))
            self.broken(story, *rules)

    def test_lost(self) -> None:
        story = Story()
        op = story.ask(1.0, "POST", "/notes", POST)
        story.tell(2.0, op, 201, shown(note(2, "T")))
        self.broken(story, "writes.lost")

    def test_a_birthdate_that_is_none_is_lost_unless_the_proxy_only_reports(self) -> None:
        for refuses, birthdate, stored, rules in (
            (True, "banana", None, ("writes.lost",)),
            (False, "banana", None, ()),
            (True, "2020-01-02 11:00", "2020-01-02", ()),
            (True, "2020-01-02", None, ("writes.lost",)),
        ):
            story = Story(refuses=refuses)
            sent = {"name": "Juno", "hospital_id": 1, "birthdate": birthdate}
            op = story.ask(1.0, "POST", "/patients", sent)
            record = {**sent, "id": 9, "birthdate": stored, "created_at": STAMP, "updated_at": STAMP}
            story.add(Committed(1.5, "stored", "patients", 9, None, record, 1, "", f"sim-{op}", sent, 1.5))
            story.add(
                Recorded(1.5, "m0", "audit-w1-1.jsonl", 1, {"kind": "intent", "request_id": f"sim-{op}"})
            )
            story.tell(2.0, op, 201, shown(record, "patients"))
            story.record(op, status=201, patient_id=9)
            if rules:
                self.broken(story, *rules)
            else:
                self.good(story)

    def test_a_change_that_never_was(self) -> None:
        story = Story()
        op = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
        story.tell(2.0, op, 200, shown(note(1, "B")))
        self.broken(story, "writes.lost")
        story.updated(1.5, note(), note(1, "B"), op)
        self.good(story)

    def test_a_deletion_proves_that_the_record_was_there(self) -> None:
        story = Story()
        op = story.ask(1.0, "DELETE", "/notes/7")
        story.tell(2.0, op, 200, "deleted")
        self.broken(story, "writes.lost")
        story = Story()
        op = story.ask(1.0, "DELETE", "/notes/1")
        story.deleted(1.5, note(), op)
        story.tell(2.0, op, 200, "deleted")
        self.good(story)

    def test_told_not_carried_out(self) -> None:
        story = Story()
        op = story.ask(1.0, "POST", "/notes", POST)
        story.tell(2.0, op, 502, {"status": 502})
        self.good(story)
        story.stored(9.0, note(2, "T"), op)
        self.broken(story, "writes.told_otherwise")

    def outcome(self, said: str) -> Story:
        story = Story()
        op = story.ask(1.0, "POST", "/notes", POST)
        story.tell(2.0, op, 504, {"outcome": "unknown", "reference": "hp-1"})
        asked = story.ask(3.0, "GET", "/.hospproxy/outcomes/hp-1")
        story.tell(4.0, asked, 200, {"outcome": said, "reference": "hp-1"})
        return story

    def test_outcomes_that_are_asked_for(self) -> None:
        self.good(self.outcome("absent"))
        self.broken(self.outcome("found"), "writes.outcome_untrue")
        story = self.outcome("absent")
        story.stored(9.0, note(2, "T"), 1)
        self.broken(story, "writes.outcome_untrue")

    def test_wrong_author(self) -> None:
        story = Story()
        op = story.ask(1.0, "POST", "/notes", POST)
        story.stored(2.0, note(2, "T", staff=2), op)
        self.broken(story, "writes.wrong_author")
        story = Story()
        op = story.ask(1.0, "POST", "/notes", POST)
        story.stored(2.0, note(2, "T", staff=2), op, staff=2)
        self.broken(story, "writes.wrong_author")

    def test_invented(self) -> None:
        story = Story()
        story.stored(2.0, note(2, "T"), 77)
        self.broken(story, "writes.invented")
        story = Story()
        op = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
        story.updated(2.0, note(), note(1, "C"), op)
        self.broken(story, "writes.invented")

    def test_a_key_for_two_requests(self) -> None:
        story = Story()
        for number, title in ((1.0, "B"), (5.0, "C")):
            op = story.ask(number, "PATCH", "/notes/1", {"title": title}, key="k")
            story.updated(number + 1, note(), note(1, title), op)
            story.tell(number + 2, op, 200, shown(note(1, title)))
        self.broken(story, "writes.key_misused")


class ReadsTests(RuleCase):
    def read(
        self, title: str, cache: str = "hit; ttl=3", name: str = "bob", target: str = "/notes/1"
    ) -> Story:
        story = Story()
        op = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
        story.updated(2.0, note(), note(1, "B"), op)
        story.tell(3.0, op, 200, shown(note(1, "B")))
        read = story.ask(4.0, "GET", target, name=name)
        body: Any = shown(note(1, title))
        story.tell(5.0, read, 200, [body] if "?" in target else body, cache)
        return story

    def test_nobody_sees_what_was_before_an_acknowledged_write(self) -> None:
        self.good(self.read("B"))
        self.broken(self.read("A"), "reads.stale")
        self.broken(self.read("A", target="/notes?patient_id=1"), "reads.stale")

    def test_marked_as_stale_others_may_miss_it(self) -> None:
        mark = "hit; ttl=-9; detail=stale-if-error-invalidated"
        self.good(self.read("A", mark))
        self.broken(self.read("A", mark, name="ann"), "reads.stale")

    def test_what_never_was(self) -> None:
        self.broken(self.read("Z"), "reads.never_true")

    def test_a_missing_record(self) -> None:
        story = Story()
        op = story.ask(1.0, "POST", "/notes", POST)
        story.stored(2.0, note(2, "T"), op)
        story.tell(3.0, op, 201, shown(note(2, "T")))
        read = story.ask(4.0, "GET", "/notes?patient_id=1", name="bob")
        story.tell(5.0, read, 200, [shown(note())], "hit; ttl=9")
        self.broken(story, "reads.stale")

    def test_what_changed_behind_the_proxys_back_is_seen_in_time(self) -> None:
        for at, rules in ((60.0, ()), (200.0, ("reads.stale",))):
            story = Story()
            story.updated(10.0, note(), note(1, "B"))
            read = story.ask(at, "GET", "/notes/1")
            story.tell(at + 1, read, 200, shown(note()), "hit; ttl=9")
            self.broken(story, *rules)

    def test_lists_are_by_falling_id(self) -> None:
        story = Story()
        story.stored(0.5, note(2, "T"))
        read = story.ask(4.0, "GET", "/notes")
        story.tell(5.0, read, 200, [shown(note()), shown(note(2, "T"))])
        self.broken(story, "reads.out_of_order")

    def test_anothers_answer(self) -> None:
        for mark, rules in (("1.0", ()), ("2.0", ("reads.anothers",))):
            story = Story(marked=True)
            read = story.ask(4.0, "GET", "/notes/1")
            story.tell(5.0, read, 200, shown(note(), made_for=mark))
            self.broken(story, *rules)

    def test_anothers_hospital(self) -> None:
        story = Story(visible="own")
        story.add(_stored("staffs", {"id": 1, "hospital_id": 1}))
        story.add(_stored("patients", {"id": 1, "hospital_id": 2}))
        read = story.ask(4.0, "GET", "/notes/1")
        story.tell(5.0, read, 200, shown(note()))
        self.broken(story, "reads.never_true")

    def test_revoked_but_served(self) -> None:
        for at, rules in ((2.0, ()), (6.0, ("reads.revoked",))):
            story = Story()
            story.add(Credentials(5.0, "ann", "ann-1", None))
            read = story.ask(at, "GET", "/notes/1")
            story.tell(at + 0.5, read, 200, shown(note()))
            self.broken(story, *rules)

    def test_never_good(self) -> None:
        story = Story()
        read = story.ask(4.0, "GET", "/notes/1", password="guess")
        story.tell(5.0, read, 200, shown(note()), record=False)
        story.record(read, status=200, who={"certainty": "claimed"})
        self.broken(story, "reads.revoked")

    def test_refused_though_good(self) -> None:
        story = Story()
        read = story.ask(14.0, "GET", "/notes/1")
        story.tell(15.0, read, 401, "no")
        self.broken(story, "reads.refused_though_good")


class LoadTests(RuleCase):
    def test_six_in_hand(self) -> None:
        story = Story()
        for number in range(6):
            story.hand(number, 1.0, 5.0)
        self.broken(story, "load.in_hand")

    def test_what_ends_as_it_begins_does_not_count(self) -> None:
        story = Story()
        story.hand(0, 0.5, 0.5)
        for number in range(1, 6):
            story.hand(number, 1.0, 5.0)
        self.good(story)

    def test_one_whose_client_left_still_counts(self) -> None:
        story = Story()
        story.hand(0, 1.0, 9.0, deserted=2.0)
        for number in range(1, 6):
            story.hand(number, 3.0, 5.0)
        self.broken(story, "load.in_hand")
        story.add(Life(2.0, "m0", "killed"))
        self.good(story)

    def test_what_aprocess_that_ended_left_is_held_as_long_as_hosp_has_needed_of_late(self) -> None:
        for ended, rules in ((None, ("load.in_hand",)), (2.5, ())):
            story = Story()
            story.hand(0, 1.0, 20.0, deserted=1.2)
            if ended:
                story.add(Life(ended, "m0", "ended"))
            for number in range(1, 6):
                story.hand(number, 10.0, 15.0)
            self.broken(story, *rules)

    def test_what_must_be_over_does_not_count(self) -> None:
        story = Story()
        story.hand(0, 1.0, 60.0, deserted=20.0)
        for number in range(1, 6):
            story.hand(number, 27.0, 30.0)
        self.good(story)

    def test_what_amachine_without_power_left_does_not_count(self) -> None:
        story = Story()
        story.hand(0, 1.0, 20.0)
        for number in range(1, 6):
            story.hand(number, 5.0, 6.0)
        self.broken(story, "load.in_hand")
        story.add(Trouble(3.0, "power cut", "m0", 3.5))
        self.good(story)

    def test_what_must_be_over_is_counted_from_when_it_was_sent(self) -> None:
        """HOSP receives a request somewhat later, or a good deal later if the network held it up."""
        story = Story()
        story.hand(0, 1.0, 60.0, deserted=20.0)
        for number in range(1, 6):
            story.hand(number, 25.999, 30.0)
        self.good(story)
        story = Story()
        story.hand(0, 11.0, 60.0, deserted=20.0)
        for number in range(1, 6):
            story.hand(number, 29.0, 32.0)
        self.broken(story, "load.in_hand")
        story.add(Trouble(1.0, "split hosp", "m0", 10.999))
        self.good(story)


class TrailTests(RuleCase):
    def read(self, **fields: Any) -> Story:
        story = Story()
        read = story.ask(4.0, "GET", "/notes/1")
        story.tell(5.0, read, 200, shown(note()), record=False)
        if fields:
            story.record(read, **{"status": 200, **fields})
        return story

    def test_no_record(self) -> None:
        self.broken(self.read(), "trail.no_record")
        self.good(self.read(status=200))
        for kind, rules in (("disk full", ()), ("disk slow", ("trail.no_record",))):
            story = self.read()
            story.add(Trouble(0.5, kind, "m0", 9.0))
            self.broken(story, *rules)

    def test_no_intent(self) -> None:
        story = Story()
        story.intents = False
        op = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
        story.updated(1.5, note(), note(1, "B"), op)
        story.tell(2.0, op, 200, shown(note(1, "B")))
        self.broken(story, "trail.no_intent")

    def test_another_status(self) -> None:
        self.broken(self.read(status=304), "trail.status")

    def test_who(self) -> None:
        self.broken(self.read(who={"certainty": "none"}), "trail.who")
        self.broken(self.read(who={"certainty": "verified", "id": 2}), "trail.who")
        self.good(self.read(who={"certainty": "claimed"}))

    def test_outcome(self) -> None:
        self.broken(self.read(outcome="failed"), "trail.outcome")
        self.broken(self.read(client_gone=True), "trail.outcome")

    def test_about(self) -> None:
        self.broken(self.read(record_id="9"), "trail.about")

    def test_the_chain(self) -> None:
        story = self.read(seq=1)
        story.add(Recorded(999.0, "m0", "audit-w0-1.jsonl", 2, {"seq": 3}))
        self.broken(story, "trail.chain")

    def test_only_the_last_line_may_be_torn(self) -> None:
        story = self.read(seq=1)
        story.add(Recorded(999.0, "m0", "audit-w0-1.jsonl", 2, None))
        story.add(Recorded(999.0, "m0", "audit-w0-2.jsonl", 1, {"seq": 2}))
        self.good(story)
        story.add(Recorded(999.0, "m0", "audit-w0-2.jsonl", 2, None))
        story.add(Recorded(999.0, "m0", "audit-w0-2.jsonl", 3, {"seq": 3}))
        self.broken(story, "trail.torn")


class ServiceTests(RuleCase):
    def test_unhandled(self) -> None:
        story = Story()
        story.add(Unhandled(1.0, "m0", "Traceback\nValueError: no"))
        self.broken(story, "service.unhandled")
        story = Story()
        story.add(Trouble(0.5, "disk fail", "m0", 0.5))
        story.add(Unhandled(1.0, "m0", "Traceback\nRecordFailed: write: Input/output error"))
        self.broken(story, "service.unhandled")
        for disk, rules in ((True, ()), (False, ("service.unhandled",))):
            story = Story()
            if disk:
                story.add(Trouble(0.5, "disk fail", "m0", 2.0))
            story.add(
                Unhandled(1.0, "m0", "the audit journal cannot be started, stopping: Input/output error")
            )
            self.broken(story, *rules)

    def test_a_mistake(self) -> None:
        story = Story()
        read = story.ask(4.0, "GET", "/notes/1")
        story.tell(5.0, read, 500, {}, record=False)
        story.record(read, status=500, outcome="error")
        self.broken(story, "service.mistake")

    def test_past_the_deadline(self) -> None:
        story = Story()
        read = story.ask(4.0, "GET", "/notes/1")
        story.tell(44.0, read, 200, shown(note()))
        self.broken(story, "service.too_late")
        story.add(Trouble(10.0, "delay clients", "", 20.0))
        self.good(story)

    def test_a_write_may_wait_for_leases_while_redis_is_away(self) -> None:
        for method, over, rules in (
            ("DELETE", 33.0, ()),
            ("DELETE", 37.0, ("service.too_late",)),
            ("GET", 33.0, ("service.too_late",)),
        ):
            story = Story(shape="workers")
            op = story.ask(1.0, method, "/notes/9")
            story.tell(over, op, 404, {"status": 404})
            self.broken(story, "service.too_late")
            story.add(Trouble(28.0, "redis away", "", 30.0))
            self.broken(story, *rules)

    def last(self, status: int, intent: str = "last/ann") -> Story:
        story = Story()
        read = story.ask(900.0, "GET", "/notes/1", intent=intent)
        story.tell(900.5, read, status, shown(note()))
        return story

    def test_goodput(self) -> None:
        self.good(self.last(200))
        self.good(self.last(503, "e1"))
        self.broken(self.last(503), "service.goodput")

    def test_settles(self) -> None:
        story = Story()
        story.add(Measured(999.0, "m0", "end:open writes", 0.0))
        self.good(story)
        story.add(Measured(999.0, "m0", "end:open writes", 1.0))
        self.broken(story, "service.unsettled")
        story = Story()
        story.add(Measured(9.0, "m0", "gate_waiting", 513.0))
        self.broken(story, "service.unbounded")

    def test_never_ends(self) -> None:
        story = Story()
        story.ask(4.0, "GET", "/notes/1")
        story.add(Measured(999.0, "m0", "x", 0.0))
        self.broken(story, "service.unanswered")

    def screened(self, *bodies: str) -> Story:
        story = Story()
        op = story.ask(4.0, "POST", "/patients/1/screen", {"images": ["i"]})
        story.tell(5.0, op, 200, {"overall": "1", "results": ["fracture in i"]})
        for number, body in enumerate(bodies):
            state = note(10 + number, "Screening result") | {"body": body}
            story.stored(6.0, state, op)
        return story

    def test_screenings(self) -> None:
        self.good(self.screened("Image 1: fracture in i\nReference: r"))
        self.broken(self.screened(), "service.screening")
        self.broken(
            self.screened("Image 1: fracture in i\n", "Image 1: fracture in i\n"), "service.screening"
        )
        for changed, back, rules in (
            (3.0, False, ("service.screening",)),
            (7.0, True, ("service.screening",)),
            (7.0, False, ()),
        ):
            story = self.screened()
            story.add(Credentials(changed, "ann", "ann-2", 1, "1.1"))
            if back:
                read = story.ask(8.0, "GET", "/notes/1", password="ann-2")
                story.tell(9.0, read, 200, shown(note()))
            self.assertEqual({rule for rule in story.rules() if rule == "service.screening"}, set(rules))
        twice = self.screened("Image 1: fracture in i\n", "Image 1: fracture in i\n")
        twice.ask(7.0, "POST", "/patients/1/screen", {"images": ["i"]})
        self.assertNotIn("service.screening", twice.rules())


def _stored(resource: str, state: dict[str, Any]) -> Committed:
    return Committed(0.0, "stored", resource, state["id"], None, state)

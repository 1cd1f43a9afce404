"""Each rule on HTTP finds a small history that breaks it, and accepts one that does not."""

from __future__ import annotations

from typing import Any

from simulation.history import Credentials, InHand, Life

from .stories import Story, Trouble, note, shown
from .test_checker import RuleCase

PATCH = {"title": "B"}


class HttpTests(RuleCase):
    def answered(self, status: int, body: Any = None, *, target: str = "/notes/1", **fields: str) -> Story:
        """A read with this status and these fields in its response."""
        story = Story(**({"says": (fields.pop("says"),)} if "says" in fields else {}))
        op = story.ask(10.0, "GET", target)
        story.tell(11.0, op, status, body, cache=fields.pop("cache", ""))
        told = story.history.events[-2]
        told.headers.update({name.replace("_", "-"): value for name, value in fields.items()})  # type: ignore[union-attr]
        return story

    def test_retry_after(self) -> None:
        for status in (429, 503):
            story = self.answered(status)
            self.good(story)
            del story.history.events[-2].headers["retry-after"]  # type: ignore[union-attr]
            self.broken(story, "http.retry_after")

    def test_what_nobody_has_asked_for(self) -> None:
        self.broken(self.answered(304), "http.unasked")
        self.broken(self.answered(206), "http.unasked")
        self.broken(self.answered(200, shown(note()), accept_ranges="bytes"), "http.ranges")
        self.good(self.answered(200, shown(note())))

    def test_no_cache(self) -> None:
        self.broken(self.answered(200, shown(note()), cache="hit; ttl=9", says="no_cache"), "http.no_cache")
        self.good(self.answered(200, shown(note()), cache="fwd=uri-miss", says="no_cache"))

    def test_a_fresh_answer_does_not_say_that_it_is_stale(self) -> None:
        self.broken(self.answered(200, shown(note()), cache="hit; ttl=0", age="5"), "http.ttl")
        self.good(self.answered(200, shown(note()), cache="hit; ttl=0", age="80"))
        self.good(self.answered(200, shown(note()), cache="hit; ttl=50", age="5"))
        story = self.answered(200, shown(note()), cache="hit; ttl=0", age="5")
        story.add(Trouble(0.5, "clock proxy", "m0", 0.5))
        self.good(story)

    def test_an_answer_from_before_a_restart_is_never_fresh(self) -> None:
        for age, rule in (("5", None), ("0", "http.ttl")):
            story = self.answered(200, shown(note()), cache="hit; ttl=0", age=age)
            story.add(Life(8.0, "m0", "killed"))
            if rule is None:
                self.good(story)
            else:
                self.broken(story, rule)

    def test_the_date_of_what_has_none(self) -> None:
        at_10, at_300 = "Tue, 14 Nov 2023 22:13:30 GMT", "Tue, 14 Nov 2023 22:18:20 GMT"
        self.good(self.answered(200, shown(note()), date=at_10, age="1", says="no_date"))
        self.broken(self.answered(200, shown(note()), date=at_300, age="1", says="no_date"), "http.date")

    def test_mistakes_are_bounded(self) -> None:
        listed = {"status": 422, "errors": [{"field": "x", "detail": "y"}] * 11}
        self.broken(self.answered(422, listed), "http.errors")
        self.good(self.answered(422, {**listed, "errors": listed["errors"][:10]}))  # type: ignore[index]
        story = Story()
        op = story.ask(1.0, "POST", "/patients/1/screen", {"images": ["i"] * 20_001})
        story.tell(2.0, op, 200, {"results": []})
        self.broken(story, "http.values")

    def test_a_never_sent_write_with_acondition_gets503(self) -> None:
        story = Story()
        op = story.ask(
            1.0, "PATCH", "/notes/1", PATCH, headers=(("X-Request-Id", "sim-1"), ("If-Match", "*"))
        )
        story.tell(2.0, op, 502)
        self.broken(story, "http.not_judged")
        for sent, trouble, told in ((False, False, True), (True, False, False), (False, True, False)):
            story = Story()
            if sent:  # an equal write before, whose outcome this one gets
                story.breaks(0.8, story.ask(0.5, "PATCH", "/notes/1", PATCH))
                story.add(InHand(0.6, 1, "begins", "PATCH", "/notes/1", "sim-1"))
                story.add(InHand(0.7, 1, "ends", "PATCH", "/notes/1", "sim-1"))
            if trouble:
                story.add(Trouble(1.5, "split hosp", "m0", 9.0))
            fields = (("X-Request-Id", "sim-2"), ("If-Match", "*"))
            op = story.ask(1.0, "PATCH", "/notes/1", PATCH, headers=fields)
            story.tell(2.0, op, 502, {"outcome": "unknown", "reference": "hp-1"})
            self.assertEqual("http.not_judged" in story.rules(), told)
        story = Story()
        op = story.ask(
            1.0, "PATCH", "/notes/1", PATCH, headers=(("X-Request-Id", "sim-1"), ("If-Match", "*"))
        )
        story.add(InHand(1.5, 1, "begins", "PATCH", "/notes/1", "sim-1"))
        story.add(InHand(1.6, 1, "ends", "PATCH", "/notes/1", "sim-1"))
        story.tell(2.0, op, 502)
        self.good(story)

    def test_a_condition_counts_only_once_hosp_has_said_who_asks(self) -> None:
        for target in ("/staffs/me", "/notes/1"):
            story = Story()
            op = story.ask(
                1.0, "PATCH", "/notes/1", PATCH, headers=(("X-Request-Id", "sim-1"), ("If-Match", "*"))
            )
            story.add(InHand(1.5, 1, "begins", "GET", target, "sim-1"))
            story.add(InHand(1.9, 1, "ends", "GET", target, "sim-1"))
            story.tell(2.0, op, 504)
            if target == "/staffs/me":
                self.good(story)
            else:
                self.broken(story, "http.not_judged")

    def test_a_replay_is_not_forwarded(self) -> None:
        for cache, rules in (("fwd=method", ("http.forwarded",)), ("detail=replayed", ())):
            story = Story()
            first = story.ask(1.0, "POST", "/notes", {"title": "T", "body": "x", "patient_id": 1}, key="k")
            story.add(InHand(1.5, 1, "begins", "POST", "/notes", "sim-1"))
            story.stored(2.0, note(2, "T"), first)
            story.add(InHand(2.5, 1, "ends", "POST", "/notes", "sim-1"))
            story.tell(3.0, first, 201, shown(note(2, "T")), cache="fwd=method")
            second = story.ask(4.0, "POST", "/notes", {"title": "T", "body": "x", "patient_id": 1}, key="k")
            story.tell(5.0, second, 201, shown(note(2, "T")), cache=cache)
            self.broken(story, *rules)

    def test_bodies_of_unknown_clients(self) -> None:
        story = Story()
        op = story.ask(1.0, "POST", "/notes", {"body": "x" * 70_000}, password="no")
        story.tell(2.0, op, 408, record=False)
        story.record(op, status=408, who={"certainty": "claimed"})
        self.broken(story, "http.body_first")
        story = Story()
        op = story.ask(1.0, "POST", "/notes", {"body": "x"}, password="no")
        story.tell(2.0, op, 401, record=False)
        story.record(op, status=401, who={"certainty": "claimed"})
        self.good(story)
        story.history.events[-2].headers[":interim"] = "1"  # type: ignore[union-attr]
        self.broken(story, "http.continued")

    def test_hosp_is_not_asked_before_the_time_that_it_named(self) -> None:
        for method, again, rules in (
            ("GET", 3.0, ("http.asked_too_soon",)),
            ("GET", 6.0, ()),
            ("PATCH", 3.0, ()),
        ):
            story = Story()
            story.ask(1.0, method, "/notes/1")
            story.add(Trouble(2.0, "asked to wait", "GET sim-1", 6.0))
            story.add(InHand(again, 2, "begins", "GET", "/notes/1", "sim-1"))
            story.add(InHand(again + 1, 2, "ends", "GET", "/notes/1", "sim-1"))
            self.broken(story, *rules)

    def test_via(self) -> None:
        for via, at, rules in ((False, 3.0, ("http.via",)), (True, 3.0, ()), (False, 9.0, ())):
            story = Story()
            op = story.ask(2.0, "GET", "/notes/1")
            story.add(InHand(at, 2, "begins", "GET", "/notes/1", "sim-1", via))
            story.add(InHand(at + 1, 2, "ends", "GET", "/notes/1", "sim-1", via))
            story.tell(5.0, op, 200, shown(note()))
            self.broken(story, *rules)

    def test_nobody_waits_for_what_hosp_has_ended_long_ago(self) -> None:
        for over, rules in ((28.0, ("http.waited",)), (4.0, ())):
            story = Story()
            op = story.ask(1.0, "GET", "/notes/1")
            story.add(InHand(1.5, 1, "begins", "GET", "/notes/1", "sim-1"))
            story.add(InHand(2.0, 1, "ends", "GET", "/notes/1", "sim-1"))
            story.tell(over, op, 504)
            self.broken(story, *rules)


class ConditionTests(RuleCase):
    def conditional(self, tag: str, before: dict[str, Any]) -> Story:
        """A note is read with the tag "a", perhaps changed by another, then written on a condition."""
        story = Story()
        read = story.ask(1.0, "GET", "/notes/1")
        story.tell(2.0, read, 200, shown(note()))
        story.history.events[-2].headers["etag"] = '"a"'  # type: ignore[union-attr]
        if before != note():
            other = story.ask(2.1, "PATCH", "/notes/1", {"title": before["title"]}, name="bob")
            story.updated(2.5, note(), before, other, staff=2)
            story.tell(2.9, other, 200, shown(before))
        number = 2 if before == note() else 3
        fields = (("X-Request-Id", f"sim-{number}"), ("If-Match", tag))
        write = story.ask(3.0, "PATCH", "/notes/1", PATCH, headers=fields)
        story.updated(4.0, before, note(title="B"), write)
        story.tell(5.0, write, 200, shown(note(title="B")))
        return story

    def test_only_what_was_read_is_changed(self) -> None:
        self.good(self.conditional('"a"', note()))
        self.broken(self.conditional('"a"', note(title="C")), "http.condition")

    def test_a_weak_tag_matches_nothing(self) -> None:
        self.broken(self.conditional('W/"a"', note()), "http.condition")


class TwinsTests(RuleCase):
    def twins(
        self, id_: int, key: str | None = None, shape: str = "one", houses: tuple[str, str] = ("a", "a")
    ) -> Story:
        """The same POST on two connections at one time; the second is told that it made this record."""
        story = Story(shape=shape)
        body = {"title": "T", "body": "x", "patient_id": 1}
        ops = [story.ask(1.0, "POST", "/notes", body, key=key, house=house) for house in houses]
        story.stored(2.0, note(2, "T"), ops[0])
        story.tell(3.0, ops[0], 201, shown(note(2, "T")))
        if id_ != 2:
            story.stored(4.0, note(id_, "T"), ops[1])
        story.tell(5.0, ops[1], 201, shown(note(id_, "T")))
        return story

    def test_each_has_arecord_of_its_own(self) -> None:
        self.good(self.twins(3))
        self.broken(self.twins(2), "writes.merged")
        self.good(self.twins(2, key="k"))

    def test_machines_that_cannot_see_each_other_may_give_one_record_twice(self) -> None:
        for until, shape, houses, rules in (
            (6.0, "machines", ("a", "b"), ()),
            (6.0, "machines", ("a", "a"), ("writes.merged",)),
            (6.0, "workers", ("a", "b"), ("writes.merged",)),
            (-1.0, "machines", ("a", "b"), ("writes.merged",)),
        ):
            story = self.twins(2, shape=shape, houses=houses)
            story.add(Trouble(-2.0, "split redis", "m0", until))
            self.broken(story, *rules)

    def test_a_key_is_ones_own_with_anew_password_too(self) -> None:
        story = Story()
        body = {"title": "T", "body": "x", "patient_id": 1}
        first = story.ask(1.0, "POST", "/notes", body, key="j")
        story.stored(2.0, note(2, "T"), first)
        story.tell(3.0, first, 201, shown(note(2, "T")))
        story.add(Credentials(4.0, "ann", "new", 1, "1.1"))
        for key, rules in (("j", ()), ("k", ("writes.lost",))):
            again = story.ask(6.0, "POST", "/notes", body, key=key, password="new")
            story.tell(7.0, again, 201, shown(note(2, "T")))
            self.broken(story, *rules)


class UnknownTests(RuleCase):
    def unknown(self, *, fails: str = "definitely", other: str = "") -> Story:
        """A POST that HOSP has stored is told to be unknown; perhaps its author has made another note meanwhile."""
        story = Story(fails=fails)
        op = story.ask(1.0, "POST", "/notes", {"title": "T", "body": "x", "patient_id": 1})
        story.stored(2.0, note(2, "T"), op)
        if other:
            second = story.ask(2.0, "POST", "/notes", {"title": other, "body": "x", "patient_id": 1})
            story.stored(3.0, note(3, other), second)
            story.tell(4.0, second, 201, shown(note(3, other)))
        story.tell(9.0, op, 504, {"outcome": "unknown", "reference": "hp-1"})
        return story

    def test_what_can_be_known_is_not_unknown(self) -> None:
        self.broken(self.unknown(), "writes.needlessly_unknown")
        self.good(self.unknown(fails=""))
        self.broken(self.unknown(other="U"), "writes.needlessly_unknown")
        self.good(self.unknown(other="T"))

    def test_what_was_answered_before_is_not_taken_for_the_lost_one(self) -> None:
        story = Story(fails="definitely")
        body = {"title": "T", "body": "x", "patient_id": 1}
        first = story.ask(1.0, "POST", "/notes", body)
        story.stored(2.0, note(2, "T"), first)
        story.tell(3.0, first, 201, shown(note(2, "T")))
        second = story.ask(3.1, "POST", "/notes", body)
        story.tell(9.0, second, 504, {"outcome": "unknown", "reference": "hp-1"})
        self.broken(story, "writes.needlessly_unknown")

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simulation.clients import connection
from simulation.clients.people import Hospital, Person, Wish
from simulation.history import Broke, Committed, History, InHand, Told
from simulation.hosp.behaviour import Behaviour, HospPlan, key_of, plan_from, plan_to
from simulation.hosp.server import PORT, Hosp
from simulation.world import furnish

from .memory_network import Net


class HospCase(SynchronousTestCase):
    """A HOSP that its clients reach without a proxy."""

    def world(self, plan: HospPlan | None = None, **more: Any) -> None:
        self.patch(connection, "PORT", PORT)
        self.net = Net()
        self.history = History()
        self.hosp = Hosp(self.net.host("10.0.0.1"), self.history, plan or HospPlan(mean_s=1.0), **more)
        furnish(self.hosp)
        self.hosp.begin()
        self.hospital = Hospital(
            self.net.host("10.0.1.1"), self.history, ["10.0.0.1"], random.Random, "hosp.example"
        )
        self.ann = Person("ann", 1, "ann-first")

    def ask(self, wish: Wish, person: Person | None = None, seconds: float = 60.0) -> Told | Broke:
        found: list[Told | Broke] = []
        asked = Deferred.fromCoroutine(self.hospital.ask(person or self.ann, wish, "i", "10.0.0.1"))
        asked.addCallback(found.append)
        self.net.run(seconds)
        self.failureResultOf(asked, Exception) if not found else None
        return found[0]

    def told(self, wish: Wish, person: Person | None = None) -> Told:
        told = self.ask(wish, person)
        assert isinstance(told, Told), told
        return told


class RecordsTests(HospCase):
    def test_lists_are_newest_first_with_imported_ones_above(self) -> None:
        self.world()
        self.hosp.import_record("notes", 900_000, {"title": "old", "patient_id": 1})
        told = self.told(Wish("POST", "/notes", {"title": "new", "patient_id": 1, "staff_id": 5}))
        self.assertEqual((told.status, told.body["id"], told.body["staff_id"]), (201, 31, 5))
        ids = [row["id"] for row in self.told(Wish("GET", "/notes?patient_id=1")).body]
        self.assertEqual(ids[:2], [900_000, 31])
        self.assertEqual(ids, sorted(ids, reverse=True))

    def test_addresses_name_the_host_that_was_asked(self) -> None:
        self.world()
        told = self.told(Wish("POST", "/notes", {"title": "t"}, headers=(("X-Forwarded-Proto", "https"),)))
        self.assertEqual(told.body["url"], "https://hosp.example/notes/31.json")
        self.assertEqual(told.headers["location"], "https://hosp.example/notes/31")

    def test_it_filters_by_any_field_and_the_last_value_counts(self) -> None:
        self.world()
        rows = self.told(Wish("GET", "/notes?staff_id=1&staff_id=3")).body
        self.assertEqual({row["staff_id"] for row in rows}, {3})

    def test_wrong_passwords_are_refused(self) -> None:
        self.world()
        told = self.told(Wish("GET", "/staffs/me", password="no"))
        self.assertEqual((told.status, told.body), (401, "HTTP Basic: Access denied.\n"))

    def test_own_hospital_only(self) -> None:
        self.world(visible="own")
        self.assertEqual(self.told(Wish("GET", "/patients/4")).status, 404)
        finn = Person("finn", 6, "finn-first")
        self.assertEqual(self.told(Wish("GET", "/patients/4"), finn).status, 200)

    def test_null_clears_afield(self) -> None:
        self.world()
        self.assertIsNone(self.told(Wish("PATCH", "/notes/1", {"title": None})).body["title"])

    def test_an_answer_says_for_whom_it_was_made(self) -> None:
        self.world(marked=True)
        self.assertEqual(self.told(Wish("GET", "/staffs/me")).body["made_for"], "1.0")
        self.told(Wish("PATCH", "/staffs/1", {"password": "second"}))
        self.ann.password = "second"
        self.assertEqual(self.told(Wish("GET", "/staffs/me")).body["made_for"], "1.1")

    def test_a_screening_has_one_result_for_each_image_in_order(self) -> None:
        self.world()
        body = self.told(Wish("POST", "/patients/1/screen", {"images": ["a", "b"]})).body
        self.assertEqual([text.split()[-1] for text in body["results"]], ["a", "b"])

    def test_stamps_that_differ(self) -> None:
        self.world(stamps_differ=True)
        body = self.told(Wish("POST", "/notes", {"title": "t"})).body
        self.assertLess(body["created_at"], body["updated_at"])


class FaultTests(HospCase):
    def one(self, fault: str, method: str = "POST") -> Told | Broke:
        self.world(HospPlan(rates={fault: 1.0}))
        return self.ask(Wish(method, "/notes", {"title": "t", "patient_id": 1}), seconds=120.0)

    def stored(self) -> list[Committed]:
        return [commit for commit in self.history.of(Committed) if commit.staff is not None]

    def test_what_is_stored_and_what_is_told(self) -> None:
        cases = {
            "error_before": (500, 0), "error_after": (500, 1), "reset_before": ("reset", 0),
            "reset_after": ("reset", 1), "late_reset": ("reset", 1), "late_timeout": (504, 1), "truncated": ("cut", 1),
            "cut_head": ("cut", 1), "stall": ("patience", 0), "stall_stored": ("patience", 1), "busy": (503, 0),
            "bad_gateway": (502, 0),
        }  # fmt: skip
        for fault, (said, times) in cases.items():
            end = self.one(fault)
            self.assertEqual((end.status if isinstance(end, Told) else end.why), said, fault)
            self.assertEqual(len(self.stored()), times, fault)

    def test_a_late_commit_comes_after_its_answer(self) -> None:
        end = self.one("late_timeout")
        self.assertGreater(self.stored()[0].at, end.at)
        self.assertLessEqual(self.stored()[0].at - self.stored()[0].received, 25.0)

    def test_it_works_on_when_its_client_leaves(self) -> None:
        self.world()
        end = self.ask(Wish("POST", "/notes", {"title": "t"}, leave_after_s=0.1))
        self.assertIsInstance(end, Broke)
        self.assertEqual(len(self.stored()), 1)
        self.assertEqual([each.what for each in self.history.of(InHand)], ["begins", "deserted", "ends"])

    def test_during_an_outage_nobody_listens(self) -> None:
        self.world()
        self.hosp.go_away()
        end = self.ask(Wish("GET", "/notes"))
        self.assertEqual(getattr(end, "why", None), "refused")
        self.hosp.begin()
        self.assertEqual(self.told(Wish("GET", "/notes")).status, 200)

    def test_changes_behind_the_proxys_back_are_in_the_journal(self) -> None:
        self.world()
        self.hosp.change("update", "notes", 1, {"title": "Z"})
        last = list(self.history.of(Committed))[-1]
        self.assertEqual((last.staff, last.after and last.after["title"]), (None, "Z"))


class BehaviourTests(SynchronousTestCase):
    def test_decisions_follow_from_content_and_not_from_order(self) -> None:
        plan = HospPlan("7", {"error_after": 0.5})
        requests = [("POST", "/notes", "ann", bytes([n])) for n in range(20)]
        one, other = Behaviour(plan), Behaviour(plan)
        decided = {request: one.decide(*request, 0.0) for request in requests}
        self.assertEqual({r: other.decide(*r, 0.0) for r in reversed(requests)}, decided)

    def test_named_faults_give_the_same_without_rates(self) -> None:
        drawn = Behaviour(HospPlan("7", {"error_after": 0.5}))
        first = [drawn.decide("POST", "/notes", "ann", bytes([n]), 0.0) for n in range(20)]
        named = Behaviour(HospPlan("7", named=drawn.met))
        self.assertEqual([named.decide("POST", "/notes", "ann", bytes([n]), 0.0) for n in range(20)], first)
        self.assertTrue(drawn.met)

    def test_a_plan_is_data(self) -> None:
        plan = HospPlan("7", {"stall": 0.1}, named={key_of("GET", "/", "", b"", 1): "busy"})
        self.assertEqual(plan_from(plan_to(plan)), plan)

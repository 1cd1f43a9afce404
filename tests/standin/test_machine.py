from __future__ import annotations

import base64
import json
from typing import Any

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.answers import Answer
from hosp_standin.calls import Call
from hosp_standin.faults import RATES, Faults, Scripted
from hosp_standin.machine import Machine
from hosp_standin.testing import in_memory

NOTE = {"title": "x", "body": "y", "patient_id": 3, "staff_id": 1}
STORING = ("error_after", "reset_after", "truncated", "cut_head")
NOT_STORING = ("error_before", "reset_before", "stall", "busy", "bad_gateway")


@define
class FakeWire:
    """Remembers what happened to a request: ``("sent", status)``, ``("reset", None)`` …"""

    fates: list[tuple[str, int | None]] = field(factory=list)
    answer: Answer | None = None
    gone: bool = False
    _done: Deferred[None] = field(factory=Deferred)

    def done(self) -> Deferred[None]:
        return self._done

    def _end(self, fate: str, answer: Answer | None = None) -> None:
        self.fates.append((fate, answer and answer.status))
        self.answer = answer
        self.hang_up()

    def send(self, answer: Answer) -> None:
        self._end("sent", answer)

    def cut_body(self, answer: Answer) -> None:
        self._end("body cut", answer)

    def cut_head(self, answer: Answer) -> None:
        self._end("head cut", answer)

    def reset(self) -> None:
        if not self.gone:
            self._end("reset")

    def hang_up(self) -> None:
        if not self.gone:
            self.gone = True
            self._done.callback(None)


def call(method: str = "GET", path: str = "/notes/7", body: Any = None, staff: int = 1) -> Call:
    credentials = base64.b64encode(f"staff{staff}:password{staff}".encode()).decode()
    headers = {"host": "hosp", "authorization": f"Basic {credentials}"}
    return Call(method, path, "", headers, b"" if body is None else json.dumps(body).encode())


def post() -> Call:
    return call("POST", "/notes", NOTE)


class MachineCase(SynchronousTestCase):
    def machine(self, **options: Any) -> Machine:
        self.clock = Clock()
        self.hosp = in_memory(self.clock, **options)
        return self.hosp

    def begin(self, what: Call) -> FakeWire:
        wire = FakeWire()
        self.hosp.begin(what, wire)
        return wire

    def notes(self) -> int:
        return len(list(self.hosp.store.newest_first("notes"))) - 300

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.hosp.journal.entries()]


class FaultTests(MachineCase):
    def fate(self, fault: str, what: Call, **more: float) -> FakeWire:
        self.machine(faults={fault: 1.0, **more})
        wire = self.begin(what)
        self.assertEqual(self.hosp.stats.by_fault, {fault: 1})
        self.assertIn("fault", self.kinds())
        return wire

    def test_none(self) -> None:
        self.machine()
        self.assertEqual(self.begin(post()).fates, [("sent", 201)])
        self.assertEqual(self.notes(), 1)
        self.assertEqual(self.kinds(), ["request", "stored", "answered"])

    def test_how_each_is_told(self) -> None:
        for fault, fate in {
            "error_before": [("sent", 500)],
            "error_after": [("sent", 500)],
            "reset_before": [("reset", None)],
            "reset_after": [("reset", None)],
            "truncated": [("body cut", 201)],
            "cut_head": [("head cut", 201)],
            "stall": [],
            "busy": [("sent", 503)],
            "bad_gateway": [("sent", 502)],
        }.items():
            self.assertEqual(self.fate(fault, post()).fates, fate, fault)

    def test_what_is_stored(self) -> None:
        for fault in STORING:
            self.fate(fault, post())
            self.assertEqual(self.notes(), 1, fault)
        for fault in NOT_STORING:
            self.fate(fault, post())
            self.clock.advance(1000)
            self.assertEqual(self.notes(), 0, fault)

    def test_reads_fail_as_well(self) -> None:
        self.assertEqual(self.fate("error_after", call()).fates, [("sent", 500)])
        self.assertEqual(self.fate("reset_after", call()).fates, [("reset", None)])
        self.assertEqual(self.fate("truncated", call()).fates, [("body cut", 200)])

    def test_the_journal_names_the_fault_beside_what_was_stored(self) -> None:
        for fault in STORING:
            self.fate(fault, post())
            stored = self.hosp.journal.entries(kinds=["stored"])
            self.assertEqual([entry.fault for entry in stored], [fault])

    def test_late_commit_is_stored_in_its_time_and_not_before(self) -> None:
        for gateway, fate in ((1.0, [("sent", 504)]), (0.0, [("reset", None)])):
            limits = {"late_commit_min_s": 5.0, "late_commit_max_s": 5.0, "late_commit_504": gateway}
            wire = self.fate("late_commit", post(), **limits)
            self.assertEqual((wire.fates, self.notes(), self.hosp.late_commits), (fate, 0, 1))
            self.clock.advance(4.9)
            self.assertEqual(self.notes(), 0)
            self.clock.advance(0.1)
            self.assertEqual((self.notes(), self.hosp.late_commits), (1, 0))
            entry = self.hosp.journal.entries(kinds=["stored"])[0]
            self.assertEqual(
                (entry.at, entry.fault, entry.request, entry.staff_id), (5.0, "late_commit", 1, 1)
            )
            self.assertEqual(wire.fates, fate)

    def test_late_commits_and_stalls_are_in_real_seconds(self) -> None:
        self.machine(
            time_scale=0.01,
            delay="fixed:100",
            faults={"late_commit": 1, "late_commit_min_s": 5, "late_commit_max_s": 5},
        )
        self.begin(post())
        self.clock.advance(4.9)
        self.assertEqual(self.notes(), 0)
        self.clock.advance(0.2)
        self.assertEqual(self.notes(), 1)

    def test_a_stall_that_ends_ends_in_a_reset(self) -> None:
        wire = self.fate("stall", post(), stall_s=30)
        self.clock.advance(29.9)
        self.assertEqual(wire.fates, [])
        self.clock.advance(0.1)
        self.assertEqual(wire.fates, [("reset", None)])
        self.assertEqual(self.hosp.stats.in_flight, 0)

    def test_only_where_they_may_strike(self) -> None:
        self.machine(faults="busy=1,only_methods=POST,only_paths=/notes")
        self.assertEqual(self.begin(call()).fates, [("sent", 200)])
        self.assertEqual(self.begin(call("POST", "/patients", {"name": "x"})).fates, [("sent", 201)])
        self.assertEqual(self.begin(call("POST", "/notes.json", NOTE)).fates, [("sent", 503)])

    def test_scripted(self) -> None:
        self.machine()
        self.hosp.planner.script.extend([Scripted("error_after"), Scripted("reset_before")])
        fates = [self.begin(post()).fates[0] for _ in range(3)]
        self.assertEqual(fates, [("sent", 500), ("reset", None), ("sent", 201)])

    @given(st.integers(0, 10**6), st.lists(st.sampled_from(RATES), max_size=4), st.integers(1, 20))
    def test_the_journal_and_the_records_agree(self, seed: int, faults: list[str], count: int) -> None:
        self.machine(seed=seed, delay="uniform:0:5", places=2, faults=dict.fromkeys(faults, 0.2))
        wires = [self.begin(post()) for _ in range(count)]
        self.clock.pump([1.0] * 200)
        self.assertEqual(len(self.hosp.journal.entries(kinds=["stored"])), self.notes())
        told = sum(("sent", 201) in wire.fates for wire in wires)
        self.assertLessEqual(told, self.notes())
        self.assertTrue(all(len(wire.fates) <= 1 for wire in wires))
        stalled = self.hosp.stats.by_fault["stall"]
        self.assertEqual((self.hosp.stats.in_flight, self.hosp.places.taken), (stalled, 0))


class PaceTests(MachineCase):
    def test_an_answer_takes_its_time_scaled(self) -> None:
        self.machine(delay="fixed:4", time_scale=0.5)
        wire = self.begin(post())
        self.clock.advance(1.9)
        self.assertEqual((wire.fates, self.notes()), ([], 0))
        self.clock.advance(0.1)
        self.assertEqual((wire.fates, self.notes()), ([("sent", 201)], 1))
        assert wire.answer is not None
        self.assertEqual(dict(wire.answer.headers)["X-Runtime"], "2.000000")

    def test_places_and_queue(self) -> None:
        self.machine(delay="fixed:1", places=2, queue=1)
        wires = [self.begin(call(path="/")) for _ in range(4)]
        self.assertEqual([wire.fates for wire in wires], [[], [], [], [("sent", 503)]])
        self.clock.advance(1)
        self.assertEqual([bool(wire.fates) for wire in wires], [True, True, False, True])
        self.clock.advance(1)
        self.assertEqual(wires[2].fates, [("sent", 200)])
        stats, places = self.hosp.stats, self.hosp.places
        self.assertEqual((stats.max_in_flight, places.most_taken, places.most_waiting), (4, 2, 1))
        self.assertEqual(stats.by_status, {"503": 1, "200": 3})

    def test_a_stalled_request_holds_no_place(self) -> None:
        self.machine(places=1)
        self.hosp.planner.script.append(Scripted("stall"))
        self.begin(post())
        self.assertEqual(self.begin(post()).fates, [("sent", 201)])

    def test_a_client_that_hangs_up_stops_nothing(self) -> None:
        self.machine(delay="fixed:4", places=1)
        wires = [self.begin(post()), self.begin(post())]
        for wire in wires:
            wire.hang_up()
        self.assertEqual(self.hosp.stats.in_flight, 0)
        self.clock.pump([4, 4])
        self.assertEqual((self.notes(), self.hosp.places.taken), (2, 0))
        self.assertEqual([wire.fates for wire in wires], [[], []])
        gone = self.hosp.journal.entries(kinds=["gone"])
        self.assertEqual([(entry.request, entry.status) for entry in gone], [(1, 201), (2, 201)])
        self.assertEqual(self.hosp.journal.entries(kinds=["answered"]), [])


class JournalTests(MachineCase):
    def test_who_did_what(self) -> None:
        self.machine()
        self.begin(call("POST", "/notes", NOTE, staff=5))
        self.begin(call("PATCH", "/notes/301", {"title": "z"}, staff=6))
        self.begin(call("DELETE", "/notes/301", staff=6))
        self.begin(call("POST", "/patients/7/screen", {"images": ["a"]}, staff=7))
        done = [
            (entry.kind, entry.staff_id, entry.staff_name, entry.resource, entry.id, entry.request)
            for entry in self.hosp.journal.entries(kinds=["stored", "updated", "deleted", "screened"])
        ]
        self.assertEqual(
            done,
            [
                ("stored", 5, "staff5", "notes", 301, 1),
                ("updated", 6, "staff6", "notes", 301, 4),
                ("deleted", 6, "staff6", "notes", 301, 7),
                ("screened", 7, "staff7", "patients", 7, 10),
            ],
        )
        stored = self.hosp.journal.entries(kinds=["stored"])[0]
        self.assertEqual({name: (stored.fields or {})[name] for name in NOTE}, NOTE)

    def test_a_claimed_name_is_no_verified_one(self) -> None:
        self.machine()
        self.begin(call(staff=99))
        entry = self.hosp.journal.entries(kinds=["request"])[0]
        self.assertEqual((entry.staff_id, entry.staff_name), (None, "staff99"))
        self.assertEqual(self.hosp.stats.by_staff, {"(nobody)": 1})

    def test_no_password_enters_it(self) -> None:
        self.machine()
        self.begin(call("POST", "/staffs", {"name": "n", "hospital_id": 1, "password": "hush-hush"}))
        self.begin(call("PATCH", "/staffs/15", {"password": "hush-again"}))
        text = repr(self.hosp.journal.entries())
        self.assertIn("'updated'", text)
        self.assertNotIn("hush", text)
        self.assertNotIn("password1", text)

    def test_one_who_changes_his_own_password_is_named_to_the_end(self) -> None:
        self.machine()
        self.begin(call("PATCH", "/staffs/1", {"password": "other"}))
        self.assertEqual({entry.staff_id for entry in self.hosp.journal.entries()}, {1})

    def test_request_id_is_noted_and_echoed(self) -> None:
        self.machine()
        asked = Call("GET", "/", "a=b", {"x-request-id": "abc"})
        wire = self.begin(asked)
        assert wire.answer is not None
        self.assertEqual(dict(wire.answer.headers)["X-Request-Id"], "abc")
        self.assertEqual({entry.request_id for entry in self.hosp.journal.entries()}, {"abc"})
        self.assertEqual({entry.query for entry in self.hosp.journal.entries()}, {"a=b"})

    def test_counted_by_route(self) -> None:
        self.machine()
        for path in ("/notes/7", "/notes/abc", "/nowhere", "/elsewhere"):
            self.begin(call(path=path))
        self.assertEqual(self.hosp.stats.by_route, {"GET /notes/:id": 2, "(none)": 2})


class CookieTests(MachineCase):
    def cookie(self, staff: int) -> str | None:
        wire = self.begin(call(staff=staff))
        assert wire.answer is not None
        return dict(wire.answer.headers).get("Set-Cookie")

    def test_one_of_its_own_for_each_user_on_every_answer(self) -> None:
        self.machine(set_cookie=True)
        self.assertRegex(
            self.cookie(1) or "", r"\A_hosp_session=[0-9a-f]{32}; path=/; HttpOnly; SameSite=Lax\Z"
        )
        self.assertEqual(self.cookie(1), self.cookie(1))
        self.assertNotEqual(self.cookie(1), self.cookie(2))
        self.assertIsNotNone(self.cookie(99))

    def test_none_otherwise(self) -> None:
        self.machine()
        self.assertIsNone(self.cookie(1))


class ResetTests(MachineCase):
    def test_all_in_progress_is_dropped(self) -> None:
        self.machine(delay="fixed:4", places=1)
        script = [Scripted("late_commit"), Scripted("stall"), Scripted(None), Scripted(None)]
        self.hosp.planner.script.extend(script)
        wires = [self.begin(post()) for _ in range(4)]
        self.hosp.reset()
        self.assertEqual([wire.fates for wire in wires[1:]], [[("reset", None)]] * 3)
        self.clock.pump([4] * 20)
        self.assertEqual((self.notes(), self.kinds(), self.clock.getDelayedCalls()), (0, [], []))
        places = self.hosp.places
        self.assertEqual((places.taken, places.waiting, self.hosp.stats.in_flight), (0, 0, 0))

    def test_back_to_the_seed_without_faults(self) -> None:
        self.machine(faults={"error_after": 1.0})
        self.begin(post())
        self.hosp.reset()
        self.assertEqual((self.notes(), self.hosp.stats.requests, self.hosp.planner.faults), (0, 0, Faults()))
        self.assertEqual(self.begin(post()).fates, [("sent", 201)])
        self.assertEqual(self.hosp.journal.entries()[0].seq, 5)

    def test_those_who_wait_get_no_place_of_those_dropped(self) -> None:
        self.machine(places=1, delay="fixed:1")
        self.begin(post())
        self.hosp.planner.time_scale = 0
        self.begin(post())
        self.hosp.stop()
        self.assertEqual(self.notes(), 0)

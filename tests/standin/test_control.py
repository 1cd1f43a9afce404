from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.control import ControlResource
from hosp_standin.machine import Machine
from hosp_standin.server import HospResource
from hosp_standin.service import Place, Standin, load_seed
from hosp_standin.testing import settings


class ControlCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.hosp = Machine(load_seed(), settings(max_journal_entries=6), self.reactor, lambda: 0.0)
        self.standin = Standin(self.reactor, self.hosp, Place("127.0.0.1", 3000))
        self.standin.startService()
        self.treq = StubTreq(ControlResource(self.standin.control))
        self.hosp_treq = StubTreq(HospResource(self.hosp))

    def control(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        response = self.successResultOf(self.treq.request(method, f"http://control{path}", data=data))
        text = self.successResultOf(response.text())
        self.assertEqual(response.code, status, text)
        return json.loads(text)

    def ask(self, method: str, path: str, **options: Any) -> int:
        asked = self.hosp_treq.request(method, f"http://hosp{path}", auth=("staff1", "password1"), **options)
        return int(self.successResultOf(asked).code)


class ReadTests(ControlCase):
    def test_journal(self) -> None:
        self.ask("GET", "/notes/7?a=b")
        self.ask("POST", "/notes", json={"title": "x"})
        whole = self.control("GET", "/journal")
        self.assertEqual(
            [entry["kind"] for entry in whole["entries"]],
            ["request", "answered", "request", "stored", "answered"],
        )
        self.assertEqual(whole["dropped"], 0)
        stored = self.control("GET", "/journal?since=2&kind=stored,updated&resource=notes")["entries"]
        self.assertEqual(
            [(entry["seq"], entry["staff_name"], entry["id"]) for entry in stored], [(4, "staff1", 301)]
        )
        self.assertEqual(stored[0]["fields"]["title"], "x")
        self.assertEqual(
            [entry["seq"] for entry in self.control("GET", "/journal?limit=2")["entries"]], [1, 2]
        )

    def test_the_journal_says_what_it_lost(self) -> None:
        for _ in range(4):
            self.ask("GET", "/notes/7")
        whole = self.control("GET", "/journal")
        self.assertEqual(
            ([entry["seq"] for entry in whole["entries"]], whole["dropped"]), ([3, 4, 5, 6, 7, 8], 2)
        )

    def test_journal_with_nonsense(self) -> None:
        for query, words in (("kind=lost", "lost"), ("since=x", "since"), ("limit=-1", "limit")):
            self.assertIn(words, self.control("GET", f"/journal?{query}", status=400)["error"])

    def test_stats(self) -> None:
        self.ask("GET", "/notes/7")
        self.ask("GET", "/notes/999")
        stats = self.control("GET", "/stats")
        expected = {
            "requests": 2,
            "by_route": {"GET /notes/:id": 2},
            "by_status": {"200": 1, "404": 1},
            "by_fault": {},
            "by_staff": {"staff1": 2},
            "in_flight": 0,
            "max_in_flight": 1,
            "working": 0,
            "max_working": 1,
            "queued": 0,
            "max_queued": 0,
            "late_commits": 0,
            "offline": False,
        }
        self.assertEqual(stats, expected)

    def test_records(self) -> None:
        staffs = self.control("GET", "/records/staffs")
        self.assertEqual((len(staffs), staffs[0]["id"]), (14, 14))
        self.assertNotIn("password", staffs[0])
        self.control("GET", "/records/nothing", status=404)

    def test_what_is_not_there(self) -> None:
        for method, path in (("GET", "/"), ("GET", "/reset"), ("POST", "/stats"), ("PUT", "/faults")):
            self.assertIn(path.rstrip("/"), self.control(method, path, status=404)["error"])


class FaultsTests(ControlCase):
    def test_replaced_as_a_whole(self) -> None:
        self.control("POST", "/faults", {"busy": 1})
        self.assertEqual(self.ask("GET", "/"), 503)
        shown = self.control("POST", "/faults", {"bad_gateway": 1})
        self.assertEqual((shown["busy"], shown["bad_gateway"]), (0, 1))
        self.assertEqual(self.ask("GET", "/"), 502)
        self.control("POST", "/faults", {})
        self.assertEqual(self.ask("GET", "/"), 200)

    def test_what_makes_no_sense_changes_nothing(self) -> None:
        self.control("POST", "/faults", {"busy": 1})
        for body in ({"busy": 2}, {"bussy": 1}, b"{", b"[]", b"\xff"):
            self.control("POST", "/faults", body, status=400)
        self.assertEqual(self.control("GET", "/faults")["busy"], 1)

    def test_script(self) -> None:
        script = {"faults": ["error_before", None, {"fault": "busy", "path": "/notes/7"}]}
        shown = self.control("POST", "/script", script)["script"]
        self.assertEqual(shown[2], {"fault": "busy", "method": None, "path": "/notes/7"})
        self.assertEqual(
            [self.ask("GET", path) for path in ("/", "/", "/", "/notes/7")], [500, 200, 200, 503]
        )
        for body in (
            {},
            {"faults": "busy"},
            {"faults": ["late"]},
            {"faults": [1]},
            {"faults": [{"when": 1}]},
        ):
            self.control("POST", "/script", body, status=400)


class ChangeTests(ControlCase):
    def test_behind_everybodys_back(self) -> None:
        created = self.control("POST", "/change", {"resource": "notes", "create": {"title": "x"}})
        self.assertEqual((created["id"], created["title"]), (301, "x"))
        changed = self.control("POST", "/change", {"resource": "notes", "id": 301, "fields": {"title": "y"}})
        self.assertEqual(changed["title"], "y")
        self.control("POST", "/change", {"resource": "notes", "id": 301, "delete": True})
        self.assertEqual(self.ask("GET", "/notes/301"), 404)
        entries = self.control("GET", "/journal?resource=notes")["entries"]
        self.assertEqual(
            [(each["kind"], each["id"], each["staff_id"], each["request"]) for each in entries],
            [("stored", 301, None, None), ("updated", 301, None, None), ("deleted", 301, None, None)],
        )

    def test_nonsense(self) -> None:
        for body, status in [
            ({}, 400),
            ({"resource": "nothing", "id": 1, "delete": True}, 400),
            ({"resource": "notes"}, 400),
            ({"resource": "notes", "id": 1}, 400),
            ({"resource": "notes", "id": 1, "fields": {"staff_id": 2**64}}, 400),
            ({"resource": "notes", "id": 999, "fields": {"title": "x"}}, 404),
            ({"resource": "notes", "id": 999, "delete": True}, 404),
        ]:
            self.control("POST", "/change", body, status=status)
        self.assertEqual(self.control("GET", "/journal")["entries"], [])

    def test_cookie(self) -> None:
        self.control("POST", "/set-cookie", {"set_cookie": True})
        response = self.successResultOf(self.hosp_treq.get("http://hosp/"))
        self.assertTrue(response.headers.hasHeader(b"set-cookie"))
        self.control("POST", "/set-cookie", {}, status=400)

    def test_reset(self) -> None:
        self.control("POST", "/change", {"resource": "notes", "create": {"title": "x"}})
        self.control("POST", "/faults", {"busy": 1})
        self.control("POST", "/offline", {"offline": True})
        self.control("POST", "/reset")
        self.assertEqual(len(self.control("GET", "/records/notes")), 300)
        self.assertEqual(self.control("GET", "/journal"), {"entries": [], "dropped": 0})
        self.assertEqual(self.control("GET", "/faults")["busy"], 0)
        self.assertFalse(self.control("GET", "/stats")["offline"])


class OfflineTests(ControlCase):
    def test_switched(self) -> None:
        self.assertEqual(self.control("POST", "/offline", {"offline": True}), {"offline": True})
        self.assertTrue(self.control("GET", "/stats")["offline"])
        self.control("POST", "/offline", {"offline": False})
        self.assertFalse(self.control("GET", "/stats")["offline"])

    def test_for_a_while(self) -> None:
        self.control("POST", "/offline", {"offline": True, "for_s": 5})
        self.reactor.advance(4.9)
        self.assertTrue(self.control("GET", "/stats")["offline"])
        self.reactor.advance(0.1)
        self.assertFalse(self.control("GET", "/stats")["offline"])

    def test_nonsense(self) -> None:
        for body in ({}, {"offline": 1}, {"offline": True, "for_s": -1}, {"offline": True, "for_s": "x"}):
            self.control("POST", "/offline", body, status=400)
        self.assertFalse(self.control("GET", "/stats")["offline"])

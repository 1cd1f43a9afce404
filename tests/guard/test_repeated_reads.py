"""An equal read passes permission rules again while what is known stays the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.exchange import Call
from hospproxy.guard.knowledge import Knowledge, watched
from hospproxy.guard.permissions import Permissions, _Case
from hospproxy.http.messages import Headers, Response
from tests.guard.test_permissions import rig_with
from tests.rig import CONTRACT

WATCHED = watched(CONTRACT, CONTRACT.permissions)


READS = {"patients": "getPatient", "staffs": "getStaff"}


def learn(knowledge: Knowledge, resource: str, number: int, fields: dict[str, Any]) -> None:
    call = Call(CONTRACT.operation(READS[resource]), (str(number),), accept="json", authorization=None)
    knowledge.saw(call, Response(200, Headers(), json.dumps({"id": number, **fields}).encode()))


class VersionTests(SynchronousTestCase):
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("learn", "forget", "doubt", "wait")), st.integers(1, 4), st.integers(1, 2)
            ),
            max_size=30,
        )
    )
    def test_the_version_differs_whenever_a_value_does(self, steps: list[tuple[str, int, int]]) -> None:
        clock = Clock()
        knowledge = Knowledge(CONTRACT, WATCHED, clock, most=3)

        def recalled() -> list[Any]:
            return [knowledge.recall("patients", str(number), "hospital_id") for number in range(1, 5)]

        for step, number, value in steps:
            before, version = recalled(), knowledge.version
            if step == "learn":
                learn(knowledge, "patients", number, {"hospital_id": value})
            elif step == "forget":
                knowledge.forget("patients", str(number))
            elif step == "doubt":
                knowledge.doubt_all()
            else:
                clock.advance(1000.0)
            if recalled() != before:
                self.assertNotEqual(knowledge.version, version)


class RepeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        rig = rig_with(other_hospital="report")
        response: Response = rig.get(rig.send("GET", "/patients/7"))
        exchange = next(one for one in reversed(rig.exchanges) if not one.own)
        self.knowledge = Knowledge(CONTRACT, WATCHED, rig.clock)
        for number, hospital in ((1, 1), (2, 2)):
            learn(self.knowledge, "staffs", number, {"hospital_id": hospital})
        learn(self.knowledge, "patients", 7, {"hospital_id": 1})
        self.judged: list[_Case] = []
        self.part = Permissions(
            CONTRACT, self.knowledge, rig.ask, NullMeter(), {"other_hospital": "report"}, remember_s=60.0
        )
        verdict = self.part._verdict

        def counted(case: _Case) -> Any:
            self.judged.append(case)
            return verdict(case)

        self.patch(self.part, "_verdict", counted)
        repeat = self.part.repeat(exchange, response)
        assert repeat is not None and repeat.holds is not None
        self.holds = repeat.holds

    def test_it_is_judged_once_while_nothing_changes(self) -> None:
        self.assertEqual([self.holds(0.0) for _ in range(5)], [True] * 5)
        self.assertEqual(len(self.judged), 1)

    def test_it_is_judged_again_when_the_caller_changes_places(self) -> None:
        self.assertTrue(self.holds(0.0))
        learn(self.knowledge, "staffs", 1, {"hospital_id": 2})
        self.assertFalse(self.holds(0.0))
        self.assertFalse(self.holds(0.0))
        learn(self.knowledge, "staffs", 1, {"hospital_id": 1})
        self.assertTrue(self.holds(0.0))

    def test_what_it_holds_does_not_grow(self) -> None:
        for number in range(20):
            self.assertTrue(self.holds(0.0))
            learn(self.knowledge, "patients", 8, {"hospital_id": number})
        self.assertLessEqual(max(len(case.about) for case in self.judged), 1)

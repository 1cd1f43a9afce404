"""HOSP cannot say who is calling: callers that it knew may read what is cached, and nothing else."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.http.errors import NotSent
from hospproxy.http.messages import Response
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.cache import Cache
from hospproxy.memory.memory import Memory
from hospproxy.memory.store import LruStore
from hospproxy.options.sections import CacheSettings
from tests.rig import CONTRACT, STAFF2, Rig

AWAY = [NotSent("refused")] * 20
SHIFT = 43200.0


class Offline(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(put_in={"memory.cache": _Later()})
        accounts: Accounts = self.rig.accounts
        accounts._grace_s = SHIFT
        memory = Memory(CONTRACT, accounts, LruStore(1 << 20), self.rig.time)
        self.cache = Cache(CacheSettings(), CONTRACT, memory, self.rig.time, NullMeter())
        _Later.cache = self.cache
        self.status("GET", "/notes")
        self.status("GET", "/staffs/me")
        self.rig.clock.advance(400)

    def status(self, *args: Any, **how: Any) -> int:
        answer = self.rig.get(self.rig.send(*args, **how))
        assert isinstance(answer, Response)
        return answer.status

    def away(self, *args: Any, faults: Any = AWAY, **how: Any) -> int:
        self.rig.hosp.read_faults, self.rig.hosp.faults = list(faults), [("before", AWAY[0])] * 20
        try:
            return self.status(*args, **how)
        finally:
            self.rig.hosp.read_faults, self.rig.hosp.faults = [], []

    def test_reads_of_what_is_kept(self) -> None:
        for faults in (AWAY, [500] * 20, [503] * 20):
            for path in ("/notes", "/staffs/me"):
                self.assertEqual(self.away("GET", path, faults=faults), 200, (path, faults[0]))
                last = [one for one in self.rig.exchanges if not one.own][-1]
                self.assertEqual(
                    (last.trace.cache_status, last.trace.rule_hits), ("stale", ["identity:offline-grace"])
                )
                assert last.trace.identity is not None

    def test_nothing_is_sent_on_the_strength_of_it(self) -> None:
        before = [call.operation.id for call in self.rig.hosp.calls]
        self.assertEqual(self.away("POST", "/notes", {"title": "a", "body": "b", "patient_id": 7}), 502)
        self.assertEqual(self.away("POST", "/patients/7/screen", {"images": ["x"]}), 502)
        self.assertEqual(self.away("GET", "/patients"), 502)
        after = [call.operation.id for call in self.rig.hosp.calls][len(before) :]
        self.assertEqual(set(after), {"getMe"})

    def test_what_was_never_read_is_nobodys(self) -> None:
        self.away("GET", "/patients")
        last = [one for one in self.rig.exchanges if not one.own][-1]
        self.assertIsNone(last.trace.identity)

    def test_not_for_others_nor_after_a_shift(self) -> None:
        self.assertEqual(self.away("GET", "/notes", auth=STAFF2), 502)
        self.assertEqual(self.away("GET", "/notes", auth=b"Basic c3RhZmYxOndyb25n"), 502)
        self.rig.clock.advance(SHIFT - 500)
        self.assertEqual(self.away("GET", "/notes"), 200)
        self.rig.clock.advance(101)
        self.assertEqual(self.away("GET", "/notes"), 502)

    def test_it_renews_nothing(self) -> None:
        for _ in range(3):
            self.rig.clock.advance(SHIFT / 3)
            self.away("GET", "/notes")
        self.assertEqual(self.away("GET", "/notes"), 502)

    def test_an_odd_answer_is_no_outage(self) -> None:
        self.assertEqual(self.away("GET", "/notes", faults=[404]), 502)

    def test_hosps_refusal_ends_it(self) -> None:
        self.rig.hosp.passwords["staff1"] = "other"
        self.assertEqual(self.status("GET", "/notes"), 401)
        self.assertEqual(self.away("GET", "/notes"), 502)


class _Later:
    """The cache, which needs parts that the rig makes."""

    cache: Any

    async def process(self, exchange: Any, proceed: Any) -> Response:
        response: Response = await self.cache.process(exchange, proceed)
        return response

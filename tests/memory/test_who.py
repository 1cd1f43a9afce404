"""The response to "who am I" is cached, although its owner is not yet known when it is requested."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Origin, Response
from hospproxy.memory.cache import Cache
from hospproxy.memory.memory import Memory
from hospproxy.memory.store import LruStore
from hospproxy.options.sections import CacheSettings
from tests.rig import CONTRACT, STAFF1, STAFF2, Rig


class WhoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.memory = Memory(CONTRACT, self.rig.accounts, LruStore(1 << 20), self.rig.clock)
        cache = Cache(CacheSettings(), CONTRACT, self.memory, self.rig.clock, self.rig.meter)
        self.rig = Rig(
            put_in={"memory.cache": cache},
            clock=self.rig.clock,
            hosp=self.rig.hosp,
            accounts=self.rig.accounts,
        )

    def ask(self, path: str = "/staffs/me", auth: bytes = STAFF1) -> Response:
        answer: Response = self.rig.get(self.rig.send("GET", path, auth=auth))
        return answer

    def asked(self) -> int:
        return len(self.rig.hosp.seen("getMe"))

    def test_asked_once_for_each_set_of_credentials(self) -> None:
        first, again, other = self.ask(), self.ask(), self.ask(auth=STAFF2)
        self.assertEqual(
            (first.origin, again.origin, other.origin), (Origin.UPSTREAM, Origin.MEMORY, Origin.UPSTREAM)
        )
        self.assertEqual(first.body, again.body)
        self.assertNotEqual(first.body, other.body)
        self.assertEqual(self.asked(), 2)

    def test_a_refusal_is_nobodys_answer(self) -> None:
        self.rig.hosp.passwords["staff1"] = "other"
        self.assertEqual([self.ask().status, self.ask().status], [401, 401])
        self.assertEqual((self.asked(), len(self.memory.store)), (2, 0))  # type: ignore[arg-type]

    def test_an_account_that_changes_meanwhile_is_not_kept_as_it_was(self) -> None:
        self.ask("/notes", auth=STAFF2)
        self.rig.hosp.hold = True
        asking = self.rig.send("GET", "/staffs/me")
        self.rig.hosp.hold = False
        change: dict[str, Any] = {"hospital_id": 9}
        self.assertEqual(self.rig.get(self.rig.send("PATCH", "/staffs/1", change, auth=STAFF2)).status, 200)
        self.rig.hosp.held.pop().callback(None)
        self.rig.get(asking)
        before = self.asked()
        self.ask()
        self.assertEqual(self.asked(), before + 1)

"""Retries that arrive before the workers can see that no client waits for the first response."""

from __future__ import annotations

from typing import Any

from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script

from .test_elsewhere import RESET, SiteTestCase


class LeaseTests(SiteTestCase):
    def test_a_retry_within_adead_ones_lease_gets_what_its_successor_finds(self) -> None:
        """It waits for its turn as a separate write until it is visible that no client got the response."""
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 3
        self.sending(self.one)
        self.site.end(self.one, lease_s=3)
        again = self.sending(self.two)
        self.clock.advance(0.1)
        self.hosp.read_faults = []
        self.site.worker("m0")
        self.assertEqual(self.id_of(self.told(self.two, again)), self.stored[0]["id"])
        self.assertEqual(len(self.stored), 1)

    def test_an_answer_that_died_on_its_way_is_found_within_the_lease(self) -> None:
        first = self.send(self.one, handed_over=False)
        self.site.end(self.one, seen=False, lease_s=3)
        self.assertEqual(self.send(self.two).body, first.body)
        self.assertEqual(len(self.stored), 1)

    def test_a_client_who_is_heard_to_have_left_only_while_its_retry_waits(self) -> None:
        self.hosp.hold = True
        first = self.sending(self.one)
        again = self.sending(self.two)
        self.clock.advance(0.5)
        self.leave(first)
        self.release()
        self.id_of(self.told(self.two, again))
        self.clock.pump([0.1] * 30)
        self.assertEqual(len(self.stored), 1)

    def test_what_it_hands_over_in_the_end_the_first_worker_knows_also_without_redis(self) -> None:
        """The client went to a second worker, which died, and came back; then it sends an equal, new write."""
        self.hosp.hold = True
        first = self.sending(self.one)
        self.clock.advance(0.1)
        self.leave(first)
        self.sending(self.two)
        self.clock.advance(0.1)
        self.site.end(self.two, lease_s=3)
        again = self.sending(self.one)
        self.clock.advance(0.1)
        self.release()
        self.id_of(self.told(self.one, again))
        self.assertEqual(len(self.stored), 1)
        self.one.common.away = True
        self.id_of(self.send(self.one))
        self.assertEqual(len(self.stored), 2)

    def test_an_answer_that_aretry_died_with_is_the_next_ones(self) -> None:
        first = self.send(self.one, handed_over=False)
        self.site.end(self.one, seen=False)
        self.send(self.two, handed_over=False)
        self.site.end(self.two, lease_s=3)
        self.assertEqual(self.send(self.site.worker("m1")).body, first.body)
        self.assertEqual(len(self.stored), 1)

    def test_a_sibling_that_sees_it_dead_within_its_lease_asks_only_once(self) -> None:
        for key in (b"k", None):
            self.setUp()
            sibling = self.site.worker("m0")
            sibling.get(sibling.send("GET", "/notes"))
            self.hosp.hold = True
            first = self.sending(self.one, key=key)
            self.clock.advance(0.1)
            self.leave(first)
            self.site.end(self.one, lease_s=3)
            self.release()
            sibling.common.calls.clear()
            sent = self.sending(sibling, key=key)
            self.assertLess(len(sibling.common.calls), 12, key)
            self.id_of(self.told(sibling, sent))
            self.assertEqual(len(self.stored), 1, key)

    def test_what_is_given_up_here_may_be_known_to_whoever_took_it_over(self) -> None:
        for key in (b"k", None):
            self.setUp()
            self.hosp.faults = [("after", RESET)]
            self.hosp.read_faults = [500] * 200
            self.sending(self.one, key=key)
            self.site.end(self.one, seen=False)
            self.clock.pump([1.0] * 60)
            self.hosp.read_faults = []
            found = self.send(self.two, key=key, handed_over=False)
            self.id_of(found)
            assert found.handed_over is not None
            found.handed_over(False)
            self.one.ledger._owner.leave()  # type: ignore[union-attr]
            after = self.site.worker("m0")
            self.clock.pump([0.5] * 100)
            self.assertEqual(self.send(after, key=key).body, found.body, key)
            self.assertEqual(len(self.stored), 1)

    def test_a_redis_that_always_says_that_it_is_an_orphan_ends_in_time(self) -> None:
        async def run(script: Script, _keys: Any, args: Any) -> list[Any]:
            if script.name == "find" and args[2] == "equal":
                return [b"mark", b"join", b"x"]
            if script.name == "find":
                return [b"mark", b"is", b"open", b"", 0, 1, b"", b"", b""]
            return [b"mark", b"known", b"x"]

        self.one.common.run = run  # type: ignore[method-assign]
        for key in (b"k", None):
            self.assertEqual(self.send(self.one, key=key).status, 503)
        self.assertEqual(self.stored, [])

    def test_whoever_keeps_asking_for_what_was_given_up_is_its_retry_each_time(self) -> None:
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 30
        sent = self.sending(self.one)
        self.one.claims._scripts._lost()
        self.site.store.lose()
        self.assertEqual(self.told(self.one, sent).status, 502)
        self.hosp.read_faults = []
        for _ in range(4):
            self.clock.pump([1.0] * 90)
            self.assertEqual(self.send(self.two).status, 502)
        self.assertEqual(len(self.stored), 1)

    def test_whoever_takes_it_over_and_dies_leaves_when_it_began(self) -> None:
        """Otherwise its successor would take the record for an older one."""
        for key in (b"k", None):
            self.setUp()
            self.hosp.faults = [("after", RESET)]
            self.hosp.read_faults = [500] * 300
            self.sending(self.one, key=key)
            self.site.end(self.one, seen=False)
            self.clock.pump([1.0] * 60)
            self.sending(self.two, key=key)
            self.clock.pump([1.0] * 5)
            self.site.end(self.two)
            self.hosp.read_faults = []
            after = self.site.worker("m1")
            self.clock.pump([0.5] * 200)
            self.id_of(self.send(after, key=key))
            self.assertEqual(len(self.stored), 1, key)


class LostReplyTests(SiteTestCase):
    """A script ran, and its reply was lost."""

    def lose_reply(self, name: str) -> None:
        run = self.two.common.run

        async def once(script: Script, *args: Any) -> list[Any]:
            found = await run(script, *args)
            if script.name == name:
                self.two.common.run = run  # type: ignore[method-assign]
                raise Away("its reply was lost")
            return found

        self.two.common.run = once  # type: ignore[method-assign]

    def orphan(self, key: bytes | None = None) -> None:
        """Make a write that HOSP has stored, and whose worker is dead."""
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 30
        self.sending(self.one, key=key)
        self.site.end(self.one, seen=False)
        self.clock.pump([1.0] * 60)
        self.hosp.read_faults = []

    def test_what_was_taken_over_unheard_is_looked_for_first(self) -> None:
        for key in (None, b"k"):
            self.setUp()
            self.orphan(key)
            self.lose_reply("claim")
            statuses = []
            while 201 not in statuses and len(statuses) < 5:
                statuses.append(self.send(self.two, key=key).status)
            self.assertEqual((statuses[-1], len(self.stored)), (201, 1), key)

    def test_the_retry_of_an_orphan_is_not_sent_without_redis(self) -> None:
        self.orphan()
        run = self.two.common.run

        async def until(script: Script, *args: Any) -> list[Any]:
            self.two.common.away = script.name == "claim"
            return await run(script, *args)

        self.two.common.run = until  # type: ignore[method-assign]
        self.assertEqual(self.send(self.two).status, 503)
        self.two.common.run, self.two.common.away = run, False  # type: ignore[method-assign]
        self.id_of(self.send(self.two))
        self.assertEqual(len(self.stored), 1)

"""A client leaves while its write waits, and asks again at another worker or machine."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from hospproxy.exchange.exchange import Exchange
from hospproxy.http.messages import Response
from hospproxy.outward.writes.processor import Writes

from .site import Worker
from .test_elsewhere import SiteTestCase


class LeftTests(SiteTestCase):
    def delayed(self) -> Deferred[None]:
        """Hold the next write before the processor of writes, as a slow look-up of who sends it does."""
        delay: Deferred[None] = Deferred()
        process, waited = Writes.process, []

        async def delayed(writes: Writes, exchange: Exchange, proceed: Any) -> Response:
            if exchange.request.method == "POST" and not waited:
                waited.append(exchange)
                await delay
            return await process(writes, exchange, proceed)

        self.patch(Writes, "process", delayed)
        self.setUp()
        return delay

    def test_a_write_that_was_not_sent_yet_is_not_sent_beside_the_second_try(self) -> None:
        for machine in ("m0", "m1"):
            delay = self.delayed()
            other = self.site.worker(machine)
            self.leave(self.sending(self.one))
            self.id_of(self.send(other))
            delay.callback(None)
            self.clock.pump([0.5] * 20)
            self.assertEqual(len(self.stored), 1)

    def test_a_write_that_waits_at_the_upstream_is_joined_by_the_second_try(self) -> None:
        for machine in ("m0", "m1"):
            self.setUp()
            other = self.site.worker(machine)
            self.hosp.hold = True
            self.leave(self.sending(self.one))
            again = self.sending(other)
            self.clock.pump([0.1] * 10)
            self.release()
            self.id_of(self.told(other, again))
            self.assertEqual(len(self.stored), 1)

    def siblings_without_redis(self) -> Worker:
        """Redis is away, and neither worker waits for it any more."""
        sibling = self.site.worker("m0")
        sibling.get(sibling.send("GET", "/notes"))
        self.one.common.away = sibling.common.away = True
        self.clock.advance(3)
        return sibling

    def test_without_redis_a_sibling_does_not_send_what_may_still_be_sent(self) -> None:
        sibling = self.siblings_without_redis()
        self.hosp.hold = True
        self.leave(self.sending(self.one))
        again = json.loads(self.send(sibling).body)
        self.assertEqual(again["outcome"], "unknown")
        self.release()
        self.clock.pump([0.5] * 10)
        self.assertEqual(len(self.stored), 1)

    def test_without_redis_a_sibling_does_not_send_what_was_stored_meanwhile(self) -> None:
        sibling = self.siblings_without_redis()
        self.hosp.hold = True
        self.leave(self.sending(self.one))
        self.release()
        self.clock.pump([0.5] * 10)
        self.assertEqual(json.loads(self.send(sibling).body)["outcome"], "unknown")
        self.assertEqual(len(self.stored), 1)
        self.clock.advance(121)
        self.id_of(self.send(sibling))

    def test_without_redis_a_write_that_was_answered_is_no_reason_to_doubt(self) -> None:
        sibling = self.siblings_without_redis()
        self.id_of(self.send(self.one))
        self.id_of(self.send(sibling))
        self.assertEqual(len(self.stored), 2)

from __future__ import annotations

from typing import get_args

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.words import CacheWord
from hospproxy.http.errors import Refused
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.requests import count_request
from tests.record.exchanges import READ_NOTE, answer, exchange


class Requests(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Metrics(strict=True)

    def counted(self, method: str, route: str, status_class: str, cache: str) -> float | None:
        return self.meter.value(
            "requests_total", method=method, route=route, status_class=status_class, cache=cache
        )

    def test_an_answer(self) -> None:
        done = exchange(READ_NOTE, ("3",), cache_status="hit")
        count_request(self.meter, done, answer(), 0.5)
        self.assertEqual(self.counted("GET", "/notes/{id}", "2xx", "hit"), 1)
        self.assertEqual(self.meter.value("request_seconds_sum", route="/notes/{id}"), 0.5)

    def test_a_failure_and_a_client_that_left(self) -> None:
        count_request(self.meter, exchange(), Refused("no", status=404), 0)
        count_request(self.meter, exchange(), CancelledError(), 0)
        self.assertEqual(self.counted("GET", "unknown", "4xx", "none"), 1)
        self.assertEqual(self.counted("GET", "unknown", "none", "none"), 1)

    def test_a_method_that_nobody_knows_is_another(self) -> None:
        bare = exchange()
        odd = evolve(bare, request=evolve(bare.request, method="PROPFIND"))
        count_request(self.meter, odd, answer(status=405), 0)
        self.assertEqual(self.counted("other", "unknown", "4xx", "none"), 1)

    def test_every_word_of_the_cache_is_counted_as_itself(self) -> None:
        """``expired`` and ``refresh`` were counted as "other"."""
        for word in get_args(CacheWord):
            count_request(self.meter, exchange(READ_NOTE, ("3",), cache_status=word), answer(), 0)
            self.assertEqual(self.counted("GET", "/notes/{id}", "2xx", word), 1, word)

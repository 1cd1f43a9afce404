from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status import figures
from hospproxy.watch.status.counts import sample_of
from hospproxy.watch.status.history import Bucket

from .samples import attempted, overview, served


class Figures(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Metrics(strict=True)

    def counts(self) -> dict[str, float]:
        return dict(sample_of(overview(self.meter)).counters)

    def test_success_counts_every_request_without_a_good_response(self) -> None:
        for status, times in (("2xx", 90), ("4xx", 5), ("5xx", 3), ("none", 2)):
            served(self.meter, times, status)
        self.assertEqual(figures.requests(self.counts()), (100, 5))
        self.assertEqual(figures.success(100, 5), 0.95)

    def test_hosp_is_not_blamed_for_clients_that_left(self) -> None:
        for outcome, times in (("2xx", 7), ("4xx", 1), ("5xx", 1), ("not sent", 1), ("cancelled", 5)):
            attempted(self.meter, times, outcome)
        self.assertEqual(figures.attempts(self.counts()), (10, 2))

    def test_percentiles_fall_into_the_bar_of_the_real_ones(self) -> None:
        chance = random.Random(3)
        taken = sorted(chance.lognormvariate(0.5, 0.8) for _ in range(2000))
        for seconds in taken:
            served(self.meter, 1, seconds=seconds)
        for share in figures.QUANTILES:
            found, real = figures.quantile(self.counts(), "took", share), taken[int(share * len(taken))]
            assert found is not None
            self.assertTrue(real / 2.5 <= found <= real * 2.5, (share, found, real))
            self.assertEqual(bar(found), bar(real))

    def test_an_empty_bar_below_does_not_widen_the_next(self) -> None:
        served(self.meter, 10, seconds=4.0)
        found = figures.quantile(self.counts(), "took", 0.5)
        self.assertEqual(found, 3.75)  # the middle of 2.5 to 5

    def test_beyond_the_last_bound_nothing_more_is_known(self) -> None:
        served(self.meter, 10, seconds=99.0)
        self.assertEqual(figures.quantile(self.counts(), "took", 0.5), 30.0)
        self.assertIsNone(figures.quantile({}, "took", 0.5))

    def test_cache_hits_are_those_without_arequest_to_hosp(self) -> None:
        served(self.meter, 6, cache="hit")
        served(self.meter, 2, cache="collapsed")
        served(self.meter, 2, cache="miss")
        served(self.meter, 5, cache="none")
        found = figures.totals([Bucket(0, 5.0, self.counts())])
        self.assertEqual(found["cache"]["hit_rate"], 0.8)
        self.assertEqual(found["users"]["per_s"], 3.0)

    def test_a_rare_route_with_errors_is_among_the_routes(self) -> None:
        for number in range(30):
            for _ in range(10):
                self.meter.count(
                    "requests_total", method="GET", route=f"/{number}", status_class="2xx", cache="none"
                )
        self.meter.count("requests_total", method="POST", route="/sick", status_class="5xx", cache="none")
        routes = figures.totals([Bucket(0, 5.0, self.counts())])["routes"]
        self.assertEqual(len(routes), figures.MOST_ROUTES + 1)
        self.assertEqual(routes[-1], {"route": "POST /sick", "requests": 1, "by_status": {"5xx": 1}})


def bar(seconds: float) -> int:
    return sum(bound < seconds for bound in figures._SLOW)

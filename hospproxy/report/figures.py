"""The values of a report. Times are UTC, durations milliseconds, None if no request has a known one. Pure."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve, frozen

from .requests_table import BrokenLine


@frozen(slots=True)
class Durations:
    """Percentiles by nearest rank: a time that a request really took."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@frozen(slots=True)
class Counts:
    """How many requests, and how they ended.

    :param failed: no response, a 5xx, or the client left before it.
    :param refused: a 4xx that the client got.
    """

    requests: int
    failed: int
    refused: int

    @property
    def success(self) -> float:
        """Share of the requests that did not fail, from 0 to 1."""
        return 1 - self.failed / self.requests if self.requests else 1.0


@frozen(slots=True)
class RouteFigures:
    """The requests of one method and route."""

    method: str
    route: str
    counts: Counts
    durations: Durations

    @property
    def name(self) -> str:
        """Method and route in one text."""
        return f"{self.method} {self.route}"


@frozen(slots=True)
class ErrorFigures:
    """How often a route ended with a status.

    :param status: from 400, or None for no response.
    """

    method: str
    route: str
    status: int | None
    requests: int

    @property
    def name(self) -> str:
        """Method and route in one text."""
        return f"{self.method} {self.route}"


@frozen(slots=True)
class SlowRequest:
    """One of the requests that took longest."""

    moment: datetime
    ms: float
    method: str
    path: str
    status: int | None
    client: str


@frozen(slots=True)
class Surge:
    """Minutes in a row with far more requests than usual.

    :param peak: requests in its busiest minute.
    :param usual: the median of all minutes that have requests.
    """

    begin: datetime
    minutes: int
    requests: int
    failed: int
    peak: int
    usual: float


@frozen(slots=True)
class ClientFigures:
    """The requests from one address."""

    client: str
    counts: Counts


@frozen(slots=True)
class StepFigures:
    """The requests of one hour, day or month."""

    begin: datetime
    counts: Counts
    durations: Durations


@frozen(slots=True)
class Report:
    """All figures that were computed from some logs.

    :param sources: name of each format, and how many files of it were read.
    :param skipped: files in folders that are no logs.
    :param damaged: logs that cannot be read to their end.
    :param broken: lines that cannot be read; the first of them are in ``examples``.
    :param routes: the most used ones; there are ``route_count`` in all.
    :param clients: those with most requests; there are ``client_count`` in all.
    :param step: what ``steps`` are: "hour", "day" or "month".
    :param notes: what a reader must know about the sources.
    """

    sources: tuple[tuple[str, int], ...]
    skipped: int
    damaged: tuple[str, ...]
    broken: int
    examples: tuple[BrokenLine, ...]
    first: datetime
    last: datetime
    counts: Counts
    durations: Durations
    untimed: int
    sent_bytes: int
    routes: tuple[RouteFigures, ...]
    route_count: int
    errors: tuple[ErrorFigures, ...]
    slowest: tuple[SlowRequest, ...]
    surges: tuple[Surge, ...]
    clients: tuple[ClientFigures, ...]
    client_count: int
    step: str
    steps: tuple[StepFigures, ...]
    notes: tuple[str, ...]

    def cut(self, top: int) -> Report:
        """The same report with shorter lists.

        :param top: members of each list.
        """
        return evolve(
            self,
            routes=self.routes[:top],
            errors=self.errors[:top],
            slowest=self.slowest[:top],
            surges=self.surges[:top],
            clients=self.clients[:top],
        )

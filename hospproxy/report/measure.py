"""Computes a report: reads the logs into a table, and asks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from .figures import (
    ClientFigures,
    Counts,
    Durations,
    ErrorFigures,
    Report,
    RouteFigures,
    SlowRequest,
    StepFigures,
)
from .log_files import Format, FoundLogs, ReportError
from .requests_table import BrokenLine, Progress, RequestsTable, requests_table
from .surges import least_of_surge, surges

NOTES: Final = {
    Format.ALB: "The balancer delivers its log every five minutes and by best effort: the last minutes may be"
    " missing, and the log is no complete account of all requests.",
    Format.CLOUDFRONT: "CloudFront delivers its log within about an hour, parts of it up to a day later, and by"
    " best effort: the log is no complete account of all requests.",
    Format.JOURNAL: "From the audit journal: each request of a client is in it. The proxy's own requests to HOSP"
    " are not counted.",
}
"""What a reader must know of each source."""

_MOST_STEPS: Final = 14 * 24
_MOST_MINUTES: Final = 100_000
_PATH: Final = 500
"""Characters of a path that are shown at most."""

_COUNTS: Final = (
    "count(*), count(*) FILTER (failed), count(*) FILTER (status BETWEEN 400 AND 499 AND NOT failed)"
)
_OF_ALL: Final = "count(*) OVER ()"
"""How many groups there are, of which a LIMIT shows some."""

_DURATIONS: Final = "quantile_disc(us, [0.5, 0.95, 0.99]), max(us)"


def measure(found: FoundLogs, progress: Progress = lambda _done, _of: None, top: int = 20) -> Report:
    """The report of some log files.

    :param top: how many routes, errors, requests, surges and clients are listed.
    :raise ReportError: they hold no request, or memory or disk space does not suffice.
    """
    with requests_table(top) as table:
        broken, examples = table.read(found.files, progress)
        return _Measure(table, top).report(found, broken, examples)


@frozen
class _Measure:
    _table: RequestsTable
    _top: int

    def report(self, found: FoundLogs, broken: int, examples: Sequence[BrokenLine]) -> Report:
        rows = self._table.rows
        (total,) = rows(
            f"SELECT {_COUNTS}, {_DURATIONS}, min(moment), max(moment), count(*) - count(us),"
            " coalesce(sum(sent), 0) FROM requests"
        )
        first, last, untimed, sent = total[5:]
        if first is None:
            raise ReportError(_nothing(found, broken, self._table.damaged))
        files = Counter(file.format for file in found.files)
        step, steps = self._steps(first, last)
        route_count, routes = self._routes()
        client_count, clients = self._clients()
        return Report(
            sources=tuple((kind.value, files[kind]) for kind in Format if files[kind]),
            skipped=len(found.skipped),
            damaged=tuple(self._table.damaged),
            broken=broken,
            examples=tuple(examples),
            first=first,
            last=last,
            counts=Counts(*total[:3]),
            durations=_durations(total[3], total[4]),
            untimed=untimed,
            sent_bytes=sent,
            routes=routes,
            route_count=route_count,
            errors=self._errors(),
            slowest=self._slowest(),
            surges=tuple(self._surges()),
            clients=clients,
            client_count=client_count,
            step=step,
            steps=steps,
            notes=tuple(NOTES[kind] for kind in Format if files[kind]),
        )

    def _routes(self) -> tuple[int, tuple[RouteFigures, ...]]:
        """How many routes there are, and the most used ones."""
        found = self._table.rows(
            f"SELECT {_OF_ALL}, method, route, {_COUNTS}, {_DURATIONS} FROM requests"
            f" GROUP BY method, route ORDER BY 4 DESC, method, route LIMIT {self._top}"
        )
        return found[0][0], tuple(
            RouteFigures(method, route, Counts(*row[:3]), _durations(*row[3:]))
            for _, method, route, *row in found
        )

    def _errors(self) -> tuple[ErrorFigures, ...]:
        found = self._table.rows(
            "SELECT method, route, status, count(*) FROM requests WHERE status >= 400 OR status IS NULL OR failed"
            f" GROUP BY method, route, status ORDER BY 4 DESC, method, route, status LIMIT {self._top}"
        )
        return tuple(ErrorFigures(*row) for row in found)

    def _slowest(self) -> tuple[SlowRequest, ...]:
        found = self._table.rows(
            f"SELECT moment, us / 1000, method, left(path, {_PATH}), status, client FROM requests"
            f" WHERE us IS NOT NULL ORDER BY us DESC, moment, path LIMIT {self._top}"
        )
        return tuple(SlowRequest(*row) for row in found)

    def _surges(self) -> Sequence[Any]:
        minutes = "SELECT date_trunc('minute', moment) AS minute, count(*) AS n, count(*) FILTER (failed) AS f" \
            " FROM requests GROUP BY minute"  # fmt: skip
        ((usual,),) = self._table.rows(f"SELECT median(n) FROM ({minutes})")
        busy = self._table.rows(
            f"SELECT minute, n, f FROM ({minutes}) WHERE n >= {least_of_surge(usual)}"
            f" ORDER BY minute LIMIT {_MOST_MINUTES}"
        )
        return surges(((minute, n, f) for minute, n, f in busy), usual)[: self._top]

    def _clients(self) -> tuple[int, tuple[ClientFigures, ...]]:
        """How many clients there are, and those with most requests."""
        found = self._table.rows(
            f"SELECT {_OF_ALL}, client, {_COUNTS} FROM requests"
            f" GROUP BY client ORDER BY 3 DESC, client LIMIT {self._top}"
        )
        return found[0][0], tuple(ClientFigures(client, Counts(*row)) for _, client, *row in found)

    def _steps(self, first: datetime, last: datetime) -> tuple[str, tuple[StepFigures, ...]]:
        """Hour by hour, or in longer steps if there would be too many."""
        hours = (last - first).total_seconds() / 3600
        step = "hour" if hours < _MOST_STEPS else "day" if hours < 24 * _MOST_STEPS else "month"
        found = self._table.rows(
            f"SELECT date_trunc('{step}', moment) AS begin, {_COUNTS}, {_DURATIONS} FROM requests"
            " GROUP BY 1 ORDER BY 1"
        )
        return step, tuple(
            StepFigures(begin, Counts(*row[:3]), _durations(*row[3:])) for begin, *row in found
        )


def _durations(quantiles: Sequence[int] | None, longest: int | None) -> Durations:
    if quantiles is None or longest is None:
        return Durations(None, None, None, None)
    return Durations(*(each / 1000 for each in (*quantiles, longest)))


def _nothing(found: FoundLogs, broken: int, damaged: Sequence[str]) -> str:
    more = f", {broken} lines that cannot be read" if broken else ""
    more += f", {len(damaged)} damaged files such as {damaged[0]}" if damaged else ""
    return f"no requests in {len(found.files)} log files{more}"

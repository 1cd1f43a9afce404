"""What operators compare between two sets of options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from attrs import asdict, frozen

from .visits import Visit

FAILURES = frozenset(
    {
        "failed", "hosp is away", "over capacity", "not sent", "failed after sending", "bad answer", "unknown",
        "not recorded", "error",
    }
)  # fmt: skip
"""Outcomes that a user sees as a failure of the service."""


@frozen
class Figures:
    """Figures of one run.

    :param success: share of requests that did not fail, refusals not counted as failures.
    :param memory: share of requests answered from memory.
    :param at_hosp: requests that HOSP got, those of the proxy's own included.
    :param busiest_minute: the most that HOSP got in one minute.
    :param p50_s, p95_s, p99_s: response times.
    :param write_p95_s: the same of writes.
    """

    requests: int
    success: float
    failed: int
    over_capacity: int
    unknown: int
    refused: int
    memory: float
    at_hosp: int
    busiest_minute: int
    p50_s: float
    p95_s: float
    p99_s: float
    write_p95_s: float

    def as_json(self) -> dict[str, float]:
        """The figures, by name."""
        return asdict(self)


def figures_of(visits: Sequence[Visit], since: float, until: float) -> Figures:
    """Count what arrived between two moments."""
    within = [visit for visit in visits if since <= visit.at < until]
    asked = [visit for visit in within if not visit.own and visit.outcome != "client gone"]
    outcomes = Counter(visit.outcome for visit in asked)
    failed = sum(outcomes[outcome] for outcome in FAILURES)
    minutes = Counter[int]()
    for visit in within:
        minutes[int(visit.at // 60)] += visit.asked
    times = sorted(visit.seconds for visit in asked)
    writes = sorted(visit.seconds for visit in asked if visit.is_write)
    return Figures(
        requests=len(asked),
        success=1 - failed / len(asked) if asked else 1.0,
        failed=failed,
        over_capacity=outcomes["over capacity"],
        unknown=outcomes["unknown"],
        refused=outcomes["refused"],
        memory=sum(visit.answered_by == "memory" for visit in asked) / len(asked) if asked else 0.0,
        at_hosp=minutes.total(),
        busiest_minute=max(minutes.values(), default=0),
        p50_s=quantile(times, 0.5),
        p95_s=quantile(times, 0.95),
        p99_s=quantile(times, 0.99),
        write_p95_s=quantile(writes, 0.95),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies; 0 if there is none.

    :param values: ascending.
    """
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


_SHARE: Callable[[float], str] = lambda value: f"{value:.2%}"  # noqa: E731
_NUMBER: Callable[[float], str] = lambda value: f"{value:,.0f}"  # noqa: E731
_SECONDS: Callable[[float], str] = lambda value: f"{value:.3f}"  # noqa: E731
ROWS: Sequence[tuple[str, str, Callable[[float], str]]] = (
    ("requests", "requests", _NUMBER),
    ("success", "success", _SHARE),
    ("failed", "  failed", _NUMBER),
    ("over_capacity", "  among them no slot in time", _NUMBER),
    ("unknown", "  among them outcome unknown", _NUMBER),
    ("refused", "refused by the proxy", _NUMBER),
    ("memory", "answered from memory", _SHARE),
    ("at_hosp", "requests at HOSP", _NUMBER),
    ("busiest_minute", "  in the busiest minute", _NUMBER),
    ("p50_s", "response time p50, s", _SECONDS),
    ("p95_s", "  p95", _SECONDS),
    ("p99_s", "  p99", _SECONDS),
    ("write_p95_s", "  writes, p95", _SECONDS),
)
"""Name of the figure, its title, how it is shown."""


def table(columns: Sequence[tuple[str, Figures]]) -> str:
    """The figures side by side, as text."""
    lines = [["", *(title for title, _ in columns)]]
    for name, title, show in ROWS:
        lines.append([title, *(show(getattr(figures, name)) for _, figures in columns)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

"""What one instance has counted, read from the text of its ``/metrics``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_PREFIX = "hospproxy_"
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
MOST_LINES = 200_000


class NoFigures(Exception):
    """The text is not the metrics of a hospproxy; the message says why."""


class Restarted(Exception):
    """A counter fell: the instance has started again."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts since the start of an instance, or of a time.

    :param failed: client requests with a 5xx, or whose client left before the response.
    :param refused: client requests with a 4xx.
    :param faster: upper bound in seconds → requests that took at most so long (cumulative; the last bound is ``inf``).
    :param writes: writes with an outcome; `unknown` of them have an unknown one.
    :param twice: writes that the instance itself found to be stored twice.
    :param sent: complete responses of HOSP to writes; None: this version does not count them.
    :param answered: writes that ended with HOSP's response. Less than `sent`: a write was sent twice.
    :param bugs: unexpected exceptions.
    :param records_lost: audit records that could not be written.
    :param worker_restarts: workers that were replaced.
    """

    version: str = ""
    requests: int = 0
    failed: int = 0
    refused: int = 0
    faster: Mapping[float, int] = field(default_factory=dict)
    writes: int = 0
    unknown: int = 0
    twice: int = 0
    sent: int | None = None
    answered: int = 0
    bugs: int = 0
    records_lost: int = 0
    worker_restarts: int = 0

    def since(self, before: Figures) -> Figures:
        """Return what was counted since an earlier reading of the same instance.

        :raise Restarted: a counter is lower than before.
        """
        values: dict[str, Any] = {"version": self.version, "sent": None}
        for name in _COUNTS:
            values[name] = getattr(self, name) - getattr(before, name)
        if self.sent is not None:
            values["sent"] = self.sent - (before.sent or 0)
        values["faster"] = {
            bound: number - before.faster.get(bound, 0) for bound, number in self.faster.items()
        }
        grown = [value for value in values.values() if isinstance(value, int)]
        if min(grown, default=0) < 0 or min(values["faster"].values(), default=0) < 0:
            raise Restarted
        return Figures(**values)

    def plus(self, other: Figures) -> Figures:
        """Add what another instance has counted. Bounds that only one of them has are left out."""
        values: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        both = self.faster.keys() & other.faster.keys()
        values["faster"] = {bound: self.faster[bound] + other.faster[bound] for bound in sorted(both)}
        known = self.sent is not None and other.sent is not None
        return Figures(
            version=self.version, sent=(self.sent or 0) + (other.sent or 0) if known else None, **values
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        values = asdict(self)
        values["faster"] = [[str(bound), number] for bound, number in self.faster.items()]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Figures:
        """Return the figures that `to_json` made."""
        faster = {float(bound): int(number) for bound, number in values["faster"]}
        return cls(**{**values, "faster": faster})


_COUNTS = (
    "requests", "failed", "refused", "writes", "unknown", "twice", "answered", "bugs", "records_lost",
    "worker_restarts",
)  # fmt: skip


def read_figures(text: str) -> Figures:
    """Read the figures of an instance.

    :param text: the body of ``/metrics``.
    :raise NoFigures: it is not what a hospproxy says.
    """
    values: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    faster: dict[float, int] = {}
    version, sent = "", None
    for name, labels, value in _samples(text):
        if name == "build_info":
            version = labels.get("version", "")
        elif name == "requests_total":
            word = labels.get("status_class", "")
            values["requests"] += value
            values["failed"] += value if word in ("5xx", "none", "other") else 0
            values["refused"] += value if word == "4xx" else 0
        elif name == "request_seconds_bucket":
            bound = float(labels.get("le", "nan"))
            faster[bound] = faster.get(bound, 0) + value
        elif name == "writes_total":
            outcome = labels.get("outcome", "")
            if outcome == "twice":
                values["twice"] += value
            elif outcome != "replayed":
                values["writes"] += value
            if outcome in ("unknown", "answered"):
                values[outcome] += value
        elif name == "upstream_writes_total":
            sent = (sent or 0) + value
        elif name in _PLAIN:
            values[_PLAIN[name]] += value
    if not version:
        raise NoFigures("it holds no hospproxy_build_info")
    return Figures(version=version, sent=sent, faster=dict(sorted(faster.items())), **values)


_PLAIN = {
    "unhandled_errors_total": "bugs",
    "record_failures_total": "records_lost",
    "worker_restarts_total": "worker_restarts",
}


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], int]]:
    for number, line in enumerate(text.splitlines()):
        if number >= MOST_LINES:
            raise NoFigures(f"it has more than {MOST_LINES} lines")
        if not line.startswith(_PREFIX):
            continue
        match = _SAMPLE.fullmatch(line)
        if match is None:
            raise NoFigures(f"a line cannot be read: {line[:80]!r}")
        name, labels, value = match.groups()
        try:
            count = int(float(value))
        except (ValueError, OverflowError):
            continue  # NaN: a gauge that could not be read
        yield name.removeprefix(_PREFIX), dict(_LABEL.findall(labels or "")), count


_ERROR_LINE = re.compile(rb'^[^\[]*\[[\w.-]*#(?:error|critical)\]|^\{.*"level": ?"(?:error|critical)"')


def error_lines(text: bytes) -> int:
    """Count the lines of a log, as text or as JSON, with level error or critical."""
    return sum(1 for line in text.splitlines() if _ERROR_LINE.search(line))

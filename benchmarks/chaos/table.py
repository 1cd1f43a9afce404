"""The table of a scenario: each figure, its target, and whether it was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from .clients import Write
from .processes import Hosp
from .verdict import Verdict, ambiguous, judge, lateness_s


@frozen
class Row:
    """One line.

    :param target: "" for a figure without a target.
    """

    name: str
    value: str
    target: str = ""
    met: bool = True


@define
class Table:
    """Results of one scenario.

    :param timed: whether times are judged; a short form runs beside other work and only reports them.
    :param late_s: for each late commit, seconds from sending to storing.
    """

    name: str
    timed: bool = True
    rows: list[Row] = field(factory=list)
    verdict: Verdict = field(factory=Verdict)
    ambiguous: int = 0
    late_s: list[float] = field(factory=list)

    @property
    def missed(self) -> list[str]:
        return [row.name for row in self.rows if not row.met]

    def tell(self, name: str, value: object) -> None:
        """Add a figure without a target."""
        self.rows.append(Row(name, str(value)))

    def want(self, name: str, value: object, target: str, met: bool) -> None:
        """Add a figure with its target."""
        self.rows.append(Row(name, str(value), target, met))

    def in_time(self, name: str, value: object, target: str, met: bool) -> None:
        """Add a figure that depends on the speed of the machine."""
        self.rows.append(Row(name, str(value), target if self.timed else "", met or not self.timed))

    def none(self, name: str, number: int) -> None:
        """Add a figure that must be 0."""
        self.want(name, number, "0", number == 0)

    async def judge(self, hosp: Hosp, writes: Sequence[Write], unsettled: int | None = None) -> None:
        """Add the rows that every scenario has, from HOSP's journal.

        :param unsettled: how many writes may have ended without a definite response; None: any number.
        """
        faults = await hosp.journal("fault")
        stored = await hosp.journal("stored", "notes")
        records = await hosp.read("/records/notes")
        self.verdict = verdict = judge(writes, [each["fields"] for each in stored])
        self.ambiguous, self.late_s = ambiguous(faults), lateness_s(faults, stored)
        self.tell("writes, acknowledged among them", f"{verdict.writes}, {verdict.acknowledged}")
        self.tell("ambiguous, late commits among them", f"{self.ambiguous}, {len(self.late_s)}")
        self.tell(
            "faults", ", ".join(f"{name} {number}" for name, number in _counted(faults).items()) or "none"
        )
        self.none("lost", verdict.lost)
        self.none("doubled", verdict.doubled)
        self.none("in another's name", verdict.wrong_author)
        self.none("contradicting HOSP's journal", verdict.contradicted + _gone(stored, records))
        open_ = verdict.unknown + verdict.unanswered
        shown = f"{verdict.unknown}, {verdict.unanswered}"
        if unsettled is None:
            self.tell("honestly unknown, unanswered", shown)
        else:
            self.want("honestly unknown, unanswered", shown, f"≤ {unsettled}", open_ <= unsettled)


def _gone(stored: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> int:
    """Number of notes that were stored and no longer exist: nobody deletes any."""
    there = {record["id"] for record in records}
    return sum(entry["id"] not in there for entry in stored)


def _counted(faults: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in faults:
        counts[each["fault"]] = counts.get(each["fault"], 0) + 1
    return dict(sorted(counts.items()))


def show(table: Table) -> str:
    """Format the table as text."""
    lines = [(row.name, row.value, row.target, "" if row.met else "MISSED") for row in table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    text = [f"── {table.name}: {'MISSED ' + ', '.join(table.missed) if table.missed else 'met'}"]
    text += [
        "   " + "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join(text)

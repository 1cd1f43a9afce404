"""The disclosure report of one patient: who got which data, when. Pure, except for ``collect``."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from ...interfaces import ITrailReader
from ...process.iterators import close
from ...record.extract.owner_extract import GIVEN, MAYBE
from ...record.search.filters import Filters
from ...record.search.rows import IndexRow
from . import views


@frozen(slots=True)
class ReportLine:
    """One line of the report: a request that disclosed the patient's data, or may have."""

    time: str
    machine: str
    who: str
    what: str
    how: str
    where: str
    request: str


@frozen(slots=True)
class AuditReport:
    """The content of one patient's disclosure report.

    :param lines: disclosures, oldest first, as one reads on paper.
    :param by_person: (name, number of disclosures), most first.
    :param not_told: number of requests that were refused or failed, and so disclosed nothing.
    :param back_to: the report is incomplete and goes back only to this time; None: it is complete.
    """

    lines: tuple[ReportLine, ...]
    by_person: tuple[tuple[str, int], ...]
    not_told: int
    back_to: str | None


async def collect(reader: ITrailReader, filters: Filters, most: int) -> tuple[list[IndexRow], bool]:
    """Read up to ``most`` rows, newest first; also return whether there are more."""
    found: list[IndexRow] = []
    rows = reader.rows(filters)
    try:
        async for row in rows:
            if len(found) == most:
                return found, True
            found.append(row)
    finally:
        await close(rows)
    return found, False


def report(rows: Iterable[IndexRow], more: bool) -> AuditReport:
    """Build the disclosure report from the rows about one patient.

    :param rows: newest first.
    :param more: whether there are older rows.
    """
    given = list(rows)
    told = [row for row in given if row.record.get("outcome") in GIVEN | MAYBE]
    counts: dict[str, int] = {}
    for row in told:
        name = views.who_name(row.record)
        counts[name] = counts.get(name, 0) + 1
    return AuditReport(
        lines=tuple(_line(row) for row in reversed(told)),
        by_person=tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
        not_told=len(given) - len(told),
        back_to=views.clock(given[-1].key.time_ms / 1000) if more and given else None,
    )


def _line(row: IndexRow) -> ReportLine:
    record, seconds = row.record, row.key.time_ms / 1000
    how = (
        "in a list"
        if row.by_list
        else "the patient’s own record"
        if record.get("resource") == "patients"
        else ""
    )
    if record.get("outcome") in MAYBE:
        how = f"{how}; outcome: {record['outcome']}".lstrip("; ")
    return ReportLine(
        time=views.clock(seconds),
        machine=views.machine_time(seconds),
        who=views.who_name(record),
        what=views.what(record),
        how=how,
        where=views.text(record, "client", "address"),
        request=views.text(record, "request_id"),
    )

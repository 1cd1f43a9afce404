"""``search --by-person``: counts what each person did, as a table for a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from attrs import Factory, define

from ..export.texts import visible
from ..search.match import is_trouble
from ..search.rows import IndexRow
from .terminal_table import lines_of, person_name, time_text

MOST_PEOPLE = 10_000
"""Most names in one summary. A trail can hold any number of claimed names."""


@define(slots=True)
class PersonSummary:
    """Counts of one person's records.

    :param kinds: how often each action occurs.
    :param trouble: how many records are refusals, failed log-ins or alerts.
    """

    name: str
    last: str
    first: str = ""
    records: int = 0
    trouble: int = 0
    kinds: Counter[str] = Factory(Counter)


def summaries(rows: Iterable[IndexRow]) -> tuple[list[PersonSummary], int]:
    """Count rows by person, most records first; also return how many rows are of people beyond ``MOST_PEOPLE``.

    :param rows: newest first.
    """
    found: dict[str, PersonSummary] = {}
    left_out = 0
    for row in rows:
        name = person_name(row) or "nobody"
        person = found.get(name)
        if person is None:
            if len(found) >= MOST_PEOPLE:
                left_out += 1
                continue
            person = found[name] = PersonSummary(name, last=time_text(row))
        person.first = time_text(row)
        person.records += 1
        person.trouble += is_trouble(row.record)
        person.kinds[str(row.record.get("action") or row.record.get("kind"))] += 1
    return sorted(found.values(), key=lambda each: (-each.records, each.name)), left_out


def summary_table(people: Sequence[PersonSummary], columns: int | None, *, colours: bool) -> Iterator[str]:
    """Return the lines of the table, headings first.

    :param columns: of the terminal; None for lines of any length.
    """
    heads = ("WHO", "RECORDS", "REFUSED", "FIRST (UTC)", "LAST (UTC)", "WHAT")
    cells = [
        [
            visible(person.name),
            str(person.records),
            str(person.trouble),
            person.first,
            person.last,
            visible(", ".join(f"{many} {kind}" for kind, many in person.kinds.most_common())),
        ]
        for person in people
    ]
    return lines_of(heads, cells, columns, colours=colours)

"""Formats rows as a table for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..export.table import inner, person
from ..export.texts import columns_of, fitted, visible
from ..search.match import is_trouble
from ..search.rows import IndexRow

_LEAST = 6
_GAP = "  "
_BOLD, _RED, _YELLOW, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def time_text(row: IndexRow) -> str:
    """Format a record's time to the second, in UTC."""
    text = str(row.record.get("time") or "")
    return text[:19].replace("T", " ") if text.endswith("Z") else text


def person_name(row: IndexRow) -> str:
    """Name who acted, marked "(claimed)", "(auditor)" or "(proxy)"; "" if nobody is named."""
    who = person(row.record)
    name = who.get("name") or who.get("id")
    if name is None and who.get("name_hmac"):
        return f"claimed {str(who['name_hmac'])[:8]}"
    suffix = (
        {"claimed": " (claimed)", "auditor": " (auditor)"}.get(str(who.get("certainty")), "") if name else ""
    )
    suffix += " (proxy)" if row.record.get("kind") == "own" else ""
    return f"{'' if name is None else name}{suffix}"


def _action(row: IndexRow) -> str:
    kind = row.record.get("kind")
    action = row.record.get("action")
    return str(action or kind) if kind in ("request", "own") else f"{kind} {action or ''}".strip()


def _what(row: IndexRow) -> str:
    record = row.record
    if record.get("text") or record.get("reason"):
        return str(record.get("text") or record.get("reason"))
    if record.get("resource") and record.get("record_id"):
        return f"{record['resource']}/{record['record_id']}"
    return str(record.get("route") or "")


def _patient(row: IndexRow) -> str:
    count = inner(row.record, "disclosed").get("count")
    of = f"{count} in a list" if count is not None else ""
    one = row.record.get("patient_id")
    return " + ".join(each for each in (str(one) if one is not None else "", of) if each)


def _outcome(row: IndexRow) -> str:
    status = row.record.get("status")
    return f"{row.record.get('outcome') or ''}{f' {status}' if status is not None else ''}".strip()


_COLUMNS: Mapping[str, Callable[[IndexRow], str]] = {
    "TIME (UTC)": time_text,
    "WHO": person_name,
    "ACTION": _action,
    "WHAT": _what,
    "PATIENT": _patient,
    "OUTCOME": _outcome,
    "FROM": lambda row: str(inner(row.record, "client").get("address") or ""),
    "REQUEST": lambda row: str(row.record.get("request_id") or ""),
}


def table(rows: Sequence[IndexRow], columns: int | None, *, colours: bool) -> Iterator[str]:
    """The lines of the table, headings first.

    :param columns: of the terminal; None for lines of any length.
    :param colours: add colours as escape sequences; the words alone tell the same.
    """
    cells = [[visible(of(row)) for of in _COLUMNS.values()] for row in rows]
    return lines_of(tuple(_COLUMNS), cells, columns, colours=colours, colour_of=lambda at: _colour(rows[at]))


def lines_of(
    heads: Sequence[str],
    cells: Sequence[Sequence[str]],
    columns: int | None,
    *,
    colours: bool,
    colour_of: Callable[[int], str] = lambda _at: "",
) -> Iterator[str]:
    """Format cells as lines under bold headings.

    :param columns: of the terminal; None for lines of any length.
    :param colour_of: the escape sequence that a line begins with.
    """
    widths = [max(map(columns_of, each)) for each in zip(heads, *cells, strict=True)]
    if columns is not None:
        widths = narrowed(widths, columns)
    yield _line(heads, widths, _BOLD if colours else "")
    for at, line in enumerate(cells):
        yield _line(line, widths, colour_of(at) if colours else "")


def narrowed(widths: Sequence[int], columns: int) -> list[int]:
    """Column widths that fit the terminal.

    The widest columns shrink first; if none can shrink further, the last columns are dropped.

    :param columns: of the terminal.
    """
    fits = list(widths)
    while _total(fits) > columns:
        widest = max(range(len(fits)), key=lambda at: (fits[at], at))
        if fits[widest] > _LEAST:
            fits[widest] -= 1
        elif len(fits) > 1:
            fits.pop()
        else:
            return [max(1, columns)]
    return fits


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int], colour: str) -> str:
    pieces = (fitted(cell, width) for cell, width in zip(cells, widths, strict=False))
    line = _GAP.join(pieces).rstrip()
    return f"{colour}{line}{_PLAIN}" if colour else line


def _colour(row: IndexRow) -> str:
    if is_trouble(row.record):
        return _RED
    status = row.record.get("status")
    if row.record.get("outcome") == "unknown" or (isinstance(status, int) and status >= 500):
        return _YELLOW
    return _DIM if row.record.get("kind") == "own" else ""

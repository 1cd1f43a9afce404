"""An owner's extract as a page to print, as text for a terminal, as JSON, or as CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from ..export.texts import cell, visible
from .owner_extract import OwnerExtract, OwnerLook

if TYPE_CHECKING:
    from jinja2 import Environment

NOT_IN_IT: Final = (
    "The names of staff: each person has a number, which means nothing outside this extract.",
    "Attempts that were refused: they showed nothing to anybody.",
    "Looks at the log itself, such as the one that made this extract.",
    "What was done without this system, such as on paper.",
)
"""What an owner must know that the extract leaves out."""


def moment(time: datetime) -> str:
    """Format a time for people; the zone stands once, in the head of the extract."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def remarks(look: OwnerLook) -> str:
    """Say what is special about a look; mostly nothing."""
    found = () if look.certain else ("it is not known whether this took effect",)
    return "; ".join((*found, *(("emergency access",) if look.emergency else ())))


def person(look: OwnerLook) -> str:
    """Name the member of staff by number."""
    return f"person {look.person}" if look.person else "not known"


def as_html(extract: OwnerExtract, purpose: str = "", hospital: str = "") -> bytes:
    """Render a page for paper and screen that needs no other file.

    :param purpose: what the hospital uses such data for, in its own words; "": the page says nothing of it.
    :param hospital: its name; "": none is shown.
    """
    values = {
        "extract": extract,
        "purpose": purpose,
        "hospital": hospital,
        "zone": extract.made.tzinfo,  # its name: an abbreviation would hold for one half of the year only
        "moment": moment,
        "remarks": remarks,
        "person": person,
        "not_in_it": NOT_IN_IT,
    }
    return _environment().get_template("owner_extract.html").render(values).encode("utf-8", "replace")


def as_text(extract: OwnerExtract, purpose: str = "", hospital: str = "") -> bytes:
    """Write the extract as plain text, for a terminal or a letter."""
    begin = moment(extract.since) if extract.since else "the first record that is kept"
    lines = [
        f"Use of the data of patient {extract.patient}",
        *([hospital] if hospital else []),
        "",
        f"Period:  {begin} to {moment(extract.until)} {extract.made.tzinfo}",
        f"Made:    {moment(extract.made)} {extract.made.tzinfo}",
        *([f"Purpose: {purpose}"] if purpose else []),
        f"Looks:   {len(extract.looks)}, by {extract.people} members of staff",
    ]
    if extract.back_to is not None:
        lines.append(f"INCOMPLETE: goes back to {moment(extract.back_to)} only; choose a shorter period")
    lines += ["", *(f"{many:>7}  {words}" for words, many in extract.totals), ""]
    for look in extract.looks:
        words = f"{moment(look.time)}  {person(look):<11}  {look.what} {look.done}"
        lines.append(f"{words} ({remarks(look)})" if remarks(look) else words)
    lines += ["", "Not in this extract:", *(f"* {words}" for words in NOT_IN_IT)]
    return "".join(f"{visible(line)}\n" for line in lines).encode("utf-8", "replace")


def as_json(extract: OwnerExtract, purpose: str = "", hospital: str = "") -> bytes:
    """Encode the extract for a program, with times as RFC 3339."""
    document = {
        "v": 1,
        "patient": extract.patient,
        "hospital": hospital or None,
        "purpose": purpose or None,
        "since": extract.since.isoformat() if extract.since else None,
        "until": extract.until.isoformat(),
        "made": extract.made.isoformat(),
        "complete": extract.back_to is None,
        "people": extract.people,
        "looks": [
            {
                "time": look.time.isoformat(),
                "person": look.person or None,
                "what": look.what,
                "done": look.done,
                "certain": look.certain,
                "emergency": look.emergency,
            }
            for look in extract.looks
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def as_csv(extract: OwnerExtract, purpose: str = "", hospital: str = "") -> bytes:
    """Write a line for each look; purpose and hospital stand in every line, since CSV has no head."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("time", "patient", "person", "what", "done", "remarks", "purpose", "hospital"))
    for look in extract.looks:
        given = (
            look.time.isoformat(),
            extract.patient,
            look.person or "",
            look.what,
            look.done,
            remarks(look),
        )
        writer.writerow([cell(each) for each in (*given, purpose, hospital)])
    return text.getvalue().encode("utf-8", "replace")


FORMS: Final[Mapping[str, Callable[[OwnerExtract, str, str], bytes]]] = {
    "html": as_html,
    "text": as_text,
    "json": as_json,
    "csv": as_csv,
}
"""Name of each form, and what writes it."""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Imported here: most processes never make an extract.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("hospproxy.record.extract", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )

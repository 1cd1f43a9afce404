"""``hospproxy-audit extract``: what an animal's owner may be told about the use of a patient's data."""

from __future__ import annotations

import argparse
import sys
from datetime import tzinfo
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...process import clocks
from ..extract.forms import FORMS
from ..extract.owner_extract import MOST, owner_extract
from .export_command import output
from .query import SearchCommand, add_filters, add_source, ask
from .sources import say


def add(commands: Any) -> None:
    """Add the ``extract`` subcommand to the parser.

    :param commands: argparse's subparsers.
    """
    extract = commands.add_parser(
        "extract",
        help="write what an animal's owner may be told: dates and kinds of looks at a patient, without names",
        description="Writes when the data of one patient were seen or changed, and what was done, for the animal's"
        " owner. Members of staff are numbered, not named. The extract is recorded in the trail, if possible."
        " Exit status: 0, 1 if a part could not be read, 2 if nothing could be read or written.",
    )
    add_source(extract)
    add_filters(extract, ("patient", "since", "until"))
    extract.add_argument(
        "--format", choices=tuple(FORMS), default="html", help="html is one page to print (default: html)"
    )
    extract.add_argument(
        "--zone", default="UTC", help="zone of the times, such as Europe/Zurich (default: UTC)"
    )
    extract.add_argument("--hospital", default="", metavar="NAME", help="stands in the head of the extract")
    extract.add_argument(
        "--purpose", default="", metavar="TEXT", help="what the hospital uses such data for, in its own words"
    )
    extract.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a new file, readable only by you (default: standard output)",
    )
    extract.set_defaults(run=_extract, kind=["request"])


def _extract(arguments: argparse.Namespace) -> int:
    if len(arguments.patient) != 1:
        say("--patient: name one patient")
        return 2
    try:
        zone = ZoneInfo(arguments.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        say(f"--zone: there is no zone {arguments.zone!a}; a name such as Europe/Zurich is wanted")
        return 2
    return ask(arguments, "hospproxy-audit extract", lambda question: _write(question, arguments, zone))


def _write(question: SearchCommand, arguments: argparse.Namespace, zone: tzinfo) -> int:
    rows = question.rows()
    newest = list(islice(rows, MOST))
    made = owner_extract(
        arguments.patient[0],
        newest,
        more=next(rows, None) is not None,
        since=question.filters.since,
        until=question.filters.until,
        made=clocks.wall(),
        zone=zone,
    )
    if made.back_to is not None:
        say(f"there are more than {MOST} looks: the extract is not complete; choose a shorter period")
    try:
        with output(arguments.output) as file:
            file.write(FORMS[arguments.format](made, arguments.purpose, arguments.hospital))
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"{error.filename or 'the output'}: {error.strerror}")
        return 2
    sys.stdout.flush()
    return 0

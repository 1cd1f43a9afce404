"""``hospproxy-audit search``: prints matching records, newest first."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..search.rows import IndexRow
from .person_summary import MOST_PEOPLE, summaries, summary_table
from .query import SearchCommand, add_arguments, ask
from .sources import say
from .terminal_table import table

MOST = 100_000


def add(commands: Any) -> None:
    """Add the ``search`` subcommand to the parser.

    :param commands: argparse's subparsers.
    """
    search = commands.add_parser(
        "search",
        help="show who did what, newest first",
        description="Shows matching records, newest first. The search is recorded in the trail, if possible."
        " Exit status: 0, also if no record matches; 1 if a part could not be read, 2 if nothing could be read.",
    )
    add_arguments(search)
    search.add_argument(
        "--limit", default="50", metavar="N", help=f"most records to show (default: 50; up to {MOST})"
    )
    search.add_argument(
        "--format", choices=("table", "jsonl"), default="table", help="jsonl prints the journal's own lines"
    )
    search.add_argument(
        "--by-person",
        action="store_true",
        help="count what each person did, over all matching records, instead of showing the records",
    )
    search.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> int:
    text = arguments.limit
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MOST:
        say(f"--limit: it is not a number from 1 to {MOST}")
        return 2

    def answer(question: SearchCommand) -> int:
        rows = question.rows()
        if arguments.by_person:
            return _by_person(rows)
        found = islice(rows, limit)
        if arguments.format == "jsonl":
            for row in found:
                sys.stdout.buffer.write(row.line + b"\n")
        else:
            shown = list(found)
            if not shown:
                say("no record matches the filters")
                return 0
            for line in table(shown, columns(), colours=has_colours()):
                print(line)
        if next(rows, None) is not None:
            say(f"there are more than these {limit} records: raise --limit, or use export to get all")
        return 0

    return ask(arguments, "hospproxy-audit search", answer)


def _by_person(rows: Iterator[IndexRow]) -> int:
    people, left_out = summaries(rows)
    if not people:
        say("no record matches the filters")
        return 0
    for line in summary_table(people, columns(), colours=has_colours()):
        print(line)
    if left_out:
        say(f"{left_out} records are of people beyond the first {MOST_PEOPLE}: choose a narrower search")
    return 0


def columns() -> int | None:
    """Width of the terminal; None if the output is not a terminal, so that lines may have any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Whether the output is a terminal with colours, and its user has not disabled them (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

"""``hospproxy-audit search``: prints matching records, newest first."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from itertools import islice
from typing import Any

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
    search.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> int:
    text = arguments.limit
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MOST:
        say(f"--limit: it is not a number from 1 to {MOST}")
        return 2

    def answer(question: SearchCommand) -> int:
        rows = question.rows()
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


def columns() -> int | None:
    """Width of the terminal; None if the output is not a terminal, so that lines may have any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Whether the output is a terminal with colours, and its user has not disabled them (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

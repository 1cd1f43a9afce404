"""``hospproxy-report``: figures from access logs, in the terminal, as JSON, CSV or an HTML page."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from . import documents, terminal
from .figures import Report
from .log_files import ReportError, find
from .measure import measure
from .terminal import Screen


def parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    whole = argparse.ArgumentParser(
        prog="hospproxy-report",
        description="Reads access logs of an AWS Application Load Balancer, CloudFront standard logs, and hospproxy's"
        " audit journal; plain or gzip; files and folders. Prints success, errors, percentiles, surges and clients.",
    )
    whole.add_argument("logs", nargs="*", metavar="LOGS", help="a file, or a folder with everything in it")
    form = whole.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV: a row for each figure")
    whole.add_argument("--top", type=_count, default=20, metavar="N", help="rows of each table (default 20)")
    return whole


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError("expected a number from 1 to 10000")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; return its exit status: 0, or 2 if no report can be made."""
    given = parser().parse_args(arguments)
    try:
        _run(given)
    except ReportError as error:
        print(f"hospproxy-report: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough, such as "head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(given: argparse.Namespace) -> None:
    if not given.logs:
        raise ReportError("no logs were named; see hospproxy-report --help")
    report = _report(given.logs, given.top)
    if given.json:
        print(documents.as_json(documents.mapping(report)))
    elif given.csv:
        print(documents.as_csv({"all": report}), end="")
    else:
        for line in terminal.lines(report, screen_of(sys.stdout)):
            print(line)
    sys.stdout.flush()


def _report(places: Sequence[str], top: int) -> Report:
    return measure(find([Path(place) for place in places]), _progress, top)


def _progress(done: int, of: int) -> None:
    """Say how far the reading is, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{done} of {of} files" if done < of else "\r\x1b[K", end="", file=sys.stderr, flush=True)


def screen_of(stream: TextIO) -> Screen:
    """What the stream can show; no colour if it is no terminal, or if ``NO_COLOR`` is set."""
    encoding = (stream.encoding or "ascii").lower()
    colour = stream.isatty() and "NO_COLOR" not in os.environ
    return Screen(
        max(60, shutil.get_terminal_size((100, 24)).columns), colour=colour, blocks="utf" in encoding
    )


if __name__ == "__main__":
    sys.exit(main())

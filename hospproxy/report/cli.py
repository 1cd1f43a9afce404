"""``hospproxy-report``: figures from access logs, in the terminal, as JSON, CSV or an HTML page."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from . import documents, terminal
from .bucket import SCHEME, fetch
from .comparison import Comparison
from .figures import Report
from .log_files import ReportError, find
from .measure import measure
from .terminal import Screen

_JOINED = 200
"""Routes of each period that a comparison looks at: a route that is used less now is still found."""


def parser() -> argparse.ArgumentParser:
    """Build the parser of ``hospproxy-report``."""
    whole = argparse.ArgumentParser(
        prog="hospproxy-report",
        description="Reads access logs of an AWS Application Load Balancer, CloudFront standard logs, and hospproxy's"
        " audit journal; plain or gzip; files and folders. Prints success, errors, percentiles, surges and clients.",
    )
    whole.add_argument(
        "logs",
        nargs="*",
        metavar="LOGS",
        help="a file, a folder with everything in it, or s3://BUCKET/PREFIX",
    )
    form = whole.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV: a row for each figure")
    whole.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with charts; it needs nothing else"
    )
    whole.add_argument("--compare", nargs=2, metavar=("OLD", "NEW"),
                       help="compare two files or folders, such as before and after the proxy")  # fmt: skip
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
    if given.compare and given.logs:
        raise ReportError("name logs or --compare OLD NEW, not both")
    if given.compare:
        places = dict(zip(("old", "new"), ([place] for place in given.compare), strict=True))
    elif given.logs:
        places = {"all": given.logs}
    else:
        raise ReportError("no logs were named; see hospproxy-report --help")
    reports = {
        name: _report(logs, max(given.top, _JOINED) if given.compare else given.top)
        for name, logs in places.items()
    }
    compared = Comparison(reports["old"], reports["new"]) if given.compare else None
    if given.html:
        _write(given.html, _page(reports, compared, given.top))
    if given.json:
        print(documents.as_json(_document(reports, compared)))
    elif given.csv:
        print(documents.as_csv(reports), end="")
    elif not given.html:
        screen = screen_of(sys.stdout)
        told = (
            terminal.comparison_lines(compared, screen, given.top)
            if compared
            else terminal.lines(reports["all"], screen)
        )
        for line in told:
            print(line)
    sys.stdout.flush()


def _document(reports: Mapping[str, Report], compared: Comparison | None) -> dict[str, Any]:
    if compared is None:
        return documents.mapping(reports["all"])
    named = {name: documents.mapping(report) for name, report in reports.items()}
    return {"sentences": compared.sentences, **named}


def _page(reports: Mapping[str, Report], compared: Comparison | None, top: int) -> str:
    from .page import page

    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    if compared is None:
        return page({"": reports["all"]}, now)
    titles = {"New": reports["new"].cut(top), "Old": reports["old"].cut(top)}
    return page(titles, now, compared.sentences, list(compared.tables(top)))


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read: it names clients."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ReportError(f"{path}: cannot be written ({error.strerror})") from None


def _report(places: Sequence[str], top: int) -> Report:
    with TemporaryDirectory(prefix="hospproxy-report-") as name:
        paths: list[Path] = []
        names: dict[Path, str] = {}
        for number, place in enumerate(places):
            if place.startswith(SCHEME):
                folder = Path(name, str(number))
                folder.mkdir()
                names |= {folder: place, **fetch(place, folder)}
                paths.append(folder)
            else:
                paths.append(Path(place))
        return measure(find(paths, names), _progress, top)


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

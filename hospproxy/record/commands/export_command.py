"""``hospproxy-audit export``: writes matching records as CSV, JSON Lines or FHIR AuditEvents."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..export import csv_lines, fhir_lines, jsonl_lines
from ..export.fhir import FhirNaming
from .query import SearchCommand, add_arguments, ask
from .sources import say

_URI = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]{1,200}\Z")


def add(commands: Any) -> None:
    """Add the ``export`` subcommand to the parser.

    :param commands: argparse's subparsers.
    """
    export = commands.add_parser(
        "export",
        help="write matching records as CSV, JSON Lines or FHIR AuditEvents",
        description="Writes all matching records, newest first. The export is recorded in the trail, if possible."
        " Exit status: 0, 1 if a part could not be read, 2 if nothing could be read or written.",
    )
    add_arguments(export)
    export.add_argument("--format", choices=("csv", "jsonl", "fhir"), required=True)
    export.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a new file, readable only by you (default: standard output)",
    )
    export.add_argument(
        "--identifier-system",
        default="urn:hosp",
        metavar="URI",
        help="fhir: URI prefix of identifier systems (default: urn:hosp)",
    )
    export.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    if arguments.output is not None and os.path.lexists(arguments.output):
        say(f"--output: {arguments.output} exists already")
        return 2
    if not _URI.match(arguments.identifier_system):
        say("--identifier-system: it is not a URI such as urn:oid:1.2.3 or https://hospital.example/ids")
        return 2
    return ask(arguments, "hospproxy-audit export", lambda question: _written(question, arguments))


def _written(question: SearchCommand, arguments: argparse.Namespace) -> int:
    async def rows() -> AsyncIterator[Any]:
        for row in question.rows():
            yield row

    naming = FhirNaming(system=arguments.identifier_system)
    makers: dict[str, Callable[[AsyncIterator[Any]], AsyncIterator[bytes]]] = {
        "csv": csv_lines,
        "jsonl": jsonl_lines,
        "fhir": lambda rows: fhir_lines(rows, question.source.members, naming),
    }

    async def write(file: BinaryIO) -> None:
        async for piece in makers[arguments.format](rows()):
            file.write(piece)

    try:
        with output(arguments.output) as file:
            asyncio.run(write(file))
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"{error.filename or 'the output'}: {error.strerror}")
        return 2
    return 0


@contextmanager
def output(path: Path | None) -> Iterator[BinaryIO]:
    """Open standard output, or a new file that gets its name only once it is complete.

    :raise OSError: the file exists already, or cannot be written.
    """
    if path is None:
        yield sys.stdout.buffer
        return
    draft = path.with_name(path.name + ".part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
        os.link(draft, path)  # unlike a rename, this never replaces an existing file
    finally:
        with suppress(OSError):
            draft.unlink()

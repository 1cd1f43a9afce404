"""``hospproxy-copy``: what the copy of HOSP's records holds; export, verify or forget records."""

from __future__ import annotations

import argparse
import datetime
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

import msgspec
from attrs import asdict, frozen

from ..config import ConfigError, Overrides, Settings, load
from ..contract import document as contract_document
from ..contract.document import ContractError
from ..keys.secrets import KeyFileError
from ..options.secret_values import master_key
from ..process import clocks
from . import history
from .files import BUSY_S, CopyUnusable, open_existing
from .records import Shapes
from .sealing import KeyRing
from .writing import iso, write_lines, write_table


class CopyError(Exception):
    """The command cannot be carried out; the text says why."""


@frozen(slots=True)
class OpenCopy:
    """The copy, open for a command."""

    connection: sqlite3.Connection
    ring: KeyRing
    shapes: Shapes
    settings: Settings

    def resource(self, name: str) -> str:
        """Return the name of a resource that the contract marks; its singular is understood too.

        :raise CopyError: it marks none of this name.
        """
        for known in self.shapes.by_name:
            if name in (known, known.removesuffix("s")):
                return known
        raise CopyError(f"the contract marks no resource {name}; it marks {', '.join(self.shapes.by_name)}")


def parser() -> argparse.ArgumentParser:
    """Build the argument parser, with its subcommands."""
    whole = argparse.ArgumentParser(
        prog="hospproxy-copy",
        description="Reads, checks and forgets records in the copy of HOSP. The proxy may be running.",
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="say how much of HOSP the copy holds")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)
    export = commands.add_parser("export", help="write the records as they are now, or as they were")
    export.add_argument("--at", type=moment, metavar="TIME",
                        help="as they were then, such as 2026-11-24T08:00Z; without a zone it is UTC")  # fmt: skip
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl",
                        help="JSON Lines, or CSV of one resource; default: jsonl")  # fmt: skip
    export.add_argument("--resource", metavar="RESOURCE", help="only this one, such as patients")
    export.add_argument(
        "--to", type=Path, metavar="FILE", help="write to this new file; default: standard output"
    )
    export.set_defaults(run=_export)
    verify = commands.add_parser("verify", help="check every state of every record")
    verify.set_defaults(run=_verify)
    forget = commands.add_parser("forget", help="erase a record with its history, for good")
    forget.add_argument("resource", metavar="RESOURCE", help="such as patient")
    forget.add_argument("id", metavar="ID", help="of the record")
    forget.set_defaults(run=_forget, write=True)
    for command in (status, export, verify, forget):
        command.add_argument("--config", type=Path, metavar="FILE", help="the proxy's options file")
        command.add_argument("--state", metavar="DIR", help="its state folder, if it has no options file")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; return its exit status: 0 for success, 1 for failure."""
    given = parser().parse_args(arguments)
    os.umask(0o077)
    try:
        # Load only, without the start checks: the copy must be readable even if the proxy cannot start.
        settings = load(given.config, Overrides("http://127.0.0.1:1", state=given.state))
        ring = KeyRing(master_key(_with_key(settings)))
        shapes = Shapes.of(contract_document.load(settings.contract_file))
        write = bool(getattr(given, "write", False))
        with closing(open_existing(settings.copy_path, ring, write=write)) as connection:
            run: Callable[[argparse.Namespace, OpenCopy], int] = given.run
            status = run(given, OpenCopy(connection, ring, shapes, settings))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        CopyError,
        CopyUnusable,
        ConfigError,
        ContractError,
        KeyFileError,
        sqlite3.Error,
        OSError,
    ) as error:
        for line in str(error).splitlines():
            print(f"hospproxy-copy: {line}", file=sys.stderr)
        return 1
    return status


def moment(text: str) -> float:
    """Read a time of the command line as seconds since the epoch.

    :raise ValueError: it is none.
    """
    found = datetime.datetime.fromisoformat(text)
    return found.replace(tzinfo=found.tzinfo or datetime.UTC).timestamp()


def _with_key(settings: Settings) -> Settings:
    """Check that the master key exists: this command must not make one.

    :raise CopyError: it does not.
    """
    named = settings.master_key is not None or settings.master_key_file is not None
    if not named and not settings.master_key_path.exists():
        raise CopyError(
            f"{settings.master_key_path} does not exist: name the state folder with --state, or --config"
        )
    return settings


def _status(given: argparse.Namespace, copy: OpenCopy) -> int:
    found = history.figures(copy.connection, copy.shapes)
    now = clocks.wall()
    if given.json:
        rows = [{**asdict(one), "oldest": None if one.oldest is None else iso(one.oldest)} for one in found]
        print(msgspec.json.format(msgspec.json.encode(rows), indent=1).decode())
        return 0
    print(f"{'resource':<12} {'present':>8} {'missing':>8} {'deleted':>8} {'forgotten':>9} {'states':>8} {'gaps':>6}"
          "  not seen for")  # fmt: skip
    for one in found:
        gaps = "-" if one.gaps is None else str(one.gaps)
        age = "-" if one.oldest is None else span(now - one.oldest)
        print(f"{one.resource:<12} {one.present:>8} {one.missing:>8} {one.deleted:>8} {one.forgotten:>9}"
              f" {one.states:>8} {gaps:>6}  {age}")  # fmt: skip
    return 0


def span(seconds: float) -> str:
    """Return a span of time in its largest unit, such as "3 h"."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _export(given: argparse.Namespace, copy: OpenCopy) -> int:
    resource = None if given.resource is None else copy.resource(given.resource)
    if given.format == "csv" and resource is None:
        raise CopyError("CSV holds one resource: name it with --resource")
    copy.connection.execute("BEGIN")  # one moment, also while the proxy stores more
    if given.to is None:
        written, unreadable = _write(given, copy, resource, sys.stdout)
    else:
        with given.to.open("x", encoding="utf-8", newline="") as file:
            written, unreadable = _write(given, copy, resource, file)
    print(f"{written} records", file=sys.stderr)
    if given.at is not None:
        unknown = history.not_known_yet(copy.connection, copy.ring, copy.shapes, resource, given.at)
        if unknown:
            print(f"{unknown} more existed at that time; HOSP first showed them later, so they are left out",
                  file=sys.stderr)  # fmt: skip
    if unreadable:
        print(
            f"hospproxy-copy: {unreadable} records could not be read: run hospproxy-copy verify",
            file=sys.stderr,
        )
    return 1 if unreadable else 0


def _write(given: argparse.Namespace, copy: OpenCopy, resource: str | None, to: IO[str]) -> tuple[int, int]:
    records = history.records_at(copy.connection, copy.ring, resource, given.at)
    if resource is not None and given.format == "csv":
        return write_table(records, copy.shapes.by_name[resource].fields, to)
    return write_lines(records, to)


def _verify(_given: argparse.Namespace, copy: OpenCopy) -> int:
    copy.connection.execute("BEGIN")
    sound = wrong = 0
    for problem in history.damage(copy.connection, copy.ring, copy.shapes):
        if problem is None:
            sound += 1
            continue
        wrong += 1
        print(problem)
    print(f"{sound} records are sound" + (f"; {wrong} problems" if wrong else ""))
    return 1 if wrong else 0


def _forget(given: argparse.Namespace, copy: OpenCopy) -> int:
    resource = copy.resource(given.resource)
    found = history.forget(copy.connection, resource, given.id, clocks.wall())
    name = f"{resource} {given.id}"
    if found.before:
        print(f"{name} was forgotten before")
    elif found.states:
        print(
            f"{name} is forgotten: its key and {found.states} states are erased, and it is not learned again"
        )
    else:
        print(f"the copy held nothing of {name}; it is not learned from now on")
    if not found.is_wiped:
        print(f"hospproxy-copy: another process reads the copy, so its write-ahead log still holds old pages after"
              f" {BUSY_S:g} s: run the command again", file=sys.stderr)  # fmt: skip
    print("Elsewhere there may still be:")
    print(f"  at HOSP        {name} itself: this command asks nothing of HOSP")
    print("  audit trail    who looked at it or changed it, and when, until its retention ends; no content")
    print(
        "  cache          responses with it: to be sure, stop the proxy and remove cache/ from its state folder"
    )
    print("  ledger         responses to writes of it, for a day")
    print("  backups        the record, where a backup from before holds keys.sqlite of the copy")
    return 0 if found.is_wiped else 1


if __name__ == "__main__":
    sys.exit(main())

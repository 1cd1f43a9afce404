"""``hospproxy-state``: back up the state folder, check a backup, or restore one into a new state folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..config import ConfigError, Overrides, load
from ..process import clocks
from .backup import backup
from .manifest import Manifest, StateError
from .restore import check, restore


def parser() -> argparse.ArgumentParser:
    """Build the argument parser, with its subcommands."""
    whole = argparse.ArgumentParser(
        prog="hospproxy-state", description="Backs up and restores the state folder of hospproxy."
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    making = commands.add_parser("backup", help="copy the state folder; the proxy may be running")
    making.add_argument("--config", type=Path, metavar="FILE", help="the proxy's options file")
    making.add_argument("--state", metavar="DIR", help="its state folder, if it has no options file")
    making.add_argument("to", type=Path, metavar="TO", help="the backup folder; it is created")
    making.set_defaults(run=_backup)
    checking = commands.add_parser("check", help="check that a backup is complete and undamaged")
    restoring = commands.add_parser("restore", help="check a backup, and restore it into a new state folder")
    for command in (checking, restoring):
        command.add_argument("--public-key", type=Path, action="append", default=[], metavar="FILE",
                             help="a further public key (PEM) of the trail; may be repeated")  # fmt: skip
        command.add_argument("backup", type=Path, metavar="BACKUP")
    checking.set_defaults(run=_check)
    restoring.add_argument("to", type=Path, metavar="TO", help="the new state folder; it is created")
    restoring.add_argument("--same-trail", action="store_true",
                           help="nothing was recorded since the backup: keep the trail's name")  # fmt: skip
    restoring.set_defaults(run=_restore)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; return its exit status: 0 for success, 1 for failure."""
    given = parser().parse_args(arguments)
    os.umask(0o077)
    try:
        found: Manifest = given.run(given)
    except (StateError, ConfigError) as error:
        for line in str(error).splitlines():
            print(f"hospproxy-state: {line}", file=sys.stderr)
        return 1
    print(f"{len(found.files)} files, {sum(file.bytes for file in found.files)} bytes, taken {found.taken}")
    for journal in found.journals:
        print(f"  {journal.journal}: record {journal.seq}; head {journal.head}")
    for each in found.elsewhere:
        print(f"  not in it: {each}")
    return 0


def _backup(given: argparse.Namespace) -> Manifest:
    # Load only, without the start checks: a backup must work even if the proxy cannot start.
    settings = load(given.config, Overrides("http://127.0.0.1:1", state=given.state))
    return backup(settings, given.to, clocks.wall)


def _check(given: argparse.Namespace) -> Manifest:
    return check(given.backup, given.public_key)


def _restore(given: argparse.Namespace) -> Manifest:
    return restore(given.backup, given.to, given.public_key, same_trail=given.same_trail)


if __name__ == "__main__":
    sys.exit(main())

"""Entry point of ``hospproxy-audit``, the auditor's command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import export_command, extract_command, search_command, user_command, verify_command

PARTS = (
    verify_command.add,
    search_command.add,
    export_command.add,
    extract_command.add,
    user_command.add,
)
"""Each function adds its subcommand to the parser and sets ``run``."""


def parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    whole = argparse.ArgumentParser(
        prog="hospproxy-audit",
        description="Checks, searches and exports the audit trail of hospproxy, and manages users of the audit page.",
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for add in PARTS:
        add(commands)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; return its exit status."""
    given = parser().parse_args(arguments)
    try:
        status = int(given.run(given))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())

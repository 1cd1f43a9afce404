"""``hospproxyctl``: give a command to the running proxy."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..config import ConfigError, Overrides, load
from . import rehearse_command
from .client import ask
from .command import Command
from .commands import COMMANDS
from .messages import ControlError

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def parser(commands: Mapping[str, Command] = COMMANDS) -> argparse.ArgumentParser:
    """Build the argument parser, with its subcommands."""
    whole = argparse.ArgumentParser(
        prog="hospproxyctl", description="Gives a command to the running hospproxy of a state folder."
    )
    whole.add_argument("--config", type=Path, metavar="FILE", help="the proxy's options file")
    whole.add_argument("--state", metavar="DIR", help="its state folder; overrides that of the options file")
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for each in commands.values():
        each.flags(subparsers.add_parser(each.name, help=each.summary, description=each.summary))
    rehearse_command.flags(
        subparsers.add_parser(
            rehearse_command.NAME, help=rehearse_command.SUMMARY, description=rehearse_command.SUMMARY
        )
    )
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script; return its exit status: 0 for success, 1 for failure."""
    given = parser().parse_args(arguments)
    try:
        if given.command == rehearse_command.NAME:
            return rehearse_command.run(given)
        command = COMMANDS[given.command]
        folder = _folder(given)
        result = ask(folder, command.name, command.given(given), lambda line: _print(line, sys.stderr))
    except (ControlError, ConfigError) as error:
        for line in str(error).splitlines():
            _print(f"hospproxyctl: {line}", sys.stderr)
        return 1
    for line in command.show(result):
        _print(line, sys.stdout)
    return 0


def _folder(given: argparse.Namespace) -> Path:
    """The state folder that the flags or the options file name. A mistake elsewhere in that file does not matter."""
    if given.state is not None:
        return Path(given.state)
    try:
        return load(given.config, Overrides("http://127.0.0.1:1")).state_dir
    except ConfigError as error:
        if error.rest is None or "state_dir" in error.paths:
            raise ConfigError((*error.problems, "name the state folder with --state")) from None
        return error.rest.state_dir


def _print(line: str, file: object) -> None:
    """Print a line without what would move the cursor or change the terminal."""
    print(_UNPRINTABLE.sub("?", line), file=file)  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())

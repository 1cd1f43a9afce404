"""``hospproxy-audit user``: manages the users of the audit page."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from ...keys import audit_users as users

DEFAULT = Path("hospproxy-state/audit-users")


def add(commands: Any) -> None:
    """Add the ``user`` subcommand to the parser.

    :param commands: argparse's subparsers.
    """
    command = commands.add_parser(
        "user",
        help="add, remove and list users of the audit page",
        description="Changes the users file of the audit page. The running proxy notices within two seconds.",
    )
    command.add_argument(
        "--file",
        type=Path,
        default=DEFAULT,
        metavar="FILE",
        help=f"the users file: audit_page.users_file, or audit-users in state_dir (default: {DEFAULT})",
    )
    what = command.add_subparsers(required=True, metavar="WHAT")
    adding = what.add_parser("add", help="add a user, or set a new password")
    adding.add_argument("name", metavar="NAME")
    adding.set_defaults(run=_add)
    removing = what.add_parser("remove", help="remove a user")
    removing.add_argument("name", metavar="NAME")
    removing.set_defaults(run=_remove)
    what.add_parser("list", help="list the names of all users").set_defaults(run=_list)


def _add(arguments: argparse.Namespace) -> int:
    try:
        password = _password()
        new = users.add(arguments.file, arguments.name, password)
    except users.UsersError as error:
        return _failed(error)
    print(f"{arguments.name} {'can now use the audit page' if new else 'has a new password'}.")
    return 0


def _password() -> str:
    """Read the password: from a terminal twice, otherwise from the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise users.UsersError("the two passwords differ")
    return password


def _remove(arguments: argparse.Namespace) -> int:
    try:
        users.remove(arguments.file, arguments.name)
    except users.UsersError as error:
        return _failed(error)
    print(f"{arguments.name} can no longer use the audit page.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    try:
        names = sorted(users.load(arguments.file))
    except users.UsersError as error:
        return _failed(error)
    for name in names:
        print(name)
    return 0


def _failed(error: users.UsersError) -> int:
    print(f"hospproxy-audit: {error}", file=sys.stderr)
    return 2

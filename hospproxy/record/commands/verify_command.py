"""``hospproxy-audit verify``: checks the trail's chain and signatures."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from ...keys.secrets import KeyFileError
from ...keys.signing_key import PublicKeys
from ..export.texts import visible
from ..trail.verify import verify

_HASH = re.compile(r"[0-9a-fA-F]{64}\Z")


def _anchor(text: str) -> str:
    if not _HASH.match(text):
        raise argparse.ArgumentTypeError("an anchor must have 64 hexadecimal digits")
    return text


def add(commands: Any) -> None:
    """Add the ``verify`` subcommand to the parser.

    :param commands: argparse's subparsers.
    """
    check = commands.add_parser(
        "verify",
        help="find records that were changed, removed, inserted or moved",
        description="Checks each record against the chain, and each digest against its signature. Exit status: 0 if"
        " the trail is intact, 1 if it is not, 2 if it could not be checked.",
    )
    check.add_argument("directory", type=Path, metavar="DIR", help="the trail's folder (audit.directory)")
    check.add_argument(
        "--public-key",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="public key (PEM) of the proxy that wrote the trail; repeat it for each key that was in use",
    )
    check.add_argument(
        "--anchor",
        type=_anchor,
        action="append",
        default=[],
        metavar="HASH",
        help="a chain head that was noted elsewhere; may be repeated",
    )
    check.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    try:
        keys = PublicKeys.read(arguments.public_key)
        report = verify(arguments.directory, keys, arguments.anchor)
    except KeyFileError as error:
        print(f"hospproxy-audit: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hospproxy-audit: {error.filename or arguments.directory}: {error.strerror}", file=sys.stderr)
        return 2
    # File names may contain characters that control a terminal.
    for problem in report.problems:
        print(f"✗ {visible(problem)}")
    if report.count > len(report.problems):
        print(f"✗ and {report.count - len(report.problems)} more")
    for note in report.notes:
        print(f"· {visible(note)}")
    for each in report.journals:
        print(f"  {each.journal}: {each.records} records in {each.files} files; head {each.head}")
    print("The trail is NOT intact." if report.count else "The trail is intact.")
    return 1 if report.count else 0

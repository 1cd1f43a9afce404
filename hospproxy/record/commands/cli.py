"""``hospproxy-audit``: what an auditor does with the journal in a terminal."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ...secrets import KeyFileError
from ..trail.signing import PublicKeys
from ..trail.verify import verify
from . import users

_HASH = re.compile(r"[0-9a-fA-F]{64}\Z")


def _anchor(text: str) -> str:
    if not _HASH.match(text):
        raise argparse.ArgumentTypeError("an anchor has 64 hexadecimal digits")
    return text


def parser() -> argparse.ArgumentParser:
    """The command and its parts; each part sets ``run``."""
    whole = argparse.ArgumentParser(
        prog="hospproxy-audit", description="Works on the audit trail of hospproxy."
    )
    parts = whole.add_subparsers(required=True, metavar="COMMAND")
    check = parts.add_parser(
        "verify",
        help="find what was changed, removed, inserted or put elsewhere",
        description="Holds every record against its chain and every digest against its signature. Exit status: 0 when"
        " the trail is as it was written, 1 when it is not, 2 when that cannot be found out.",
    )
    check.add_argument("directory", type=Path, metavar="DIR", help="the folder of the trail")
    check.add_argument(
        "--public-key",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="public key (PEM) of the proxy that wrote it; again for each key that was in use",
    )
    check.add_argument(
        "--anchor",
        type=_anchor,
        action="append",
        default=[],
        metavar="HASH",
        help="a chain head that was noted elsewhere; may be given again",
    )
    check.set_defaults(run=_verify)
    users.add(parts)
    return whole


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
    for problem in report.problems:
        print(f"✗ {_shown(problem)}")
    if report.count > len(report.problems):
        print(f"✗ and {report.count - len(report.problems)} more")
    for note in report.notes:
        print(f"· {_shown(note)}")
    for each in report.journals:
        print(f"  {each.journal}: {each.records} records in {each.files} files; head {each.head}")
    print("The trail is NOT as it was written." if report.count else "The trail is as it was written.")
    return 1 if report.count else 0


def _shown(text: str) -> str:
    """Names of files may hold anything that steers a terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; its exit status."""
    given = parser().parse_args(arguments)
    return int(given.run(given))


if __name__ == "__main__":
    sys.exit(main())

"""``hospproxyctl config``: the options in force, and where each comes from. Secrets are hidden."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Final

from ..options.in_force import in_force
from ..record.admin_events import Operator
from .command import Arguments, Command, Progress, Result
from .owner import Owner


async def _run(owner: Owner, arguments: Arguments, _progress: Progress, _operator: Operator) -> Result:
    changed = bool(arguments.get("changed"))
    rows = in_force(owner.options.settings, owner.options.source)
    return {
        "file": None if owner.options.source.file is None else str(owner.options.source.file),
        "options": [
            {"key": row.path, "value": row.value, "from": row.origin}
            for row in rows
            if not changed or row.origin != "default"
        ],
    }


def _show(result: Result) -> Iterator[str]:
    yield f"# options file: {result['file'] or 'none'}"
    rows = result["options"]
    widths = [max((len(row[name]) for row in rows), default=0) for name in ("key", "value")]
    for row in rows:
        yield f"{row['key']:<{widths[0]}} = {row['value']:<{min(widths[1], 40)}}  # {row['from']}"


def _flags(parser: ArgumentParser) -> None:
    parser.add_argument("--changed", action="store_true", help="only options that are not at their default")


def _given(given: Namespace) -> Arguments:
    return {"changed": given.changed}


CONFIG: Final = Command(
    name="config",
    summary="show the options in force, and where each comes from",
    run=_run,
    show=_show,
    flags=_flags,
    given=_given,
)

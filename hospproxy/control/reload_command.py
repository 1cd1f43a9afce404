"""``hospproxyctl reload``: apply the edited options file to the running proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..record.admin_events import Operator
from .command import Arguments, Command, Progress, Result
from .options_reload import Applied
from .owner import Owner


def told(applied: Applied) -> Result:
    """Return what changed, as a result."""
    return {
        "changes": [
            {"key": each.path, "old": each.old, "new": each.new, "live": each.live} for each in applied.found
        ],
        "warnings": list(applied.warnings),
    }


def lines(result: Result) -> Iterator[str]:
    """Word what ``told`` returned."""
    for line in result["warnings"]:
        yield f"warning: {line}"
    for each in result["changes"]:
        hidden = each["old"] == each["new"]
        yield f"{each['key']}: {'changed (hidden)' if hidden else each['old'] + ' → ' + each['new']}"


async def _run(owner: Owner, _arguments: Arguments, _progress: Progress, operator: Operator) -> Result:
    return told(await owner.options.reload(operator))


def _show(result: Result) -> Iterator[str]:
    yield from lines(result)
    yield f"options reloaded: {len(result['changes'])} changed"


RELOAD: Final = Command(
    name="reload",
    summary="apply the edited options file; on an error nothing changes",
    run=_run,
    show=_show,
    alone=True,
)

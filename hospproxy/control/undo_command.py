"""``hospproxyctl undo``: go back to the options that were in force before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..record.admin_events import Operator
from .command import Arguments, Command, Progress, Result
from .owner import Owner
from .reload_command import lines, told


async def _run(owner: Owner, _arguments: Arguments, _progress: Progress, operator: Operator) -> Result:
    return told(await owner.options.undo(operator))


def _show(result: Result) -> Iterator[str]:
    yield from lines(result)
    yield f"the options before are in force again: {len(result['changes'])} changed"


UNDO: Final = Command(
    name="undo",
    summary="go back to the options before; the options file is not touched",
    run=_run,
    show=_show,
    alone=True,
)

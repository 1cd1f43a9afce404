"""``hospproxyctl diff``: what a reload would change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..record.admin_events import Operator
from .command import Arguments, Command, Progress, Result
from .options_reload import RESTART
from .owner import Owner
from .reload_command import lines, told


async def _run(owner: Owner, _arguments: Arguments, _progress: Progress, _operator: Operator) -> Result:
    return told(await owner.options.differences())


def _show(result: Result) -> Iterator[str]:
    yield from lines(result)
    for each in result["changes"]:
        if not each["live"]:
            yield f"{each['key']} cannot change while the proxy runs: {RESTART}"
    if not result["changes"]:
        yield "the options file says what is in force"


DIFF: Final = Command(
    name="diff", summary="show what a reload would change: in force → options file", run=_run, show=_show
)

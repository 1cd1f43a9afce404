"""``hospproxyctl version``: the version that runs, which may be older than the installed one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from ..record.admin_events import Operator
from .command import Arguments, Command, Progress, Result
from .owner import Owner

_RUNNING: Final = version("hospproxy")
"""Read when the process starts: an upgrade replaces the installed files under a running process."""


async def _run(owner: Owner, _arguments: Arguments, _progress: Progress, _operator: Operator) -> Result:
    return {"version": _RUNNING, "pid": os.getpid(), "workers": owner.options.settings.workers}


def _show(result: Result) -> Iterator[str]:
    yield f"hospproxy {result['version']} (process {result['pid']}, workers: {result['workers']})"


VERSION: Final = Command(name="version", summary="show which version runs", run=_run, show=_show)

"""An operator who pastes the commands of a page of docs/ into a shell beside running processes.

The tests run no systemd. ``systemctl`` and ``journalctl`` are small scripts here, which ask this process to start or
stop the service, and to print its log. The console scripts are those of this checkout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.handbook_pages import Block, Page, quoted, read

from .processes import Processes

_SCRIPTS = {
    "hospproxyctl": "hospproxy.control.cli",
    "hospproxy-audit": "hospproxy.record.commands.cli",
    "hospproxy-state": "hospproxy.state.cli",
}
PATIENCE_S = 300.0
Service = Callable[[str], Awaitable[None]]
"""Gets "start", "stop", "restart" or "reload"."""


@define(eq=False)
class Operator:
    """Runs the blocks of one page, each as ``bash -e`` with the page's variables set.

    :param values: of the page's variables.
    :param services: the units that ``systemctl`` knows.
    :param log: what ``journalctl`` prints.
    :param within: a command that runs the shell in a namespace.
    """

    processes: Processes
    page: Page
    values: Mapping[str, str]
    log: Callable[[], str]
    services: Mapping[str, Service] = field(factory=dict)
    within: tuple[str, ...] = ()
    ran: list[Block] = field(factory=list, init=False)
    _port: IListeningPort | None = field(default=None, init=False)

    async def section(self, heading: str) -> None:
        """Run the blocks below a heading.

        :raise AssertionError: a command fails, or prints something else than the page says.
        """
        for block in self.page.blocks:
            if block.section == heading:
                await self.run(block)

    async def run(self, block: Block) -> str:
        """Run one block, check what it prints, and return that."""
        folder = self._folder()
        script = f"set -euo pipefail\n{self.page.settings(self.values)}{block.commands}"
        environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
        ran = await self.processes.run(
            "operator",
            *self.within,
            "bash",
            "-c",
            script,
            env=environment,
            cwd=self.processes.folder,
            timeout_s=PATIENCE_S,
        )
        assert ran.status == 0, f"status {ran.status} of\n{block.commands}\n{ran.log}\n{self.log()[-6000:]}"
        assert block.prints(ran.log), f"{block.commands}\nprints\n{ran.log}\ninstead of\n{block.expected}"
        self.ran.append(block)
        return ran.log

    def end(self) -> None:
        """Close the port, and check that the whole page was run.

        :raise AssertionError: a block was left out.
        """
        if self._port is not None:
            self._port.stopListening()
        assert self.ran == list(self.page.blocks)

    def _folder(self) -> Path:
        """The folder with the commands that the page needs; made at the first call."""
        folder = self.processes.folder / f"commands-{id(self)}"
        if self._port is None:
            from twisted.internet import reactor

            self._port = cast(Any, reactor).listenTCP(0, Site(_Host(self)), interface="127.0.0.1")
            assert self._port is not None
            port = self._port.getHost().port
            folder.mkdir()
            lines = {
                name: f'exec {quoted(sys.executable)} -m {module} "$@"' for name, module in _SCRIPTS.items()
            }
            twistd = Path(sys.executable).with_name("twistd")
            lines["twistd"] = f'exec {quoted(sys.executable)} {quoted(str(twistd))} "$@"'
            for name in ("systemctl", "journalctl"):
                lines[name] = (
                    f'exec curl -s --fail-with-body --data-binary "$*" http://127.0.0.1:{port}/{name}'
                )
            for name, line in lines.items():
                script = folder / name
                script.write_text(f"#!/bin/sh\n{line}\n")
                script.chmod(0o755)
        return folder


class _Host(Resource):
    """Does what ``systemctl`` and ``journalctl`` were told."""

    isLeaf = True

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self._operator = operator

    def render_POST(self, request: Any) -> Any:
        words = request.content.read().decode().split()
        if request.path == b"/journalctl":
            return self._operator.log().encode()
        done = Deferred.fromCoroutine(self._operator.services[words[-1]](words[0]))
        done.addCallbacks(lambda _: request.finish(), lambda failure: _fail(request, str(failure)))
        return NOT_DONE_YET


def _fail(request: Any, why: str) -> None:
    request.setResponseCode(500)
    request.write(why.encode())
    request.finish()


def operator_of(path: Path, processes: Processes, values: Mapping[str, str], **more: Any) -> Operator:
    """An operator with a page in hand."""
    return Operator(processes, read(path), values, **more)

"""The process that owns the state folder, as the commands see it: its options, and the socket for commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..config import Settings
from ..keys.secrets import MasterKey
from ..options.source import OptionsSource, OptionsState, SecretEnvironment
from ..process.background import Background
from ..process.worker import TaskRunner
from ..record.admin_events import SIGNAL, AdminTrail, Operator, own_process
from ..watch.reload_page import ReloadOutcome
from .control_server import ControlServer
from .messages import ControlError, ControlRequest
from .options_reload import Apply, OptionsReload
from .owner import Replaceable
from .ran_versions import HERE
from .reload_command import RELOAD

_log = Logger()


class OwnerProcess:
    """The only process of a proxy, or the supervisor of several workers.

    :param source: where the settings come from.
    :param environment: has the secrets that were taken out of the environment.
    :param apply: as for ``OptionsReload``.
    :param read_again: reads certificates and secrets again, by the options in force.
    :param events: where the audit trail says who has changed what.
    :param master: returns the master key, which seals former options; called in ``start``.
    :param worker: runs what blocks; ``stop`` ends it.
    :param wall: seconds since the epoch.
    :param replaceable: returns how the process can be replaced.
    :param told: called after every reload, with what has become of the options.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        source: OptionsSource,
        environment: SecretEnvironment,
        *,
        apply: Apply,
        read_again: Callable[[], None],
        events: AdminTrail,
        master: Callable[[], MasterKey],
        worker: TaskRunner,
        wall: Callable[[], float],
        told: Callable[[OptionsState], None] = lambda _state: None,
        replaceable: Callable[[], Replaceable | None] = lambda: None,
    ) -> None:
        self._options = OptionsReload(
            settings, source, environment, apply, read_again, events, master, worker, wall, told
        )
        self._server = ControlServer(reactor, settings.state_dir, self)
        self._worker = worker
        self._replaceable = replaceable
        self._read_again = read_again
        self._events = events
        self._left = False
        self._background = Background(_log, "a reload failed (a bug); the options in force stay")

    @property
    def options(self) -> OptionsReload:
        """The options in force, and the way to others (Owner)."""
        return self._options

    @property
    def settings(self) -> Settings:
        """The options in force (Owner)."""
        return self._options.settings

    @property
    def events(self) -> AdminTrail:
        """Where the audit trail says who has changed what (Owner)."""
        return self._events

    @property
    def replaceable(self) -> Replaceable | None:
        """How the process can be replaced (Owner)."""
        return self._replaceable()

    def leave(self) -> None:
        """Let a successor serve the socket and the options; the command that is running still gets its response."""
        self._left = True
        self._server.leave()

    async def responded(self) -> None:
        """Wait until the command that let a successor take over has its response: this process may end then."""
        await self._server.responded()

    def start(self) -> None:
        """Listen for commands. Call it once the process has its final user."""
        self._options.start()
        self._server.start()

    def serves(self) -> None:
        """The proxy serves: note its start in the audit trail."""
        words = f"hospproxy {HERE} serves (process {os.getpid()})"
        self._background.run(self._events.note("start", "success", own_process(), words))

    def stop(self) -> Deferred[None]:
        """Close the control socket; fires when the audit trail has the stop, or cannot keep it."""
        self._server.stop()
        words = f"hospproxy {HERE} stops (process {os.getpid()})"
        noted = self._background.run(self._events.note("stop", "success", SIGNAL, words))
        self._worker.stop()
        return noted

    async def reload(self, operator: Operator) -> ReloadOutcome:
        """Apply the options file as ``hospproxyctl reload`` does, for a client of the admin listener."""
        if self._left:
            return ReloadOutcome(False, ["another process has taken over: ask it on a new connection"])
        try:
            result = await self._server.run(ControlRequest(RELOAD.name), lambda _sentence: None, operator)
        except ControlError as error:
            return ReloadOutcome(False, list(error.lines))
        return ReloadOutcome(True, list(RELOAD.show(result)), result["changes"])

    def hangup(self) -> None:
        """Apply the options file as it is now (SIGHUP); a process that has left only reads certificates again."""
        if self._left:
            self._read_again()
            return
        self._background.run(self._options.hangup())

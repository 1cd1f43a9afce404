"""The process that owns the state folder, as the commands see it: its options, and the socket for commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger

from ..background import Background
from ..config import Settings
from ..options.source import OptionsSource, OptionsState, SecretEnvironment
from ..secrets import MasterKey
from ..watch.reload_page import ReloadOutcome
from ..worker import TaskRunner
from .control_server import ControlServer
from .messages import ControlError, ControlRequest
from .options_reload import OptionsReload
from .owner import Replaceable
from .reload_command import RELOAD

_log = Logger()


class OwnerProcess:
    """The only process of a proxy, or the supervisor of several workers.

    :param source: where the settings come from.
    :param environment: has the secrets that were taken out of the environment.
    :param apply: applies checked options to every process of this proxy, or to none; raises ControlError.
    :param read_again: reads certificates and secrets again, by the options in force.
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
        apply: Callable[[Settings], Awaitable[None]],
        read_again: Callable[[], None],
        master: Callable[[], MasterKey],
        worker: TaskRunner,
        wall: Callable[[], float],
        told: Callable[[OptionsState], None] = lambda _state: None,
        replaceable: Callable[[], Replaceable | None] = lambda: None,
    ) -> None:
        self._options = OptionsReload(
            settings, source, environment, apply, read_again, master, worker, wall, told
        )
        self._server = ControlServer(reactor, settings.state_dir, self)
        self._worker = worker
        self._replaceable = replaceable
        self._read_again = read_again
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
    def replaceable(self) -> Replaceable | None:
        """How the process can be replaced (Owner)."""
        return self._replaceable()

    def leave(self) -> None:
        """Let a successor serve the socket and the options; the command that is running still gets its response."""
        self._left = True
        self._server.leave()

    def start(self) -> None:
        """Listen for commands. Call it once the process has its final user."""
        self._options.start()
        self._server.start()

    def stop(self) -> None:
        """Close the control socket, and end the thread that reads the history."""
        self._server.stop()
        self._worker.stop()

    async def reload(self) -> ReloadOutcome:
        """Apply the options file as ``hospproxyctl reload`` does, for the admin listener."""
        if self._left:
            return ReloadOutcome(False, ["another process has taken over: ask it on a new connection"])
        try:
            result = await self._server.run(ControlRequest(RELOAD.name), lambda _sentence: None)
        except ControlError as error:
            return ReloadOutcome(False, list(error.lines))
        return ReloadOutcome(True, list(RELOAD.show(result)), result["changes"])

    def hangup(self) -> None:
        """Apply the options file as it is now (SIGHUP); a process that has left only reads certificates again."""
        if self._left:
            self._read_again()
            return
        self._background.run(self._options.hangup())

"""Reads the options file again, checks it, and has it applied to the running proxy: all of it, or nothing."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from attrs import define, evolve, frozen
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from .. import log_output
from ..checks import load_and_check
from ..config import ConfigError, Settings
from ..keys.secrets import KeyFileError, MasterKey
from ..options.changes import OptionChange, changes, is_key
from ..options.positions import line_of
from ..options.source import OptionsSource, OptionsState, SecretEnvironment, source_of
from ..process.service_manager import reloading
from ..process.worker import TaskRunner
from ..record.admin_events import SIGNAL, Action, AdminTrail, Operator
from .messages import ControlError
from .options_history import OptionsHistory

_log = Logger()
_Result = TypeVar("_Result")
_WORD: Final = re.compile(r"\b[a-z][a-z0-9_]*(?:\.[a-z0-9_]+|\[\d+\])+")
Apply = Callable[[Settings, Callable[[], Awaitable[None]]], Awaitable[None]]
RESTART: Final = "hospproxyctl upgrade, or a restart, applies it"


@frozen(slots=True)
class Applied:
    """What a reload has changed, and what the operator should know about it.

    :param found: what differs from the options before.
    :param warnings: sentences for the operator.
    """

    found: tuple[OptionChange, ...]
    warnings: tuple[str, ...] = ()


@define(slots=True)
class Change:
    """A change of the options that somebody asked for, as the audit trail tells it: one record, applied or refused."""

    _events: AdminTrail
    _action: Action
    _operator: Operator
    _noted: bool = False

    async def applied(self, applied: Applied) -> None:
        """Note what is about to be applied; call it once nothing can fail any more."""
        keys = [each.path for each in applied.found]
        self._noted = True
        words = f"{self._action} of the options: {', '.join(keys) or 'nothing changed'}"
        await self._events.note(self._action, "success", self._operator, words, keys)

    async def refused(self, lines: Sequence[str]) -> None:
        """Note that the options in force stay. Nothing but names of keys is taken from the errors."""
        if self._noted:
            return
        keys = list(dict.fromkeys(key for line in lines for key in _WORD.findall(line) if is_key(key)))
        named = f": {', '.join(keys)}" if keys else ""
        words = f"{self._action} of the options refused, {len(lines)} errors{named}"
        await self._events.note(self._action, "refused", self._operator, words, keys)


class OptionsReload:
    """The options in force, and the way to others.

    :param apply: applies checked options to every process of this proxy, or to none; raises ControlError. It waits for
        what it is given between the last step that can fail and the first that changes something.
    :param unchanged: called when the options stay: reads certificates and secrets again.
    :param events: where the audit trail says who has changed what.
    :param master: returns the master key; called in ``start``.
    :param worker: reads and checks files; that takes half a second.
    :param wall: seconds since the epoch.
    :param told: called after every change of ``state``.
    :ivar settings: in force.
    :ivar source: where they come from.
    """

    def __init__(
        self,
        settings: Settings,
        source: OptionsSource,
        environment: SecretEnvironment,
        apply: Apply,
        unchanged: Callable[[], None],
        events: AdminTrail,
        master: Callable[[], MasterKey],
        worker: TaskRunner,
        wall: Callable[[], float],
        told: Callable[[OptionsState], None] = lambda _state: None,
    ) -> None:
        self.settings = settings
        self.source = source
        self._environment = environment
        self._apply = apply
        self._unchanged = unchanged
        self._events = events
        self._worker = worker
        self._wall = wall
        self._told = told
        self._history = OptionsHistory(settings.state_dir, master)
        self._lock = DeferredLock()
        self.state = OptionsState()

    def start(self) -> None:
        """Note the options that are in force at the start, for ``undo``. Blocks: nothing is served yet.

        A supervisor must have no thread when it forks its workers.
        """
        if self.source.file is not None:
            self._remember()

    async def reload(self, operator: Operator) -> Applied:
        """Apply the options file as it is now.

        :param operator: who asks for it.
        :raise ControlError: it cannot be used; the options in force stay.
        """
        return await self._alone(self._reload, "reload", operator)

    async def undo(self, operator: Operator) -> Applied:
        """Apply the options that were in force before these.

        :param operator: who asks for it.
        :raise ControlError: there are none, or they cannot be used any more.
        """
        return await self._alone(self._undo, "undo", operator)

    async def differences(self) -> Applied:
        """Compare the options file with the options in force.

        :raise ControlError: the file cannot be used.
        """
        _, _, applied = await self._checked(await self._read())
        return applied

    async def hangup(self) -> None:
        """Apply the options file (SIGHUP); read certificates and secrets again in any case."""
        if self.source.file is None:
            with reloading():
                await self._events.note(
                    "reload", "success", SIGNAL, "certificates and secrets are read again"
                )
                self._unchanged()
            return
        try:
            await self.reload(SIGNAL)
        except ControlError:
            self._unchanged()

    async def _alone(
        self, work: Callable[[Change], Awaitable[Applied]], action: Action, operator: Operator
    ) -> Applied:
        await self._lock.acquire()  # a SIGHUP that comes during a reload must not be lost
        change = Change(self._events, action, operator)
        try:
            with reloading():
                return await work(change)
        except ControlError as error:
            self.state = evolve(self.state, refused_at=self._wall())
            for line in error.lines:
                _log.error("options not reloaded, those in force stay: {why}", why=line)
            await change.refused(error.lines)
            raise
        finally:
            self._lock.release()
            self._told(self.state)

    async def _reload(self, change: Change) -> Applied:
        if self.source.file is None:
            raise ControlError(
                "this proxy was started without an options file, so there is none to read again"
            )
        source, settings, applied = await self._checked(await self._read())
        await self._put_in_force(source, settings, applied, change)
        await self._kept(self._remember)
        return applied

    async def _undo(self, change: Change) -> Applied:
        file, content = self.source.file, self.source.content
        if file is None:
            raise ControlError(
                "this proxy was started without an options file, so there is nothing to go back to"
            )
        former = await self._kept(lambda: self._history.before(content))
        if former is None:
            raise ControlError("no other options were in force before, as far as the state folder knows")
        source, settings, applied = await self._checked(
            evolve(self.source, content=former), "the options before"
        )
        await self._put_in_force(source, settings, applied, change)
        await self._kept(lambda: self._history.gone_back_to(former))
        differs = f"{file} was not changed: it now differs from the options in force"
        return evolve(applied, warnings=(*applied.warnings, differs))

    async def _put_in_force(
        self, source: OptionsSource, settings: Settings, applied: Applied, change: Change
    ) -> None:
        needs = [each for each in applied.found if not each.live]
        if needs:
            raise ControlError(
                *(f"{each.path} cannot change while the proxy runs: {RESTART}" for each in needs)
            )
        await self._apply(settings, lambda: change.applied(applied))
        log_output.reload(settings.log)
        self.settings, self.source = settings, source
        self.state = evolve(self.state, generation=self.state.generation + 1, applied_at=self._wall())
        for each in applied.found:
            _log.info("option changed: {change}", change=str(each))
        _log.info(
            "options reloaded: {count} changed (generation {generation})",
            count=len(applied.found), generation=self.state.generation,
        )  # fmt: skip

    async def _read(self) -> OptionsSource:
        file, before = self.source.file, self.source
        if file is None:
            return before
        try:
            read = await self._worker.run(lambda: source_of(file, before.flags))
        except ConfigError as error:
            raise ControlError(*error.problems) from None
        return evolve(before, content=read.content)

    async def _checked(
        self, source: OptionsSource, name: str | None = None
    ) -> tuple[OptionsSource, Settings, Applied]:
        """:raise ControlError: with the file, line and key of each error."""
        try:
            settings, warnings = await self._worker.run(lambda: load_and_check(source, self._environment))
        except ConfigError as error:
            raise ControlError(*(located(line, source, name) for line in error.problems)) from None
        return source, settings, Applied(changes(self.settings, settings), warnings)

    async def _kept(self, work: Callable[[], _Result]) -> _Result:
        """Read or change the history in a thread, because it is on disk.

        :raise ControlError: the state folder cannot be read.
        """
        try:
            return await self._worker.run(work)
        except (OSError, KeyFileError) as error:
            raise ControlError(f"the history of options cannot be used: {error}") from None

    def _remember(self) -> None:
        try:
            self._history.applied(self.source.content)
        except (OSError, KeyFileError) as error:
            _log.error("the options in force cannot be kept for an undo: {why}", why=str(error))


def located(problem: str, source: OptionsSource, name: str | None = None) -> str:
    """Put the file and the line in front of an error that begins with a key path.

    :param name: of the text, if it is not that of the file.
    """
    where = name or str(source.file)
    if source.file is None or problem.startswith(f"{source.file}:"):
        return problem
    path = problem.partition(": ")[0]
    line = line_of(source.content.decode("utf-8", "replace"), path)
    return f"{where}: {problem}" if line is None else f"{where}:{line}: {problem}"

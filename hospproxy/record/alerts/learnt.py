"""Keeps what the rules have learnt over restarts, in a small file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...process.folders import read_bounded, write_whole
from ...process.worker import TaskRunner
from .hour_rules import SavedHours, UnusualHours
from .usual_rule import MoreThanUsual, SavedUsual

EVERY_S = 3600.0
MAX_BYTES = 16 << 20
"""Largest file that is read; five thousand people take a third of it."""
_VERSION = 1


class LearntState(msgspec.Struct, frozen=True):
    """The content of the file that keeps what was learnt.

    :param zone: the time zone in which days and hours were learnt.
    """

    v: int
    zone: str
    house: SavedHours | None = None
    hours: list[SavedHours] = []
    usual: list[SavedUsual] = []


class Learnt:
    """Loads the file at the start, saves it hourly and at the end. Saving runs in a thread.

    A damaged file is dropped with a log line: learning starts again, and the proxy serves requests.

    :param path: of the file; mode 0600.
    :param zone: of the rules' calendar; what was learnt in another zone is dropped.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        zone: str,
        worker: TaskRunner,
        reactor: Any,
        hours: UnusualHours | None,
        usual: MoreThanUsual | None,
    ) -> None:
        self._path = path
        self._zone = zone
        self._worker = worker
        self._hours = hours
        self._usual = usual
        self._started = False
        self._saving = task.LoopingCall(self._save)
        self._saving.clock = reactor

    def start(self) -> None:
        """Load the file. This blocks, before the first request, since the file is small."""
        try:
            self._load()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self._forget()
            self._log.error(
                "Alert rules start learning again: {path} cannot be read: {why}",
                path=str(self._path),
                why=str(error),
            )
        self._started = True
        self._saving.start(EVERY_S, now=False)

    async def stop(self) -> None:
        """Save a last time, and stop the thread."""
        if not self._started:
            return
        self._started = False
        self._saving.stop()
        await self._save()
        self._worker.stop()

    def _load(self) -> None:
        """Load the file, if there is one.

        :raise ValueError: it is damaged or too long.
        """
        content = read_bounded(self._path, MAX_BYTES)
        if content is None:
            return
        saved = msgspec.json.decode(content, type=LearntState)
        if saved.v != _VERSION or saved.zone != self._zone:
            self._log.info(
                "Alert rules start learning again: {path} is of another time zone or version",
                path=str(self._path),
            )
            return
        if self._hours is not None:
            self._hours.load(saved.house, saved.hours)
        if self._usual is not None:
            self._usual.load(saved.usual)

    def _forget(self) -> None:
        """Forget everything: a part of what was learnt is no basis for alerts."""
        if self._hours is not None:
            self._hours.load(None, ())
        if self._usual is not None:
            self._usual.load(())

    def _save(self) -> Deferred[None]:
        house, hours = self._hours.dump() if self._hours is not None else (None, [])
        usual = self._usual.dump() if self._usual is not None else []
        saved = LearntState(_VERSION, self._zone, house, hours, usual)
        return self._worker.run(lambda: write_whole(self._path, msgspec.json.encode(saved))).addErrback(
            self._not_saved
        )

    def _not_saved(self, failure: Failure) -> None:
        self._log.error(
            "Alert rules cannot save what they have learnt to {path}: {why}",
            path=str(self._path),
            why=failure.getErrorMessage(),
        )

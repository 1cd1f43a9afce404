"""The output of the log: its level, text or JSON, and a limit on lines of one kind.

Where it goes stays with twistd: ``--logfile``, ``--syslog`` and ``--logger`` work as ever.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from attrs import define, field
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    textFileLogObserver,
)
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

from .options.log_section import LogSettings

WINDOW_S: Final = 60.0
MOST_KINDS: Final = 1000
"""Kinds of lines that are counted at one time; a line of a further kind is written."""
MOST_OVERRIDES: Final = 100
_NUMBERS: Final = re.compile(r"[0-9][0-9.]*")
_OF_WORKER: Final = "worker {slot}: {text}"
_LONGEST: Final = 8192

Later = Callable[[float, Callable[[], None]], None]
"""Calls a function after so many seconds, in the reactor's thread."""


def kind_of(event: LogEvent) -> tuple[str, str]:
    """Return what makes two lines the same kind: the part that writes it, and its text without the fields."""
    text = str(event.get("log_format") or "")
    if text == _OF_WORKER:  # every line of a worker comes in this format
        text = _NUMBERS.sub("#", str(event.get("text", "")))[:80]
    return str(event.get("log_namespace", "")), text


@define(slots=True)
class _Kind:
    began: float
    written: int = 0
    withheld: int = 0
    latest: LogEvent = field(factory=dict)


@implementer(ILogObserver)
class LimitedObserver:
    """Passes on at most so many lines of a kind within a minute, and then how many more there were.

    :param observer: gets the lines.
    :param seconds: monotonic time.
    :ivar most: lines of a kind within a minute; 0: all.
    """

    def __init__(
        self, observer: Callable[[LogEvent], None], most: int, seconds: Callable[[], float], later: Later
    ) -> None:
        self._observer = observer
        self.most = most
        self._seconds = seconds
        self._later = later
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def __call__(self, event: LogEvent) -> None:
        if not self.most or event.get("log_level") is LogLevel.critical:
            self._observer(event)
            return
        key, now = kind_of(event), self._seconds()
        kind = self._kinds.get(key)
        if kind is not None and now - kind.began >= WINDOW_S:
            self._end(key, kind)
            kind = None
        if kind is None:
            if len(self._kinds) >= MOST_KINDS:
                self._forget(now)
            if len(self._kinds) >= MOST_KINDS:
                self._observer(event)
                return
            kind = self._kinds[key] = _Kind(now)
        if kind.written < self.most:
            kind.written += 1
            self._observer(event)
            return
        kind.withheld += 1
        kind.latest = event
        if kind.withheld == 1:
            self._later(max(0.0, kind.began + WINDOW_S - now), lambda: self._end(key, kind))

    def _end(self, key: tuple[str, str], kind: _Kind) -> None:
        if self._kinds.get(key) is not kind:
            return
        del self._kinds[key]
        if not kind.withheld:
            return
        text = (eventAsText(kind.latest, includeTimestamp=False, includeSystem=False)).partition("\n")[0]
        self._observer(
            {
                "log_format": "{text} … and {more} more like this within a minute",
                "text": text,
                "more": kind.withheld,
                "log_namespace": kind.latest.get("log_namespace", "-"),
                "log_level": kind.latest.get("log_level", LogLevel.info),
                "log_time": kind.latest.get("log_time", 0.0),
            }
        )

    def _forget(self, now: float) -> None:
        for key, kind in list(self._kinds.items()):
            if now - kind.began >= WINDOW_S:
                self._end(key, kind)


def json_line(event: LogEvent) -> str:
    """Return one event as a JSON object on one line.

    Fields of the event that are texts, numbers or truth values stand in ``fields``.
    """
    level = event.get("log_level", LogLevel.info)
    when = datetime.fromtimestamp(event.get("log_time") or 0.0, UTC)
    fields = {
        name: value
        for name, value in event.items()
        if not name.startswith("log_")
        and name not in _TWISTED
        and isinstance(value, str | int | float | bool)
    }
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)[:_LONGEST]
    line: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name,
        "part": event.get("log_namespace") or "-",
        "text": text,
    }
    if fields:
        line["fields"] = fields
    return json.dumps(line, ensure_ascii=False, default=str) + "\n"


_TWISTED: Final = frozenset({"system", "message", "format", "time", "isError", "failure", "why", "logLevel"})
"""Fields that twistd's older loggers add to every event; ``why`` is in the text."""


@implementer(ILogObserver)
class JsonObserver:
    """Writes events as JSON lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: LogEvent) -> None:
        self._file.write(json_line(event))
        self._file.flush()


class NoLogError(Exception):
    """This process does not write its own log; the text says why."""


@define(slots=True, eq=False)
class _Override:
    level: Any
    until: float | None


@implementer(ILogObserver)
class LogOutput:
    """Writes the log of this process as the options say, until they change.

    :param seconds: monotonic time.
    """

    def __init__(
        self, file: TextIO, options: LogSettings, seconds: Callable[[], float], later: Later
    ) -> None:
        self._forms: dict[str, Any] = {"json": JsonObserver(file), "text": textFileLogObserver(file)}
        self._seconds = seconds
        self._limited = LimitedObserver(self._write, options.most_a_minute, seconds, later)
        self._overrides: dict[str, _Override] = {}
        self.reload(options)

    def reload(self, options: LogSettings) -> None:
        """Apply changed options; levels that ``set_level`` has set stay."""
        self._form = self._forms[options.format]
        self._least = LogLevel.lookupByName(options.level)
        self._limited.most = options.most_a_minute

    def set_level(self, level: str | None, part: str, lasts_s: float | None) -> None:
        """Change the level until a time, or until the next start.

        :param level: None: as the options say.
        :param part: of the program: a module, or a package with all that is in it; "": all of it.
        :raise NoLogError: there are too many levels of parts.
        """
        self.check_level(level, part)
        self._overrides.pop(part, None)
        if level is None:
            return
        until = None if lasts_s is None else self._seconds() + lasts_s
        self._overrides[part] = _Override(LogLevel.lookupByName(level), until)

    def check_level(self, level: str | None, part: str) -> None:
        """Check whether ``set_level`` would accept these.

        :raise NoLogError: there are too many levels of parts.
        """
        if level is not None and len(self._overrides.keys() - {part}) >= MOST_OVERRIDES:
            raise NoLogError(f"there are {MOST_OVERRIDES} levels of parts already: set some to default first")

    def __call__(self, event: LogEvent) -> None:
        """Write the event if it is important enough; one without a level, from old code, counts as info."""
        least = self._least if not self._overrides else self._level_of(str(event.get("log_namespace", "")))
        if (event.get("log_level") or LogLevel.info) >= least:
            self._limited(event)

    def _level_of(self, part: str) -> Any:
        """Return the level of the closest part around this one that has a level."""
        now = self._seconds()
        for name, override in list(self._overrides.items()):
            if override.until is not None and now >= override.until:
                del self._overrides[name]
        while part and part not in self._overrides:
            part = part.rpartition(".")[0]
        found = self._overrides.get(part)
        return self._least if found is None else found.level

    def _write(self, event: LogEvent) -> None:
        self._form(event)


_IN_USE: list[LogOutput] = []
"""That of this process, if it writes its log itself."""


def reload(options: LogSettings) -> None:
    """Apply changed options to the log of this process; does nothing if twistd's own flags decide about it."""
    for output in _IN_USE:
        output.reload(options)


def set_level(level: str | None, part: str, lasts_s: float | None) -> None:
    """Change the level of this process's log; see ``LogOutput.set_level``.

    :raise NoLogError: twistd's own flags (``--logger``, ``--syslog``) decide about the log.
    """
    check_level(level, part)
    for output in _IN_USE:
        output.set_level(level, part, lasts_s)


def check_level(level: str | None, part: str) -> None:
    """Check whether ``set_level`` would accept these.

    :raise NoLogError: as ``set_level``.
    """
    if not _IN_USE:
        raise NoLogError("the flags of twistd (--logger, --syslog) decide about this log")
    for output in _IN_USE:
        output.check_level(level, part)


def _later(seconds: float, call: Callable[[], None]) -> None:
    from twisted.internet import reactor

    running: Any = reactor
    if isInIOThread():
        running.callLater(seconds, call)
    else:
        running.callFromThread(running.callLater, seconds, call)


def install(twistd: Any, options: LogSettings) -> None:
    """Let twistd write its log as the options say, unless its own flags name another logger or syslog.

    :param twistd: its options. They take the *name* of a function that returns the observer, so what that function
        needs waits in ``_CHOSEN``.
    """
    if twistd.get("logger") or twistd.get("syslog"):
        return
    _CHOSEN.set((twistd, options))
    twistd["logger"] = f"{__name__}.chosen_observer"


_CHOSEN: ContextVar[tuple[Any, LogSettings]] = ContextVar("what install was given")


def chosen_observer() -> Any:
    """Return the observer for the options that ``install`` was given; twistd calls it by its name."""
    twistd, options = _CHOSEN.get()
    output = LogOutput(_file(twistd), options, time.monotonic, _later)
    _IN_USE[:] = [output]
    return output


def _file(twistd: Any) -> TextIO:
    """Open the file that twistd would write to (``UnixAppLogger`` in twisted.scripts._twistd_unix)."""
    name, in_front = twistd.get("logfile"), twistd.get("nodaemon")
    if name == "-" and not in_front:
        sys.exit("Daemons cannot log to stdout, exiting!")
    if name == "-" or (in_front and not name):
        return sys.stdout
    import signal

    from twisted.python.logfile import LogFile

    file: Any = LogFile.fromFullPath(name or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(_signal: int, _frame: Any) -> None:
            from twisted.internet import reactor

            running: Any = reactor
            running.callFromThread(file.rotate)

        signal.signal(signal.SIGUSR1, rotate)
    found: TextIO = file
    return found

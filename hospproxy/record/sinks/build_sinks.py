"""Builds the sinks that the settings enable, and a carrier for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults

from ...interfaces import IAuditFileWriter, IAuditWriter, IAuditWriterMaker, IMeter
from ...keys.secrets import KeyFileError
from ...process.host import REAL, Host
from ..alerts import webhook
from ..database import build_database as database
from . import bucket, http, syslog
from .carrier import Carrier, CarrierTime, Ends
from .pace import JournalPace
from .positions import CursorFiles

if TYPE_CHECKING:
    from ...config import Settings

_Maker = tuple[str, Callable[["Settings", Any, Host], Any]]
_BUILT_IN: tuple[_Maker, ...] = (
    ("audit_database", database.writer_for),
    ("audit_syslog", syslog.writer_for),
    ("audit_http", http.writer_for),
    ("audit_bucket", bucket.writer_for),
    ("alerts", webhook.writer_for),
)


class SinkError(Exception):
    """A sink cannot be made; the text begins with the key path of its options."""


class Carriers:
    """All carriers of a process, one for each sink; started and stopped together.

    :param ends: of the journals that are being written.
    :param pace: makes how fast each goes.
    :ivar carrier: makes a carrier for another sink, which is started and stopped by itself.
    """

    def __init__(
        self,
        writers: Sequence[Any],
        settings: Settings,
        reactor: Any,
        time: CarrierTime,
        meter: IMeter,
        ends: Ends,
        host: Host = REAL,
        pace: Callable[[], JournalPace] = JournalPace,
    ) -> None:

        def carrier(writer: Any) -> Carrier:
            thread = host.worker(reactor, f"audit-{writer.name}")
            made = Carrier(writer, settings.audit_path, thread, time, meter, ends, pace())
            _show(made, meter)
            return made

        self.carrier: Callable[[Any], Carrier] = carrier
        self._carriers = [carrier(writer) for writer in writers]

    def start(self) -> None:
        for carrier in self._carriers:
            carrier.start()

    async def stop(self, timeout_s: float) -> None:
        """Deliver what is left and stop, all carriers at the same time. Call this once the journal is closed.

        :param timeout_s: seconds; records left after that are delivered after the next start.
        """
        await gatherResults([Deferred.fromCoroutine(each.stop(timeout_s)) for each in self._carriers])


def _show(carrier: Carrier, meter: IMeter) -> None:
    meter.gauge("record_writer_up", lambda: float(carrier.up), writer=carrier.name)
    meter.gauge("record_writer_behind_records", lambda: float(carrier.behind_records), writer=carrier.name)
    meter.gauge("record_writer_behind_seconds", lambda: carrier.behind_s, writer=carrier.name)


def writers_for(settings: Settings, reactor: Any, host: Host = REAL) -> list[Any]:
    """The sinks that the settings enable, built-in ones and plugins. Opens none of them yet.

    :raise WriterError: one cannot be made.
    """
    if not settings.audit.enabled:
        return []
    return [*_built_in(_BUILT_IN, settings, reactor, host), *_plugins(settings, reactor)]


def check_writers(settings: Settings, reactor: Any, host: Host = REAL) -> None:
    """Check that the sinks can be made, in a process that will not use them.

    The database's is left out: its options are checked when they are read, and its library takes 20 MiB.

    :raise WriterError: one cannot be made.
    """
    list(_built_in(_BUILT_IN[1:], settings, reactor, host))
    list(_plugins(settings, reactor))


def _built_in(makers: Sequence[_Maker], settings: Settings, reactor: Any, host: Host) -> Iterator[Any]:
    for section, make in makers:
        try:
            writer = make(settings, reactor, host)
        except (KeyFileError, OSError, ValueError) as error:
            raise SinkError(f"{section}: {error}") from error
        if writer is not None:
            yield writer


def needed_from(settings: Settings, writers: Sequence[Any]) -> Callable[[str], int | None]:
    """A function from a journal to the lowest file number that some sink has not delivered yet."""
    positions, names = CursorFiles(settings.audit_path), [writer.name for writer in writers]
    return lambda journal: positions.needed_from(names, journal)


def _plugins(settings: Settings, reactor: Any) -> Iterator[Any]:
    if not settings.audit_plugins:
        return
    makers = _makers()
    for index, entry in enumerate(settings.audit_plugins):
        path = f"audit_plugins[{index}]"
        if entry.kind not in makers:
            known = ", ".join(sorted(makers)) or "none"
            raise SinkError(f"{path}.kind: no plugin makes the kind {entry.kind}; known kinds: {known}")
        try:
            writer = makers[entry.kind].make(entry.name, entry.options, reactor)
        except ValueError as error:
            raise SinkError(f"{path}.options: {error}") from error
        if not (IAuditWriter.providedBy(writer) or IAuditFileWriter.providedBy(writer)):
            raise SinkError(
                f"{path}.kind: the plugin {entry.kind} made no IAuditWriter and no IAuditFileWriter"
            )
        if writer.name != entry.name:
            raise SinkError(
                f"{path}.kind: the plugin {entry.kind} named its writer {writer.name} instead of {entry.name}"
            )
        yield writer


def _makers() -> dict[str, Any]:
    from twisted.plugin import getPlugins

    import hospproxy_plugins

    return {maker.kind: maker for maker in getPlugins(IAuditWriterMaker, hospproxy_plugins)}

"""Builds the access log from the settings."""

from __future__ import annotations

import ipaddress
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ...interfaces import IMeter
from ...process.host import Host
from ..http_facts import HttpFacts
from ..sinks.bucket import client_for
from .closed_files import ClosedFiles
from .file_names import FileNames
from .formats import maker_of
from .log_folder import LogFolder, RotationRule
from .sink import AccessLogSink
from .upkeep import Bucket, ClosedFileUpkeep

if TYPE_CHECKING:
    from ...config import Settings

_NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens there: it says that the options name no address


@frozen(slots=True)
class AccessLog:
    """The sink, and what looks after the files that it has closed."""

    sink: AccessLogSink
    upkeep: ClosedFileUpkeep

    def start(self) -> None:
        """Begin to close, ship and remove files. The carrier starts the rest."""
        self.sink.start()
        self.upkeep.start()

    async def stop(self) -> None:
        """Stop; call it once the carrier has stopped."""
        self.upkeep.stop()
        await self.sink.stop()


def http_facts_for(settings: Settings) -> HttpFacts | None:
    """What records say for the access log; None: none is written."""
    section = settings.access_log
    return HttpFacts(section.query_values) if section.enabled else None


def access_log_for(settings: Settings, reactor: Any, meter: IMeter, host: Host) -> AccessLog | None:
    """The access log; None if the settings want none."""
    section, shipping = settings.access_log, settings.access_log_bucket
    if not section.enabled or not settings.audit.enabled:
        return None
    folder = settings.access_log_path
    target = settings.upstream.address
    names = FileNames(section.account, section.region, section.name, _address(settings))
    log = LogFolder(
        folder,
        section.format,
        RotationRule(section.rotate_bytes, section.rotate_s),
        names,
        host.wall,
        host.entropy,
    )
    sink = AccessLogSink(
        log,
        maker_of(section.format, section.name, f"{target.host}:{target.port}"),
        host.worker(reactor, "access-log"),
        reactor,
        meter,
        record_ids=section.record_ids,
    )
    bucket = (
        Bucket(shipping.bucket, shipping.prefix, partial(client_for, shipping))
        if shipping.enabled and shipping.bucket is not None
        else None
    )
    files = ClosedFiles(folder, bucket is not None, section.keep_files, section.keep_bytes)
    upkeep = ClosedFileUpkeep(files, bucket, host.worker(reactor, "access-log-files"), reactor, meter)
    return AccessLog(sink, upkeep)


def _address(settings: Settings) -> str:
    """The address of the first listener, if it is one of this machine."""
    for listener in settings.listeners:
        try:
            address = ipaddress.ip_address(listener.address.host)
        except ValueError:
            continue
        if not address.is_unspecified:
            return str(address)
    return _NO_ADDRESS

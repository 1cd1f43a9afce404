"""Ships closed files of the access log to a bucket, and removes the oldest beyond the bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet import task
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...interfaces import IMeter
from ...process.worker import TaskRunner
from ..sinks.bucket import Upload, store
from .closed_files import ClosedFiles, Removed
from .file_names import key_of

UPKEEP_S: Final = 10.0
"""Seconds between two looks for closed files."""
WRITER: Final = "access_log_bucket"
"""Its name in the metrics of sinks."""
_BASE_S: Final = 1.0
_CAP_S: Final = 60.0
_log = Logger()


@frozen(slots=True)
class Bucket:
    """Where closed files are shipped to.

    :param connect: makes boto3's S3 client; blocks.
    """

    bucket: str
    prefix: str
    connect: Callable[[], Any]


@frozen(slots=True)
class _Round:
    """What one look at the closed files has done.

    :param trouble: why it could not do the rest; None: it could.
    """

    shipped: int
    waiting: int
    removed: Removed
    trouble: Exception | None


class ClosedFileUpkeep:
    """Looks after closed files, one round after another. A bucket that is away delays nothing but shipping.

    :param bucket: None: files stay where they are.
    :param worker: a thread of its own, since a bucket may be slow.
    """

    def __init__(
        self, files: ClosedFiles, bucket: Bucket | None, worker: TaskRunner, clock: Any, meter: IMeter
    ) -> None:
        self._files = files
        self._bucket = bucket
        self._worker = worker
        self._clock = clock
        self._meter = meter
        self._client: Any = None
        self._tries = 0
        self._wait_until = 0.0
        self._waiting = 0
        self._said: set[str] = set()
        self._looking = task.LoopingCall(self._look)
        self._looking.clock = clock
        if bucket is not None:
            meter.gauge("access_log_waiting_files", lambda: float(self._waiting))
            meter.gauge("record_writer_up", lambda: float(self._tries == 0), writer=WRITER)

    def start(self) -> None:
        """Begin with what an earlier process has left."""
        self._looking.start(UPKEEP_S)

    def stop(self) -> None:
        """Begin no further round. One in progress may be abandoned: it is safe to repeat."""
        if self._looking.running:
            self._looking.stop()
        self._worker.stop()

    def _look(self) -> Any:
        ships = self._bucket is not None and self._clock.seconds() >= self._wait_until
        return self._worker.run(lambda: self._round(ships=ships)).addCallbacks(self._looked, self._failed)

    def _round(self, *, ships: bool) -> _Round:
        shipped, trouble = 0, None
        waiting = self._files.waiting()
        if ships and self._bucket is not None:
            for path in waiting:
                try:
                    if self._client is None:
                        self._client = self._bucket.connect()
                    key = key_of(self._bucket.prefix, path.name)
                    store(self._client, Upload(self._bucket.bucket, key, path, {}))
                    self._files.shipped(path)
                except Exception as error:  # boto3 raises many kinds
                    trouble = error
                    break
                shipped += 1
        return _Round(shipped, len(waiting) - shipped, self._files.bound(), trouble)

    def _looked(self, done: _Round) -> None:
        self._waiting = max(0, done.waiting - done.removed.unshipped)
        count = self._meter.count
        if done.shipped:
            count("access_log_files_total", done.shipped, event="shipped")
        if done.removed.files > done.removed.unshipped:
            count("access_log_files_total", done.removed.files - done.removed.unshipped, event="removed")
        if done.removed.unshipped:
            count("access_log_files_total", done.removed.unshipped, event="lost")
        if done.removed.unshipped:
            _log.critical(
                "{files} files of the access log were removed before the bucket had them, to stay within"
                " access_log.keep_files and keep_bytes",
                files=done.removed.unshipped,
            )
        if done.trouble is not None:
            self._troubled(done.trouble)
        elif done.shipped or not done.waiting:
            if self._tries:
                _log.info("The access log's files are shipped again")
            self._tries = 0
            self._said.clear()

    def _failed(self, failure: Failure) -> None:
        self._troubled(failure.value)

    def _troubled(self, error: object) -> None:
        self._meter.count("record_writer_failures_total", writer=WRITER)
        self._tries += 1
        self._wait_until = self._clock.seconds() + min(_CAP_S, _BASE_S * 2.0 ** min(self._tries, 10))
        kind = type(error).__name__
        if kind not in self._said:  # once in an outage, and again if the error is of another kind
            self._said.add(kind)
            _log.error("Closed files of the access log wait: {kind}: {why}", kind=kind, why=str(error)[:300])

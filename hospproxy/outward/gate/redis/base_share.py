"""A worker's base share: slots at HOSP that it owns when Redis is away for long (docs/adr/0025).

The base is kept in a file, so that a successor that starts while Redis is away can inherit it. The file never lags
behind Redis on the unsafe side: Redis is told of at least as many slots as the file holds (``OwnBase.said``), and a
smaller base is written to the file before Redis is told of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ....process.folders import write_whole
from ....process.worker import TaskRunner

FILE = "places.json"
"""Name of the file in ``state_dir``; each worker has its own."""
MOST_BYTES = 1000
_VERSION = 1
_MEMBER = re.compile(r"[!-~]{1,128}")

_log = Logger()


@frozen(slots=True)
class BaseRecord:
    """Content of the base file: whose base it is, and how many slots it has.

    :param member: id of the member that owns the base.
    :param base: slots in the base.
    :param ceiling: slots of all workers together when the base was assigned.
    """

    member: bytes
    base: int
    ceiling: int


class _BaseContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    member: str
    base: int
    ceiling: int


def kept_in(content: bytes) -> BaseRecord | None:
    """Parse the content of a file; None if it is invalid."""
    try:
        said = msgspec.json.decode(content, type=_BaseContent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if said.v != _VERSION or _MEMBER.fullmatch(said.member) is None:
        return None
    return (
        BaseRecord(said.member.encode(), said.base, said.ceiling) if 0 <= said.base <= said.ceiling else None
    )


class BaseFile:
    """The file of one worker. Reads and writes run in a thread, one after another.

    :param worker: the thread.
    """

    def __init__(self, path: Path, worker: TaskRunner) -> None:
        self._path = path
        self._worker = worker

    def read(self) -> Deferred[BaseRecord | None]:
        """Read the file; None if it is missing, unreadable or invalid."""
        return self._worker.run(self._read)

    def write(self, kept: BaseRecord, before: bytes) -> Deferred[None]:
        """Write the file, unless another process has written it since.

        :param before: id of the predecessor; its content, besides this member's own, may be replaced.
        :raise OSError: through the Deferred: the file could not be written.
        """
        return self._worker.run(lambda: self._write(kept, before))

    def stop(self) -> None:
        """End the thread once it has finished its queued work."""
        self._worker.stop()

    def _read(self) -> BaseRecord | None:
        try:
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warn(
                "base share file {path} cannot be read and is ignored: {why}",
                path=str(self._path),
                why=error.strerror,
            )
            return None
        kept = kept_in(content) if len(content) <= MOST_BYTES else None
        if kept is None:
            _log.warn("base share file {path} is invalid and is ignored", path=str(self._path))
        return kept

    def _write(self, kept: BaseRecord, before: bytes) -> None:
        there = self._read()
        if there is None or there.member in (kept.member, before):
            said = _BaseContent(_VERSION, kept.member.decode(), kept.base, kept.ceiling)
            write_whole(self._path, msgspec.json.encode(said))


class OwnBase:
    """The base share of this worker: at first its predecessor's, later the one that Redis assigns.

    :param ceiling: the most requests in flight at HOSP.
    :param file: where the base is kept; None: it ends with the process.
    :param is_gone: whether the worker of this machine with this file lock is dead.
    """

    def __init__(
        self, ceiling: int, file: BaseFile | None = None, is_gone: Callable[[str], bool] = lambda _name: True
    ) -> None:
        self.value = 0
        """Slots in the base."""
        self.heir_of = b""
        """The dead member whose base this worker inherited. Each exchange names it until one is answered."""
        self._ceiling = ceiling
        self._file = file
        self._is_gone = is_gone
        self._before: BaseRecord | None = None
        self._over = b""
        self._lives = False
        self._most = 0
        self._wanted: BaseRecord | None = None
        self._written: BaseRecord | None = None
        self._writing: Deferred[None] | None = None
        self._complained = False

    @property
    def said(self) -> int:
        """Slots to report to Redis: the larger of the base and what the file still holds.

        A successor would inherit what the file holds.
        """
        return max(self.value, self._most)

    def start(self) -> Deferred[None]:
        """Read the file that the last process left."""
        return succeed(None) if self._file is None else self._file.read().addCallback(self._found)

    def _found(self, kept: BaseRecord | None) -> None:
        if self._wanted is None:
            self._before = kept
            self._over = b"" if kept is None else kept.member

    def inherit(self, member: bytes) -> bool:
        """Inherit the predecessor's base once the predecessor is dead; call it before each exchange without Redis.

        A file from another machine (a copy of the folder) is ignored: the base may be in use there.

        :param member: this worker's id.
        :return: whether this call inherited the base.
        """
        before = self._before
        if before is None or not member:
            return False
        machine, _, owner = before.member.partition(b".")
        if machine != member.partition(b".")[0]:
            self._before = None
        elif not self._is_gone(owner.decode()):
            self._lives = True  # the predecessor drains, and may give its base up when it ends
        elif self._lives:
            self._lives = False
            self.start()
        else:
            self._before, self.heir_of = None, before.member
            # If the ceiling is lower now, each base shrinks in proportion.
            self.value = self._most = (
                before.base * min(self._ceiling, before.ceiling) // (before.ceiling or 1)
            )
            return True
        return False

    def told(self, member: bytes, base: int) -> None:
        """Take over the base that Redis has assigned, and write it to the file.

        :param member: this worker's id.
        """
        self.value, self._before = base, None
        self._wanted = BaseRecord(member, base, self._ceiling)
        if self._file is None:
            self._most = base
        else:
            self._write(self._file)
        self.heir_of = b""

    async def give_up(self, member: bytes) -> None:
        """Set the base to 0, and wait for the file. ``said`` may then be reported to Redis. Never fails."""
        self.told(member, 0)
        while self._writing is not None:
            over: Deferred[None] = Deferred()
            self._writing.chainDeferred(over)
            await over

    def stop(self) -> None:
        """End the file's thread after its queued writes, if this worker has a file."""
        if self._file is not None:
            self._file.stop()

    def _write(self, file: BaseFile) -> None:
        wanted = self._wanted
        if self._writing is not None or wanted is None or wanted == self._written:
            return
        self._most = max(self._most, wanted.base)
        self._writing = file.write(wanted, self._over)
        self._writing.addCallbacks(self._done, self._failed, callbackArgs=(wanted, file))

    def _done(self, _: None, wanted: BaseRecord, file: BaseFile) -> None:
        self._writing, self._written, self._most = None, wanted, wanted.base
        self._write(file)

    def _failed(self, failure: Failure) -> None:
        self._writing = None
        if not self._complained:
            self._complained = True
            _log.error(
                "this worker's base share of slots at HOSP cannot be written to disk: {why};"
                " check the disk and permissions of state_dir",
                why=failure.getErrorMessage(),
            )

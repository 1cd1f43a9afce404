"""A worker's base share: places at HOSP that are its own when Redis is away for long (docs/adr/0025).

It outlives the process, in a file, so that who takes its place while Redis is away need not do without. The file never
holds less than Redis was told of: what is given up is written first.
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

from ..record.trail.files import write_whole
from ..worker import WorkerLike

FILE = "places.json"
"""In ``state_dir``; each worker has its own."""
MOST_BYTES = 1000
_VERSION = 1
_MEMBER = re.compile(r"[!-~]{1,128}")

_log = Logger()


@frozen(slots=True)
class Kept:
    """What the file says.

    :param member: whose base it is.
    :param base: places.
    :param ceiling: of how many in all.
    """

    member: bytes
    base: int
    ceiling: int


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    member: str
    base: int
    ceiling: int


def kept_in(content: bytes) -> Kept | None:
    """What a file says; None for nonsense."""
    try:
        said = msgspec.json.decode(content, type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if said.v != _VERSION or _MEMBER.fullmatch(said.member) is None:
        return None
    return Kept(said.member.encode(), said.base, said.ceiling) if 0 <= said.base <= said.ceiling else None


class BaseFile:
    """The file of one worker. All is done in a thread, one thing after another.

    :param worker: the thread.
    """

    def __init__(self, path: Path, worker: WorkerLike) -> None:
        self._path = path
        self._worker = worker

    def read(self) -> Deferred[Kept | None]:
        """What is there; None if there is nothing, or it is no good."""
        return self._worker.run(self._read)

    def write(self, kept: Kept, before: bytes) -> Deferred[None]:
        """Put this there, unless another process has it by now.

        :param before: the member whose content may be replaced besides one's own.
        :raise OSError: it could not be written, through the Deferred.
        """
        return self._worker.run(lambda: self._write(kept, before))

    def stop(self) -> None:
        """End the thread, after what it has to do."""
        self._worker.stop()

    def _read(self) -> Kept | None:
        try:
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warn("{path} cannot be read: {why}", path=str(self._path), why=error.strerror)
            return None
        kept = kept_in(content) if len(content) <= MOST_BYTES else None
        if kept is None:
            _log.warn("{path} is no good and counts as none", path=str(self._path))
        return kept

    def _write(self, kept: Kept, before: bytes) -> None:
        there = self._read()
        if there is None or there.member in (kept.member, before):
            said = _Content(_VERSION, kept.member.decode(), kept.base, kept.ceiling)
            write_whole(self._path, msgspec.json.encode(said))


class OwnBase:
    """The base of this worker: what it is told, and at first what its predecessor had.

    :param ceiling: the most that HOSP gets at one time.
    :param file: None: nothing outlives the process.
    :param is_gone: whether the worker of this machine with this file lock is dead.
    """

    def __init__(
        self, ceiling: int, file: BaseFile | None = None, is_gone: Callable[[str], bool] = lambda _name: True
    ) -> None:
        self.value = 0
        """How many are its own."""
        self.heir_of = b""
        """The dead member whose base it has; to be told in each exchange until one was answered."""
        self._ceiling = ceiling
        self._file = file
        self._is_gone = is_gone
        self._before: Kept | None = None
        self._over = b""
        self._lives = False
        self._most = 0
        self._wanted: Kept | None = None
        self._written: Kept | None = None
        self._writing: Deferred[None] | None = None
        self._complained = False

    @property
    def said(self) -> int:
        """How many Redis has to know of: what the file still holds, a process that follows would take for its own."""
        return max(self.value, self._most)

    def start(self) -> Deferred[None]:
        """Read what the last process has left."""
        return succeed(None) if self._file is None else self._file.read().addCallback(self._found)

    def _found(self, kept: Kept | None) -> None:
        if self._wanted is None:
            self._before = kept
            self._over = b"" if kept is None else kept.member

    def inherit(self, member: bytes) -> bool:
        """Take the predecessor's base, once it is dead; whether that has happened now.

        A file of another machine (a copy of the folder) counts for nothing: there it may be in use.

        :param member: this worker's id.
        """
        before = self._before
        if before is None or not member:
            return False
        machine, _, owner = before.member.partition(b".")
        if machine != member.partition(b".")[0]:
            self._before = None
        elif not self._is_gone(owner.decode()):
            self._lives = True  # it drains, and may give its base up at its end
        elif self._lives:
            self._lives = False
            self.start()
        else:
            self._before, self.heir_of = None, before.member
            # With fewer places than there were each has as much less.
            self.value = self._most = (
                before.base * min(self._ceiling, before.ceiling) // (before.ceiling or 1)
            )
            return True
        return False

    def told(self, member: bytes, base: int) -> None:
        """Redis knows of this many.

        :param member: this worker's id.
        """
        self.value, self._before = base, None
        self._wanted = Kept(member, base, self._ceiling)
        if self._file is None:
            self._most = base
        else:
            self._write(self._file)
        self.heir_of = b""

    async def give_up(self, member: bytes) -> None:
        """Have none any more. When it returns, ``said`` is what may be told. It never fails."""
        self.told(member, 0)
        while self._writing is not None:
            over: Deferred[None] = Deferred()
            self._writing.chainDeferred(over)
            await over

    def stop(self) -> None:
        """Write nothing any more."""
        if self._file is not None:
            self._file.stop()

    def _write(self, file: BaseFile) -> None:
        wanted = self._wanted
        if self._writing is not None or wanted is None or wanted == self._written:
            return
        self._most = max(self._most, wanted.base)
        self._writing = file.write(wanted, self._over)
        self._writing.addCallbacks(self._done, self._failed, callbackArgs=(wanted, file))

    def _done(self, _: None, wanted: Kept, file: BaseFile) -> None:
        self._writing, self._written, self._most = None, wanted, wanted.base
        self._write(file)

    def _failed(self, failure: Failure) -> None:
        self._writing = None
        if not self._complained:
            self._complained = True
            _log.error(
                "how many places at HOSP are this worker's own cannot be kept: {why}",
                why=failure.getErrorMessage(),
            )

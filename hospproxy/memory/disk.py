"""Asynchronous interface to what outlives the process: written with a delay and in order, awaited where necessary."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..http.messages import Identity
from ..keys.encryption import Seal, Unsealable
from ..process.worker import TaskRunner
from ..sharing.tags import ACCOUNTS, account_tag, credentials_tag
from . import disk_file
from .disk_file import CacheFile, CacheRow, Statement
from .rows import read_entry, read_identity, write_entry, write_identity
from .store import CacheEntry, EntryMark

LAZY_S = 1.0
"""Maximum seconds before queued content is written; a crash loses that much."""
MAX_WAITING_BYTES = 32 << 20
"""While more bytes than this wait for a slow disk, further responses are not stored on it."""
TRIES = 3
_ALL = "*"
_log = Logger()


@frozen(slots=True)
class DiskLimits:
    """Bounds of one worker's file.

    :param max_bytes: maximum bytes of all entries together.
    :param max_accepted: maximum number of accepted credentials.
    """

    max_bytes: int
    max_accepted: int


class DiskCache:
    """A Keeper on disk. Losing the key or the file costs its content and nothing else.

    :param worker: the only thread that touches the file.
    :param clock: monotonic time.
    :param wall: seconds since the epoch.
    :param seal: encrypts the values.
    :param mac: keyed hash, so that names in the file reveal nothing.
    :param limits: bounds of the file.
    :param trusted: whether its content may be used at once. In a process among others, writes of others may have made
        it stale while this process was down: it may not, before ``joined``.
    """

    def __init__(
        self,
        file: CacheFile,
        worker: TaskRunner,
        clock: IReactorTime,
        wall: Callable[[], float],
        *,
        seal: Seal,
        mac: Callable[[bytes], bytes],
        limits: DiskLimits,
        trusted: bool = True,
    ) -> None:
        self._file = file
        self._worker = worker
        self._clock = clock
        self._wall = wall
        self._seal = seal
        self._mac = mac
        self._limits = limits
        self._waiting: list[tuple[Statement, Deferred[Any] | None]] = []
        self._waiting_bytes = 0
        self._lasting = False
        self._places: dict[bytes, int] = {}
        self._running = False
        self._timer: IDelayedCall | None = None
        self._changes = 0
        self._is_open = False
        self._position: tuple[bytes, int] | None = None
        self._trusted = trusted
        self.trouble: str | None = None
        self.bytes = 0

    def reload(self, max_bytes: int) -> None:
        """Apply a changed bound, with the next entry that is stored."""
        self._limits = evolve(self._limits, max_bytes=max_bytes)

    def open(self) -> list[str | None]:
        """Open the file. Blocks; call it once, before the first request. If it fails, the proxy starts without a file.

        :return: accounts (None: all) that were being changed when the last process ended.
        """
        self._is_open = True
        try:
            self._file.open()
            rows, self._position = self._file.run([disk_file.doubts, disk_file.position])
        except disk_file.NotOnDisk as error:
            self.trouble = str(error)
            _log.error(
                "cache on disk: its content may be stale: {why}. Make the file writable or delete it",
                why=self.trouble,
            )
            return []
        in_doubt = [self._read_doubt(bytes(account), bytes(value)) for account, value in rows or ()]
        self._say_dropped()
        self._worker.run(self._file.check).addErrback(self._failed)
        return in_doubt

    def _read_doubt(self, account: bytes, value: bytes) -> str | None:
        try:
            staff_id = self._seal.open(value, f"doubt {account.hex()}").decode("utf-8", "surrogatepass")
        except (Unsealable, UnicodeDecodeError):
            return None
        return None if staff_id == _ALL else staff_id

    def put(self, entry: CacheEntry, tags: tuple[str, ...], mark: EntryMark = EntryMark.CLEAN) -> None:
        """Store a response under its name. It may be lost."""
        size = len(entry.response.body)
        if not self._is_open or self._waiting_bytes + size > MAX_WAITING_BYTES:
            return
        now, wall, name, most = self._clock.seconds(), self._wall(), entry.name, self._limits.max_bytes

        def put(connection: sqlite3.Connection) -> None:
            value = self._seal.seal(write_entry(entry, now, wall), f"entry {name.hex()}")
            disk_file.put(connection, CacheRow(name, mark, tuple(map(self._name, tags)), value), most)

        before = self._places.get(name)
        if before is not None:  # the same response again before the first was written
            self._waiting[before] = (_nothing, None)
        self._places[name] = len(self._waiting)
        self._waiting_bytes += size
        self._give(put, lasting=False)

    def mark(self, tag: str, mark: EntryMark, owner: str | None = None) -> None:
        """Mark all entries with a tag; with an owner, only those that carry this second tag too."""
        name, of = self._name(tag), None if owner is None else self._name(owner)
        self._change(lambda connection: disk_file.mark(connection, name, mark, of))

    def drop(self, tag: str) -> None:
        """Delete all entries with a tag, and the acceptance of the credentials that it names."""
        name, forget = self._name(tag), disk_file.drop_accounts if tag == ACCOUNTS else disk_file.drop
        self._change(lambda connection: forget(connection, name))
        if self._is_open:
            self._begin()  # a crash must not bring back what is revoked

    def joined(self, anew: bool) -> None:
        """This process sees all news of others again, so the content of the file may be used.

        :param anew: it may have missed some; then what nothing has vouched for since the start is deleted.
        """
        if anew and not self._trusted:
            self.forget_all()
        self._trusted = True

    def position(self) -> tuple[bytes, int] | None:
        """Up to which news of the others (epoch, number) the file is complete; None if unknown."""
        return self._position

    def note_position(self, epoch: bytes, seq: int) -> None:
        """Note that all news up to this one have been applied. Written to the file only after they are."""
        if self._position != (epoch, seq):
            self._position = (epoch, seq)
            self._give(lambda connection: disk_file.note_position(connection, epoch, seq))

    def forget_all(self) -> None:
        """Delete all entries and all accepted credentials: news was missed that cannot be fetched any more."""
        self._change(disk_file.forget_all)
        if self._is_open:
            self._begin()

    async def get(self, name: bytes) -> tuple[CacheEntry, EntryMark] | None:
        """An entry with its mark at the moment of return; it is never fresh."""
        found = await self._unchanged(lambda connection: disk_file.get(connection, name))
        if found is None:
            return None
        try:
            data = self._seal.open(bytes(found[1]), f"entry {name.hex()}")
            entry = read_entry(data, name, self._clock.seconds(), self._wall())
        except (Unsealable, msgspec.DecodeError):
            return None
        return None if entry is None else (entry, EntryMark(found[0]))

    def accept(self, identity: Identity, ago_s: float = 0.0) -> None:
        """HOSP accepted these credentials this many seconds ago."""
        credentials = self._name(credentials_tag(identity.credentials))
        account = self._name(account_tag(str(identity.id)))
        value = self._seal.seal(
            write_identity(identity, self._wall() - ago_s), f"accepted {credentials.hex()}"
        )
        most = self._limits.max_accepted
        self._give(
            lambda connection: disk_file.accept(connection, credentials, account, value, most), lasting=False
        )

    async def accepted(self, credentials: bytes) -> tuple[Identity, float] | None:
        """The principal of these credentials, and the seconds since HOSP accepted them; None if unknown or revoked."""
        name = self._name(credentials_tag(credentials))
        found = await self._unchanged(lambda connection: disk_file.accepted(connection, name))
        if found is None:
            return None
        try:
            data = self._seal.open(found, f"accepted {name.hex()}")
            return read_identity(data, credentials, self._wall())
        except (Unsealable, msgspec.DecodeError):
            return None

    def doubt(self, staff_id: str | None, is_open: bool) -> None:
        """A change of an account (None: of any) is in flight or has an unknown outcome; or no longer."""
        plain = _ALL if staff_id is None else staff_id
        account = self._name(f"doubt:{plain}")
        value = None
        if is_open:
            value = self._seal.seal(plain.encode("utf-8", "surrogatepass"), f"doubt {account.hex()}")
        self._give(lambda connection: disk_file.doubt(connection, account, value))

    async def settled(self) -> bool:
        """Wait until all operations so far are done; False if they failed and older content may still be stored."""
        if not self._is_open:
            return True
        try:
            await self._now(_nothing)
        except disk_file.NotOnDisk:
            return False
        return True

    async def shut(self) -> None:
        """Write what is queued, and close."""
        if self._is_open:
            await self.settled()
            self._is_open = False
        await self._worker.run(self._file.close)
        self._worker.stop()

    def _name(self, tag: str) -> bytes:
        return self._mac(tag.encode("utf-8", "surrogatepass"))[:16]

    async def _unchanged(self, read: Statement) -> Any:
        """Read something that nothing has invalidated meanwhile. Reads see all operations queued before them."""
        for _ in range(TRIES):
            if not self._is_open or not self._trusted:
                return None
            changes = self._changes
            try:
                found = await self._now(read)
            except disk_file.NotOnDisk:
                return None
            if changes == self._changes and self._trusted:
                return found
        return None

    def _change(self, statement: Statement) -> None:
        self._changes += 1
        self._give(statement)

    def _give(self, statement: Statement, *, lasting: bool = True) -> None:
        """:param lasting: a power cut may not undo it: it says that something no longer holds."""
        if not self._is_open:
            return
        self._lasting = self._lasting or lasting
        self._waiting.append((statement, None))
        if self._timer is None:
            self._timer = self._clock.callLater(LAZY_S, self._begin)

    def _now(self, statement: Statement) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._waiting.append((statement, done))
        self._begin()
        return done

    def _begin(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._running or not self._waiting:
            return
        group, self._waiting = self._waiting, []
        self._places, self._waiting_bytes = {}, 0
        lasting, self._lasting = self._lasting, False
        self._running = True
        statements = [statement for statement, _ in group] + [disk_file.bytes_of]
        done = self._worker.run(lambda: self._file.run(statements, lasting=lasting))
        done.addBoth(self._done, [done for _, done in group])

    def _done(self, outcome: list[Any] | Failure, waiting: list[Deferred[Any] | None]) -> None:
        self._running = False
        self._say_dropped()
        if self._waiting:
            self._begin()
        if isinstance(outcome, Failure):
            self._failed(outcome)
            for done in waiting:
                if done is not None and not done.called:
                    done.errback(disk_file.NotOnDisk(self.trouble or ""))
            return
        self.trouble = None
        self.bytes = outcome[-1] or 0
        for done, result in zip(waiting, outcome[:-1], strict=True):
            if done is not None and not done.called:
                done.callback(result)

    def _failed(self, failure: Failure) -> None:
        before, self.trouble = self.trouble, failure.getErrorMessage()
        if before != self.trouble:  # each write tries again, and among other workers each heartbeat does
            _log.error(
                "cache on disk: its content may be stale: {why}. Make the file writable or delete it",
                why=self.trouble,
            )

    def _say_dropped(self) -> None:
        if self._file.dropped:
            _log.warn("cache on disk: deleted and recreated: {why}", why=self._file.dropped)
            self._file.dropped = ""


def _nothing(_connection: sqlite3.Connection) -> None:
    """Does nothing; used to wait for the operations before it."""

"""The saved position of each sink in each journal, kept over restarts. All of this blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from attrs import frozen

from ...process.folders import make_private, sync_folder, write_whole
from ..trail.files import lock_of
from ..trail.follower import Cursor

FOLDER = "positions"


class DamagedError(Exception):
    """A saved position cannot be used; the text says why."""


class _Saved(msgspec.Struct, forbid_unknown_fields=False):
    v: int
    trail: str
    journal: str
    number: int
    offset: int
    seq: int


@frozen(slots=True)
class CursorFiles:
    """Small files beside the journal's files: ``positions/NAME-w0.json``, mode 0600.

    :param directory: of the records.
    """

    directory: Path

    def load(self, writer: str, journal: str, trail: str) -> Cursor | None:
        """The saved position; None if there is none.

        :raise DamagedError: the file does not hold a position in this trail.
        :raise OSError: the file cannot be read.
        """
        path = self._path(writer, journal)
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DamagedError(f"{path} is damaged: {error}") from error
        if saved.v != 1 or saved.journal != journal or min(saved.number, saved.offset, saved.seq) < 0:
            raise DamagedError(f"{path} does not hold a position in journal {journal}")
        if saved.trail != trail:
            raise DamagedError(f"{path} holds a position in another trail, {saved.trail!r}")
        return Cursor(journal, saved.number, saved.offset, saved.seq)

    def save(self, writer: str, position: Cursor, trail: str) -> None:
        """Replace the saved position. A power cut may bring back the one before: then records are sent twice.

        :raise OSError: it cannot be written.
        """
        path = self._path(writer, position.journal)
        saved = _Saved(1, trail, position.journal, position.number, position.offset, position.seq)
        write_whole(path, msgspec.json.encode(saved) + b"\n", lasting=False)

    def lock(self, writer: str, journal: str) -> int | None:
        """Lock a journal for a sink; return the lock's descriptor, or None while another process holds it.

        The kernel frees the lock however its owner ends; ``os.close`` releases it.
        """
        folder = self.directory / FOLDER
        if not folder.is_dir():
            make_private(folder)
            sync_folder(self.directory)
        return lock_of(self._path(writer, journal).with_suffix(".lock"))

    def any(self) -> bool:
        """Whether a sink has saved a position."""
        return next(iter((self.directory / FOLDER).glob("*.json")), None) is not None

    def needed_from(self, writers: Sequence[str], journal: str) -> int | None:
        """The lowest file number that one of these sinks has not delivered yet; None if there are no sinks.

        A sink without a readable position needs every file.
        """
        return min((self._number(writer, journal) for writer in writers), default=None)

    def _number(self, writer: str, journal: str) -> int:
        try:
            saved = msgspec.json.decode(self._path(writer, journal).read_bytes(), type=_Saved)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return 0
        return saved.number

    def _path(self, writer: str, journal: str) -> Path:
        return self.directory / FOLDER / f"{writer}-{journal}.json"

"""How far each writer has come in each journal, kept over restarts. Everything here blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from attrs import frozen

from ...folders import make_private, sync_folder
from ..trail.files import lock_of, write_whole
from ..trail.following import Position

FOLDER = "positions"


class DamagedError(Exception):
    """A saved position that cannot be used; the text says why."""


class _Saved(msgspec.Struct, forbid_unknown_fields=False):
    v: int
    trail: str
    journal: str
    number: int
    offset: int
    seq: int


@frozen(slots=True)
class Positions:
    """Small files beside the journal's: ``positions/NAME-w0.json``, mode 0600.

    :param directory: of the records.
    """

    directory: Path

    def load(self, writer: str, journal: str, trail: str) -> Position | None:
        """What was saved; None if nothing was.

        :raise DamagedError: it is no position in this trail.
        :raise OSError: it cannot be read.
        """
        path = self._path(writer, journal)
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DamagedError(f"{path} is damaged: {error}") from error
        if saved.v != 1 or saved.journal != journal or min(saved.number, saved.offset, saved.seq) < 0:
            raise DamagedError(f"{path} is no position in journal {journal}")
        if saved.trail != trail:
            raise DamagedError(f"{path} is a position in another trail, {saved.trail!r}")
        return Position(journal, saved.number, saved.offset, saved.seq)

    def save(self, writer: str, position: Position, trail: str) -> None:
        """Put a position in the place of the one before; on disk when this returns.

        :raise OSError: it cannot be kept.
        """
        path = self._path(writer, position.journal)
        saved = _Saved(1, trail, position.journal, position.number, position.offset, position.seq)
        write_whole(path, msgspec.json.encode(saved) + b"\n")

    def lock(self, writer: str, journal: str) -> int | None:
        """The right to carry a journal for a writer, or None while another process has it.

        The kernel frees it however its owner ends; ``os.close`` gives it back.
        """
        folder = self.directory / FOLDER
        if not folder.is_dir():
            make_private(folder)
            sync_folder(self.directory)
        return lock_of(self._path(writer, journal).with_suffix(".lock"))

    def needed_from(self, writers: Sequence[str], journal: str) -> int | None:
        """The lowest number of a file that one of these writers has still to carry on; None where there is no writer.

        A writer without a position, or with one that cannot be read, needs everything.
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

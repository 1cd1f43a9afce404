"""How far the access log has come, kept beside its file: each record makes one line, whenever a process is killed.

The file counts only as far as the position says. What stands behind it was written by a process that died before it
saved the position, and is written again. Blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from twisted.logger import Logger

from ...process.folders import write_whole

FILE: Final = "position.json"
_MOST_JOURNALS: Final = 255
"""Other journals that are remembered. A machine has one for each worker, and new ones after a restored backup."""
_log = Logger()


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Which records have their line, and how much of the open file counts.

    :ivar bytes: of the open file that count.
    :ivar begun: when its first line was written, in seconds since the epoch.
    :ivar closing: the name that it is being closed under; "" if it is open.
    :ivar machine: what its name says of this machine.
    :ivar format: of its lines.
    :ivar seqs: number of the last record of each journal that has its line; by trail and journal.
    """

    v: int = 1
    bytes: int = 0
    begun: float = 0.0
    closing: str = ""
    machine: str = ""
    format: str = ""
    seqs: dict[str, int] = {}

    def with_lines(
        self, size: int, begun: float, machine: str, format: str, journal: str, seq: int
    ) -> Position:
        """The position after some lines were added.

        :param size: of the file with them.
        :param journal: trail and journal of their records.
        :param seq: number of the last of these.
        """
        others = [item for item in self.seqs.items() if item[0] != journal][-_MOST_JOURNALS:]
        return msgspec.structs.replace(
            self, bytes=size, begun=begun, machine=machine, format=format, seqs={**dict(others), journal: seq}
        )


def load(folder: Path) -> Position:
    """The saved position; a new one if there is none, or none that can be read.

    :raise OSError: the file cannot be read.
    """
    path = folder / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Position)
    except FileNotFoundError:
        return Position()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.error("The access log's {path} is damaged, and replaced ({why})", path=str(path), why=str(error))
        return Position()
    if found.v != 1 or found.bytes < 0:
        _log.error("The access log's {path} is of another version, and replaced", path=str(path))
        return Position()
    return found


def save(folder: Path, position: Position) -> None:
    """Replace the saved position; the new one is on disk when this returns.

    :raise OSError: it cannot be written.
    """
    write_whole(folder / FILE, msgspec.json.encode(position) + b"\n")

"""Workers of the same machine: of those it can be known that they are dead, by their file locks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

FILE = "machine-id"
_PLAIN = re.compile(r"[0-9a-f]{16}")


def machine_id(folder: Path, random: Callable[[int], bytes]) -> str:
    """The name of this machine: of this one folder, for the locks of its workers are in it.

    A copy of the folder is another machine: there the locks would be free, and their owners alive elsewhere.

    :param folder: of the state.
    :param random: gives so many random bytes.
    :raise OSError: it cannot be read or made.
    """
    path = folder / FILE
    for _ in range(3):
        try:
            with path.open("r", encoding="ascii", errors="replace") as file:
                word, _, place = file.read(200).strip().partition(" ")
            if _PLAIN.fullmatch(word) and place == _place(path):
                return word
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        _make(folder, path, random)
    raise OSError(f"{path} changes all the time")


def _make(folder: Path, path: Path, random: Callable[[int], bytes]) -> None:
    """Whole or not at all, for several workers begin at one time: the first one's stands."""
    begun = folder / f"{FILE}.{random(8).hex()}"
    begun.touch(mode=0o600)
    try:
        begun.write_text(f"{random(8).hex()} {_place(begun)}\n", "ascii")
        path.hardlink_to(begun)
    except FileExistsError:
        pass
    finally:
        begun.unlink()


def _place(path: Path) -> str:
    found = path.stat()
    return sha256(f"{found.st_dev} {found.st_ino}".encode()).hexdigest()[:16]


def member_id(machine: str, owner: str) -> bytes:
    """A worker's id among the members.

    :param owner: the name of its file lock, new with each start.
    """
    return f"{machine}.{owner}".encode("ascii")


def dead_among(members: Iterable[bytes], own: bytes, is_gone: Callable[[str], bool]) -> list[bytes]:
    """Those of this machine whose lock is free.

    :param own: this worker's id.
    :param is_gone: whether the lock of a name is free.
    """
    machine = own.partition(b".")[0] + b"."
    theirs = [name for name in members if name != own and name.startswith(machine)]
    return [name for name in theirs if is_gone(name[len(machine) :].decode("ascii", "replace"))]

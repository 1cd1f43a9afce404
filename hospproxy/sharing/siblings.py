"""Ids of this machine and its workers. A worker of this machine is known to be dead when its file lock is free."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

FILE = "machine-id"
_PLAIN = re.compile(r"[0-9a-f]{16}")


def machine_id(folder: Path, random: Callable[[int], bytes]) -> str:
    """Read the id of this machine, or make one. It identifies the state folder, which holds the workers' locks.

    A copy of the folder gets another id: in it the locks are free although their owners are alive elsewhere.

    :param folder: the state folder.
    :param random: returns this many random bytes.
    :raise OSError: the id can neither be read nor made.
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
    raise OSError(f"{path} cannot be made: another process keeps replacing it")


def _make(folder: Path, path: Path, random: Callable[[int], bytes]) -> None:
    """Create the file atomically: several workers may start at once, and the first one's id stays."""
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
    """Build the member id under which a worker is known in Redis.

    :param owner: the name of its file lock, new at each start.
    """
    return f"{machine}.{owner}".encode("ascii")


def dead_among(members: Iterable[bytes], own: bytes, is_gone: Callable[[str], bool]) -> list[bytes]:
    """Return the members of this machine whose lock is free.

    :param own: this worker's id, which is never returned.
    :param is_gone: whether the lock with this name is free.
    """
    machine = own.partition(b".")[0] + b"."
    theirs = [name for name in members if name != own and name.startswith(machine)]
    return [name for name in theirs if is_gone(name[len(machine) :].decode("ascii", "replace"))]

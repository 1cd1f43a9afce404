"""Owner of ledger entries: a process that holds a kernel file lock.

The lock ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from ...process.folders import make_private

_MOST = 100
"""Maximum characters of a name. A longer one, which could only come from Redis, names no lock file."""


class LedgerOwner:
    """This process, as the owner of entries.

    :param folder: holds the lock files of all owners.
    :param name: must never have been used before. Default: a new one.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        make_private(folder)
        self._folder = folder
        self.name = f"{os.getpid()}-{secrets.token_hex(6)}" if name is None else name
        # Lock first, then rename: an unlocked file under the final name would look like a dead owner.
        draft = folder / f".{self.name}"
        self._descriptor = _open(draft)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(folder / self.name)

    def is_gone(self, name: str) -> bool:
        """Whether the process of this name no longer holds its lock, so that its entries may be taken over."""
        if name == self.name:
            return False
        if not _is_plain(name) or not (self._folder / name).exists():
            return True
        try:
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            # A shared lock, so that two processes that check at the same time do not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def forget(self, name: str) -> None:
        """Remove the lock file of an owner that is gone and owns no entries any more."""
        if _is_plain(name) and name != self.name:
            (self._folder / name).unlink(missing_ok=True)

    def others(self) -> list[str]:
        """Names of all other owners with a lock file."""
        return sorted(
            path.name for path in self._folder.iterdir() if _is_plain(path.name) and path.name != self.name
        )

    def leave(self) -> None:
        """Remove and release this process's lock. It owns nothing afterwards."""
        (self._folder / self.name).unlink(missing_ok=True)
        os.close(self._descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= _MOST and name.replace("-", "").isalnum()

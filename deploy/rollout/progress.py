"""The journal of a rollout on disk, the lock that lets only one run, and requests to abort.

The journal is a file of JSON lines. Its first entry holds the plan itself, so that a rollout which goes on after a
crash goes on with the plan that it began with.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

MOST_KEPT = 20
"""Journals of finished rollouts that are kept."""

_CURRENT = "rollout.jsonl"


class Busy(Exception):
    """Another rollout has the lock."""


class NoRollout(Exception):
    """There is no rollout in this folder."""


class StateLock:
    """One process at a time; the system frees the lock when the process ends, however that is.

    :param folder: it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take it.

        :raise Busy: another process has it.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (self._folder / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise Busy from None
        self._file = file

    def free(self) -> None:
        """Free it, if it was taken."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Journal:
    """What a rollout has done, in the order in which it was done.

    :param folder: state folder of rollouts.
    :param sync: brings a file to the disk.
    """

    def __init__(self, folder: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []
        self._path = folder / _CURRENT
        self._sync = sync
        self._torn_at: int | None = None

    def read(self) -> None:
        """Read the entries. A last line that a crash tore is left out, and cut off before the next entry.

        :raise NoRollout: there is no journal, or not even its first entry is whole.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            raise NoRollout from None
        self.entries = []
        whole = 0
        for line in content.splitlines(keepends=True):
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(entry, dict):
                break
            self.entries.append(entry)
            whole += len(line)
        if not self.entries:
            raise NoRollout
        if whole < len(content):
            self._torn_at = whole

    def begin(self, first: Mapping[str, Any]) -> None:
        """Begin a new journal; the one of the last rollout gets another name."""
        if self._path.exists():
            self._put_aside()
        self.entries = []
        self._torn_at = None
        self.note("begin", **first)

    def note(self, what: str, **values: Any) -> None:
        """Add an entry, durably: once this has returned, a crash does not lose it."""
        entry = {"what": what, **values}
        with self._path.open("ab") as file:
            os.chmod(self._path, 0o600)  # the plan may hold headers with credentials
            if self._torn_at is not None:
                file.truncate(self._torn_at)
                self._torn_at = None
            file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
            file.flush()
            self._sync(file.fileno())
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            self._sync(folder)
        finally:
            os.close(folder)
        self.entries.append(entry)

    def all(self, what: str) -> Iterator[dict[str, Any]]:
        """Return the entries of a kind, oldest first."""
        return (entry for entry in self.entries if entry["what"] == what)

    def last(self, what: str) -> dict[str, Any] | None:
        """Return the newest entry of a kind; None if there is none."""
        found = None
        for found in self.all(what):  # noqa: B007 - the last one is wanted
            pass
        return found

    def has_done(self, stage: str) -> bool:
        """Whether a stage has ended."""
        return any(entry["stage"] == stage for entry in self.all("done"))

    @property
    def is_over(self) -> bool:
        """Whether the rollout has come to its end."""
        return self.last("end") is not None

    def _put_aside(self) -> None:
        old = sorted(self.folder.glob("rollout-*.jsonl"))
        number = int(old[-1].stem.partition("-")[2]) + 1 if old else 1
        self._path.rename(self.folder / f"rollout-{number:06}.jsonl")
        for each in old[: max(0, len(old) + 1 - MOST_KEPT)]:
            each.unlink()


class AbortRequest:
    """A file by which ``abort`` reaches a rollout that runs.

    :param folder: state folder of rollouts.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "abort"

    def make(self) -> None:
        """Ask the rollout that runs to roll back."""
        self._path.touch()

    @property
    def is_made(self) -> bool:
        return self._path.exists()

    def clear(self) -> None:
        """Forget it; a rollout does so when it begins."""
        self._path.unlink(missing_ok=True)

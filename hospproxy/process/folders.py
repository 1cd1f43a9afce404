"""Folders and files of the state folder: made so that they survive a power cut, and named by the worker they are of.

A name is on disk once its folder is synced.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

_log = Logger()


def read_bounded(path: Path, most: int) -> bytes | None:
    """Read a file into memory; None if there is none. Blocks.

    :param most: bytes.
    :raise ValueError: it is longer.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        return None
    if len(content) > most:
        raise ValueError(f"the file is longer than {most} bytes")
    return content


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk. Blocks.

    :raise OSError: it failed; the names may not be on disk.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(folder: Path) -> None:
    """Create a folder (mode 0700) and its missing parents, and sync their names to disk. Blocks.

    Without this, a power cut may remove the folder together with files in it that were synced.

    :raise OSError: the folder could not be created.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        # A parent that we may write to but not read cannot be synced by us.
        with suppress(PermissionError):
            sync_folder(made.parent)


def write_whole(
    path: Path, content: bytes, mode: int = 0o600, *, keep_owner: bool = False, lasting: bool = True
) -> None:
    """Replace a file atomically (its folder gets mode 0700); the new content is on disk when this returns.

    :param lasting: if False, and there was a file, a power cut may bring back that one: its folder is not synced.
    :param keep_owner: the new file belongs to the owner of the one that it replaces, even if root replaces it.
    :raise OSError: it cannot be written; the old file is still there.
    """
    make_private(path.parent)
    lasting = lasting or not path.exists()
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if keep_owner and os.path.lexists(path):
                status = path.stat()
                os.fchown(descriptor, status.st_uid, status.st_gid)
            _write(file, content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)


def create_whole(path: Path, content: bytes) -> None:
    """Create a private file (0600, its folder 0700) that appears complete or not at all; an existing one stays.

    Processes that start together may call it for the same path.

    :raise OSError: it cannot be created.
    """
    make_private(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, content)
        try:
            # A link, not a rename: it fails if another process was first, so that process's file stays.
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    sync_folder(path.parent)


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def of_slot(path: Path, slot: int) -> Path:
    """Return one worker's file: ``answers.sqlite`` for slot 0 or without workers, ``answers-1.sqlite`` for slot 1.

    :param slot: from 0.
    """
    return path if slot == 0 else path.with_name(f"{path.stem}-{slot}{path.suffix}")


def beyond(path: Path, workers: int) -> Iterator[Path]:
    """Yield files of slots that no longer exist because ``workers`` was lowered, with SQLite's companion files.

    :param path: as for ``of_slot``.
    """
    name = re.compile(
        rf"{re.escape(path.stem)}-([1-9]\d{{0,3}}){re.escape(path.suffix)}(|-wal|-shm|-journal)"
    )
    if not path.parent.is_dir():
        return
    for each in sorted(path.parent.iterdir()):
        match = name.fullmatch(each.name)
        if match is not None and int(match[1]) >= workers:
            yield each


def remove_left(paths: Iterable[Path], workers: int) -> None:
    """Remove the files of worker slots that no longer exist.

    Nothing else would ever wipe their content. A stored base share must not come back when the number of workers rises
    again: by then those slots at HOSP belong to other workers.

    :param paths: as for ``of_slot``.
    """
    for path in (left for each in paths for left in beyond(each, workers)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.error(
                "cannot remove {path}, which belongs to no worker any more: {why}. Remove it by hand",
                path=str(path),
                why=error.strerror,
            )

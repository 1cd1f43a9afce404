"""The manifest of a backup, ``backup.json``: its files with their hashes, and how far the trail goes."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import msgspec

FORMAT = 1
NAME = "backup.json"
CONTENT = "state"
"""The folder in a backup that becomes the state folder."""


class StateError(Exception):
    """A backup cannot be made or used; the text is for the terminal."""


class BackupFile(msgspec.Struct, frozen=True):
    """One file of the backup, with its size in bytes and its hash.

    :param path: relative to the state folder.
    """

    path: str
    bytes: int
    sha256: str


class JournalFiles(msgspec.Struct, frozen=True):
    """How far one journal of the trail goes.

    :param journal: name of the journal.
    :param seq: number of its last record.
    :param head: hash of its last record: an anchor for ``hospproxy-audit verify``.
    """

    journal: str
    seq: int
    head: str


class Manifest(msgspec.Struct, frozen=True):
    """The content of ``backup.json``.

    :param taken: when the backup was started, RFC 3339.
    :param elsewhere: option and path of files that the options name; they are not in the backup.
    """

    format: int
    taken: str
    files: list[BackupFile]
    journals: list[JournalFiles]
    elsewhere: list[str]


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest. Do it last: a backup without one is incomplete.

    :raise OSError: it cannot be written.
    """
    keep(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def read(folder: Path) -> Manifest:
    """Read the manifest of a backup.

    :raise StateError: it is missing or damaged, or from a newer version.
    """
    try:
        found = msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise StateError(f"{folder} holds no whole backup: {NAME} is missing") from None
    except OSError as error:
        raise StateError(f"{folder / NAME}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"{folder / NAME} is damaged: {error}") from None
    if found.format > FORMAT:
        raise StateError(f"{folder} was made by a newer hospproxy (format {found.format})")
    return found


def keep(path: Path, content: bytes) -> None:
    """Write a new file with mode 0600, and sync it to disk.

    :raise OSError: it exists already, or cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def measured(folder: Path) -> list[BackupFile]:
    """List every file below a folder, with size and hash.

    :raise StateError: it holds something that is neither file nor folder. A link would restore another file's
        content, or nothing.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StateError(f"{path} is neither a file nor a folder")
        if path.is_file():
            found.append(_measured(folder, path))
    return found


def _measured(folder: Path, path: Path) -> BackupFile:
    content = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return BackupFile(str(path.relative_to(folder)), path.stat().st_size, content.hexdigest())

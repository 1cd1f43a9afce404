"""What a backup says of itself: ``backup.json``."""

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
    """A backup that cannot be made or used; in words for the terminal."""


class File(msgspec.Struct, frozen=True):
    """One file.

    :param path: within the state folder.
    """

    path: str
    bytes: int
    sha256: str


class Journal(msgspec.Struct, frozen=True):
    """How far the trail goes.

    :param head: hash of its last record: an anchor for ``hospproxy-audit verify``.
    """

    journal: str
    seq: int
    head: str


class Manifest(msgspec.Struct, frozen=True):
    """A whole backup.

    :param taken: when it was begun, RFC 3339.
    :param elsewhere: option and path of what the options name outside of the state folder, and is not in it.
    """

    format: int
    taken: str
    files: list[File]
    journals: list[Journal]
    elsewhere: list[str]


def write(folder: Path, manifest: Manifest) -> None:
    """Put it there last: a backup without one is none.

    :raise OSError: it cannot be written.
    """
    keep(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def read(folder: Path) -> Manifest:
    """A backup's.

    :raise StateError: there is none, or it cannot be understood.
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
    """A private file, on disk when this returns.

    :raise OSError: it is there already, or cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def measured(folder: Path) -> list[File]:
    """Every file below a folder.

    :raise StateError: something there is neither file nor folder. A link would put another file's content, or
        nothing, into what is made of a backup.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StateError(f"{path} is neither a file nor a folder")
        if path.is_file():
            found.append(_measured(folder, path))
    return found


def _measured(folder: Path, path: Path) -> File:
    content = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return File(str(path.relative_to(folder)), path.stat().st_size, content.hexdigest())

"""The content of the index: one small file, replaced as a whole. Segments that it does not name are ignored."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from ...process.folders import write_whole

FILE: Final = "index.json"
VERSION: Final = 1


class Covered(msgspec.Struct):
    """How far a file of the journal is in the index.

    :param place: bytes of the file, from its start.
    :param seq: number of the next record.
    :param last_place: of the last line before ``place``.
    :param last_hash: of that line; shows whether the file still holds what was indexed.
    :param whole: the file is complete, and all of it is in the index.
    """

    place: int
    seq: int
    last_place: int
    last_hash: str
    whole: bool = False


class Segment(msgspec.Struct):
    """Rows that are stored together.

    :param name: of its files, without their endings.
    :param stems: files of the journal that the rows are from.
    :param files: size in bytes and SHA-256 of each file, by its name's ending.
    """

    name: str
    rows: int
    min_ms: int
    max_ms: int
    stems: list[str]
    files: dict[str, tuple[int, str]]

    def path(self, folder: Path, ending: str) -> Path:
        """The path of this segment's file with the ending."""
        return folder / f"{self.name}.{ending}"


class IndexManifest(msgspec.Struct):
    """Lists the segments of the index, and how much of each journal file they cover.

    :param trail: id of the trail.
    :param segments: their rows never overlap.
    :param number: counts the segments that were ever made.
    """

    trail: str
    covered: dict[str, Covered] = {}
    segments: list[Segment] = []
    number: int = 0
    v: int = VERSION

    def without(self, stems: Iterable[str]) -> dict[str, Covered]:
        """What is covered if these files are not."""
        gone = set(stems)
        return {stem: covered for stem, covered in self.covered.items() if stem not in gone}


def load(folder: Path, trail: str) -> IndexManifest | None:
    """The manifest; None if there is none of this version for this trail.

    :raise OSError: it exists and cannot be read.
    """
    try:
        found = msgspec.json.decode((folder / FILE).read_bytes(), type=IndexManifest)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.v != VERSION or found.trail != trail or any("/" in each.name for each in found.segments):
        return None
    return found


def save(folder: Path, manifest: IndexManifest) -> None:
    """Replace the manifest; the new one is on disk when this returns.

    :raise OSError: it cannot be written; the old one still counts.
    """
    write_whole(folder / FILE, msgspec.json.encode(manifest))


def stamp(folder: Path) -> tuple[int, int, int] | None:
    """Changes when the manifest is replaced; None if there is none."""
    try:
        status = os.stat(folder / FILE)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def digest_of(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its SHA-256.

    :raise OSError: it cannot be read.
    """
    content = sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(1 << 18):
            content.update(block)
            size += len(block)
    return size, content.hexdigest()


def is_intact(folder: Path, segment: Segment, *, read: bool) -> bool:
    """Whether a segment's files are those that were written.

    :param read: compare their content, not only their sizes.
    """
    for ending, (size, digest) in segment.files.items():
        path = segment.path(folder, ending)
        try:
            if path.stat().st_size != size or (read and digest_of(path) != (size, digest)):
                return False
        except OSError:
            return False
    return True

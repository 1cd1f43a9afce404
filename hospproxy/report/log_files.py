"""Finds the log files below the given paths, and recognises the format of each by its first lines."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final, cast

from attrs import evolve, frozen

_HEAD: Final = 1 << 16
"""Bytes of a file that are read to recognise its format."""

_LINES: Final = 20
"""Lines of these that are looked at, so that a few broken lines at the start do no harm."""

GZIP: Final = b"\x1f\x8b"


class ReportError(Exception):
    """The report cannot be made; the message is one line that says what is wrong and where."""


class Format(Enum):
    """The kinds of log that the report reads; the values are the names that readers see."""

    ALB = "Application Load Balancer"
    CLOUDFRONT = "CloudFront"
    JOURNAL = "audit journal"


@frozen(slots=True)
class LogFile:
    """A log file whose format is known.

    :param fields: of CloudFront: the names of its columns, in the order of the file.
    :param name: what readers see; for a downloaded file, its place in the bucket.
    """

    path: Path
    format: Format
    packed: bool
    fields: tuple[str, ...] = ()
    name: str = ""

    @property
    def shown(self) -> str:
        """The name by which tables and errors call the file."""
        return self.name or str(self.path)


@frozen(slots=True)
class FoundLogs:
    """The files to read, and those in folders that are no logs."""

    files: tuple[LogFile, ...]
    skipped: tuple[str, ...] = ()


def find(paths: Sequence[Path], names: Mapping[Path, str] | None = None) -> FoundLogs:
    """The log files at these paths; folders are searched with everything in them, but no links are followed there.

    :param names: what readers see instead of these paths.
    :raise ReportError: there is none, one cannot be read, or a file that was named has an unknown format.
    """
    names = names or {}
    files: list[LogFile] = []
    skipped: list[str] = []
    for path in paths:
        if path.is_dir():
            for inner in _within(path):
                found = _recognised(inner)
                if found is not None:
                    files.append(evolve(found, name=names.get(inner, "")))
                elif inner.stat().st_size:
                    skipped.append(names.get(inner, str(inner)))
        elif not path.exists():
            raise ReportError(f"{path}: there is no such file or folder")
        elif not path.is_file():
            raise ReportError(f"{path}: is neither a file nor a folder")
        else:
            named = _recognised(path)
            if named is None:
                raise ReportError(
                    f"{path}: unknown format; expected the access log of an Application Load Balancer,"
                    " a CloudFront standard log, or the audit journal"
                )
            files.append(named)
    if not files:
        more = f"; {len(skipped)} other files are no logs, such as {skipped[0]}" if skipped else ""
        places = ", ".join(names.get(path, str(path)) for path in paths)
        raise ReportError(f"no log files in {places}{more}")
    unique = {file.path.resolve(): file for file in files}
    return FoundLogs(tuple(unique.values()), tuple(skipped))


def _within(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise ReportError(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _recognised(path: Path) -> LogFile | None:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        with opened(path, packed=packed) as lines:
            head = lines.read(_HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror or error})") from None
    return recognise(path, head, packed=packed)


def opened(path: Path, *, packed: bool) -> BinaryIO:
    """Open the file for reading its uncompressed bytes."""
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def recognise(path: Path, head: bytes, *, packed: bool) -> LogFile | None:
    """The file with its format, by its first bytes; None if it is no log that is known."""
    for line in head.split(b"\n")[:_LINES]:
        text = line.strip().decode("utf-8", "replace")
        if text.startswith("{") and '"kind":' in text:
            return LogFile(path, Format.JOURNAL, packed)
        if text.startswith("#Fields:"):
            return LogFile(path, Format.CLOUDFRONT, packed, tuple(text.partition(":")[2].split()))
        before = text.partition(' "')[0].split(" ")
        if len(before) == 12 and before[1][4:5] == "-" and before[1].endswith("Z"):
            return LogFile(path, Format.ALB, packed)
    return None

"""Which versions have served from a state folder, the latest last: what ``rollback`` goes back to."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from ..process.folders import read_bounded, write_whole

FILE: Final = "versions.json"
MOST: Final = 20
"""Versions that are remembered."""
_MOST_BYTES: Final = 256 << 10
HERE: Final = metadata.version("hospproxy")
"""The version of this process. Read at its start: the installed files may be replaced under it."""


class RanVersion(msgspec.Struct, frozen=True):
    """A version that has served from this state folder.

    :param python: its interpreter.
    :param since: when it began to serve, seconds since the epoch.
    """

    version: str
    python: str
    since: float


def ran(folder: Path) -> list[RanVersion]:
    """Return what has served from a state folder, the latest last; nothing if that is not known. Blocks."""
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        content = read_bounded(folder / FILE, _MOST_BYTES)
        if content is not None:
            return msgspec.json.decode(content, type=list[RanVersion])
    return []


def note(folder: Path, wall: float) -> None:
    """Note that this process serves. Call it as the owner of the folder. Blocks.

    A restart of the version that served last is not noted.

    :param wall: seconds since the epoch.
    """
    before, here = ran(folder), RanVersion(HERE, sys.executable, wall)
    if before and (before[-1].version, before[-1].python) == (here.version, here.python):
        return
    with suppress(OSError):  # A full disk must not prevent the start; only rollback suffers.
        write_whole(folder / FILE, msgspec.json.encode([*before, here][-MOST:]) + b"\n")


def before(versions: list[RanVersion], python: str, version: str | None = None) -> RanVersion | None:
    """Return the version that served before the present one; None if there was none.

    :param versions: as ``ran`` returns them.
    :param python: interpreter of the present one.
    :param version: the one that is wanted; None for the latest.
    """
    others = (each for each in reversed(versions) if each.python != python)
    return next((each for each in others if version in (None, each.version)), None)


def installed(folder: Path) -> list[str]:
    """Return the names of the installed versions in a folder; see ``is_installed``. Blocks."""
    with suppress(OSError):
        return sorted(each.name for each in folder.iterdir() if is_installed(each))
    return []


def is_installed(folder: Path) -> bool:
    """Whether a folder holds an installed version: an interpreter and twistd in ``bin/``. Blocks."""
    return (folder / "bin" / "python").is_file() and (folder / "bin" / "twistd").is_file()

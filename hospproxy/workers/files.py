"""Names of the files that each worker has for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


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

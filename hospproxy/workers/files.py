"""How files are called that each worker has for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def of_slot(path: Path, slot: int) -> Path:
    """The file of one worker: ``answers.sqlite`` of the first, as of a process alone, ``answers-1.sqlite`` of the next.

    :param slot: from 0.
    """
    return path if slot == 0 else path.with_name(f"{path.stem}-{slot}{path.suffix}")


def beyond(path: Path, workers: int) -> Iterator[Path]:
    """Files of workers that there are no more, since ``workers`` was lowered; SQLite's own beside them too.

    :param path: as of ``of_slot``.
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

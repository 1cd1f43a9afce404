"""Names of the files that each worker has for itself, and removal of those that belong to no worker any more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from twisted.logger import Logger

_log = Logger()


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

"""DuckDB with bounds: memory, threads, disk space, time; no network, no extension that is not built in. Blocks.

Only this module imports DuckDB. It takes 40 ms and 30 MiB, and its native code may crash: call it only in a process
whose end harms nothing.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from ..search.rows import IndexAway

TEMP: Final = "temp"
"""Folder in the index's folder for what does not fit into memory."""

MEMORY: Final = "256MB"
THREADS: Final = 2
TEMP_SIZE: Final = "4GB"
"""Bounds of one connection."""

_AGAIN_S: Final = 0.05


class IndexFailed(IndexAway):
    """The index could not be read or written. The message holds no values of records."""


class SearchLate(IndexFailed):
    """A search took too long and was ended."""


class SegmentUnreadable(IndexFailed):
    """A file of the index is missing or damaged."""


@define(eq=False)
class Engine:
    """One connection to a DuckDB in memory.

    :param folder: of the index.
    :param spills: it may put there what does not fit into memory.
    :ivar expired: the time of ``limited`` is over.
    """

    _folder: Path
    _spills: bool = True
    expired: bool = field(default=False, init=False)
    _connection: Any = field(default=None, init=False)

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows.

        :raise SearchLate: it was interrupted.
        :raise SegmentUnreadable: a file is missing or damaged.
        :raise IndexFailed: it failed otherwise, such as for want of memory.
        """
        import duckdb

        self.check()
        try:
            rows: list[tuple[Any, ...]] = self._opened().execute(statement, list(values)).fetchall()
        except duckdb.InterruptException:
            raise SearchLate("the search took too long") from None
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException) as error:
            raise SegmentUnreadable(_kind(error)) from None
        except duckdb.Error as error:
            raise IndexFailed(_kind(error)) from None
        return rows

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Interrupt what takes longer than this; ``expired`` is true from then on."""
        self.expired = False
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(seconds, over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()

    def check(self) -> None:
        """End work outside DuckDB whose time is over.

        :raise SearchLate: it is.
        """
        if self.expired:
            raise SearchLate("the search took too long")

    def close(self) -> None:
        """End the connection, and remove what it has put on disk."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._spills:
            shutil.rmtree(self._temp(), ignore_errors=True)

    def _watch(self, seconds: float, over: threading.Event) -> None:
        """Interrupt again and again: an interrupt between two statements has no effect."""
        while not over.wait(_AGAIN_S if self.expired else seconds):
            self.expired = True
            if self._connection is not None:
                self._connection.interrupt()

    def _temp(self) -> Path:
        return self._folder / TEMP / str(os.getpid())

    def _opened(self) -> Any:
        if self._connection is None:
            import duckdb

            if self._spills:
                for each in (self._folder, self._folder / TEMP, self._temp()):
                    each.mkdir(mode=0o700, exist_ok=True)
            self._connection = duckdb.connect(
                ":memory:",
                config={
                    "memory_limit": MEMORY,
                    "threads": THREADS,
                    "temp_directory": str(self._temp()) if self._spills else "",
                    "max_temp_directory_size": TEMP_SIZE,
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "enable_external_file_cache": False,
                },
            )
            self._connection.execute("SET lock_configuration = true")
        return self._connection


def _kind(error: Exception) -> str:
    """What kind of failure it was. Its own words may quote values."""
    return f"DuckDB: {type(error).__name__}"


def remove_left(folder: Path) -> None:
    """Remove what processes that were killed have left in the temporary folder."""
    for path in (folder / TEMP).glob("*"):
        if path.name.isdigit() and not _lives(int(path.name)):
            shutil.rmtree(path, ignore_errors=True)


def _lives(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def literal(path: Path) -> str:
    """Quote a path as a string literal of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def listed(paths: Sequence[Path]) -> str:
    """A table function that reads Parquet files as one table."""
    return f"read_parquet([{', '.join(map(literal, paths))}], union_by_name = false)"

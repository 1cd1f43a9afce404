"""Reads log files into one table of DuckDB, a row for each request, and counts the lines that cannot be read.

A line ends at its line feed, whatever quotes it holds: a quote that a client sends cannot swallow the next line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from attrs import define, field, frozen

from .formats import METHODS, NO_METHOD, SHOWN_TEXT, LineReader, reader
from .log_files import LogFile, ReportError, opened

MEMORY: Final = "1GB"
TEMP_SIZE: Final = "40GB"
"""Bounds of DuckDB: memory, and space in the temporary folder for what does not fit."""

LONGEST_LINE: Final = 1 << 20
"""Bytes; a longer line is broken."""

SHOWN: Final = 5
"""Broken lines that a report shows."""

_BATCH: Final = 256
"""Files that are read by one statement at most."""

_GROWTH: Final = 4
"""Each statement reads this many times as many files as the one before: after it, fewer requests are slow."""

_TABLE: Final = f"""CREATE TABLE requests (
    broken BOOLEAN, moment TIMESTAMP, client VARCHAR, method ENUM{tuple(sorted((*METHODS, NO_METHOD)))}, path VARCHAR,
    route VARCHAR, status SMALLINT, failed BOOLEAN, us BIGINT, sent BIGINT)"""

_REJECTED: Final = """FROM rejected_lines JOIN rejected_scans USING (scan_id, file_id)
    WHERE trim(csv_line) <> ''"""
"""What DuckDB cannot take as a line: too long, or not UTF-8. The reserve of a journal ends in blanks."""

Progress = Callable[[int, int], None]
"""Told how many files of how many are read."""


@frozen(slots=True)
class BrokenLine:
    """A line of a log that is not written in the log's format.

    :param line: its number in the file, from 1; 0 if it is not known.
    :param text: its start.
    """

    file: str
    line: int
    text: str


@define(eq=False)
class RequestsTable:
    """The requests of all files that were read.

    :param folder: for links to files whose names DuckDB would take for patterns.
    :param slowest: of so many requests, the slowest, the paths are kept; of some others too.
    :ivar damaged: files that cannot be read to their end; nothing of them is counted.
    """

    _connection: Any
    _folder: Path
    _slowest: int
    damaged: list[str] = field(factory=list, init=False)
    _files: dict[str, LogFile] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Create the empty table in DuckDB."""
        self.rows(_TABLE)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement over ``requests``.

        :raise ReportError: it failed, such as for want of memory or disk space.
        """
        import duckdb

        try:
            found: list[tuple[Any, ...]] = self._connection.execute(statement).fetchall()
        except duckdb.Error as error:
            raise ReportError(_reason(error)) from None
        return found

    def read(self, files: Sequence[LogFile], progress: Progress) -> tuple[int, list[BrokenLine]]:
        """Add the requests of these files; return how many lines are broken, and the first of them.

        :raise ReportError: memory or disk space is used up.
        """
        done = 0
        for batch in _batches(files):
            if not self._read(batch):
                self.damaged += [each.shown for each in batch if len(batch) == 1 or not self._read([each])]
            done += len(batch)
            progress(done, len(files))
        return self._broken()

    def _read(self, batch: Sequence[LogFile]) -> bool:
        """Add a batch as a whole or, if a file of it is damaged, nothing."""
        import duckdb

        run = self._connection.execute
        try:
            run("BEGIN")
            read = reader(batch[0].format, batch[0].fields, self._slow_us())
            run(f"CREATE OR REPLACE TEMP VIEW lines AS {self._lines(batch, read)}")
            run(f"INSERT INTO requests {read.select}")
            run("COMMIT")
        except duckdb.Error as error:
            run("ROLLBACK")
            if isinstance(error, duckdb.OutOfMemoryException) or "No space left" in str(error):
                raise ReportError(_reason(error)) from None
            return False
        return True

    def _slow_us(self) -> int:
        """A request that took less is not among the slowest: so many that took longer are in the table already."""
        found = self.rows(
            f"SELECT us FROM requests WHERE broken = false AND us IS NOT NULL ORDER BY us DESC"
            f" LIMIT 1 OFFSET {self._slowest - 1}"
        )
        return int(found[0][0]) if found else 0

    def _lines(self, batch: Sequence[LogFile], read: LineReader) -> str:
        places = []
        for each in batch:
            place = str(each.path.absolute())
            if set(place) & set("*?[]{}"):
                link = self._folder / f"file-{len(self._files)}"
                link.symlink_to(place)
                place = str(link)
            self._files[place] = each
            places.append("'" + place.replace("'", "''") + "'")
        columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(1, read.columns + 1))
        # Not strict: what follows the last column is passed over. Without quotes, a line is a line.
        return (
            f"SELECT * RENAME (filename AS file) FROM read_csv([{', '.join(places)}], columns = {{{columns}}},"
            f" compression = '{'gzip' if batch[0].packed else 'none'}', delim = {read.delimiter}, quote = '',"
            " escape = '', header = false, auto_detect = false, filename = true, hive_partitioning = false,"
            " strict_mode = false, null_padding = true, ignore_errors = true, store_rejects = true,"
            " rejects_table = 'rejected_lines', rejects_scan = 'rejected_scans', rejects_limit = 0,"
            f" max_line_size = {LONGEST_LINE})"
        )

    def _broken(self) -> tuple[int, list[BrokenLine]]:
        """Take the broken lines out of the table."""
        ((count,),) = self.rows("SELECT count(*) FROM requests WHERE broken")
        order = {place: number for number, place in enumerate(self._files)}
        shown = [
            BrokenLine(self._files[file].shown, number, text)
            for file, number, text in self._numbered(
                self.rows(f"SELECT client, path FROM requests WHERE broken LIMIT {SHOWN}")
            )
        ]
        made = self.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'rejected_lines'")
        if made:
            ((rejected,),) = self.rows(f"SELECT count(DISTINCT (file_path, line)) {_REJECTED}")
            count += rejected
            shown += [
                BrokenLine(self._files[file].shown, number, text)
                for file, number, text in self.rows(
                    f"SELECT file_path, line, left(any_value(csv_line), {SHOWN_TEXT}) {_REJECTED}"
                    f" GROUP BY ALL ORDER BY ALL LIMIT {SHOWN}"
                )
            ]
        self.rows("DELETE FROM requests WHERE broken IS DISTINCT FROM false")
        named = {self._files[place].shown: number for place, number in order.items()}
        shown.sort(key=lambda each: (named[each.file], each.line))
        return count, shown[:SHOWN]

    def _numbered(self, broken: Sequence[tuple[str, str]]) -> Iterator[tuple[str, int, str]]:
        """Find the numbers of lines, by reading the files once more up to these lines."""
        for place, lines in groupby(broken, key=lambda each: each[0]):
            wanted = [text for _, text in lines]
            with opened(self._files[place].path, packed=self._files[place].packed) as file:
                number, begins = 0, True
                while wanted and (piece := file.readline(LONGEST_LINE)):
                    number += begins
                    begins = piece.endswith(b"\n")
                    text = piece[: 4 * SHOWN_TEXT].decode("utf-8", "replace")
                    found = next((each for each in wanted if text.startswith(each)), None)
                    if found is not None:
                        wanted.remove(found)
                        yield place, number, found
            yield from ((place, 0, text) for text in wanted)


def _batches(files: Sequence[LogFile]) -> Iterator[Sequence[LogFile]]:
    """Files that one statement can read: of one format, with the same fields, packed or not."""
    groups: dict[object, list[LogFile]] = {}
    for file in files:
        groups.setdefault((file.format, file.fields, file.packed), []).append(file)
    for group in groups.values():
        start, size = 0, 1
        while start < len(group):
            yield group[start : start + size]
            start, size = start + size, min(size * _GROWTH, _BATCH)


def _reason(error: Exception) -> str:
    return f"the logs cannot be read: DuckDB: {str(error).splitlines()[0][:300]}"


@contextmanager
def requests_table(slowest: int) -> Iterator[RequestsTable]:
    """An empty table; what does not fit into memory goes to a private temporary folder, which is removed at the end.

    Set TMPDIR to choose where.

    :param slowest: how many of the slowest requests have their path in the table.
    """
    import duckdb

    with TemporaryDirectory(prefix="hospproxy-report-") as name:
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": MEMORY,
                "threads": max(1, len(os.sched_getaffinity(0))),
                "temp_directory": str(Path(name, "spilled")),
                "max_temp_directory_size": TEMP_SIZE,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "enable_external_file_cache": False,
            },
        )
        try:
            connection.execute("SET lock_configuration = true")
            yield RequestsTable(connection, Path(name), slowest)
        finally:
            connection.close()

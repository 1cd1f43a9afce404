"""Writes segments: Parquet files of index rows, made of new rows or of other segments. Blocks.

A segment has up to three files: RECORDS, newest first; MEMBERS, the disclosure sets that its journal files
declare, in order of patient; and, if it is large, PATIENTS, the rows with a patient in order of patient. Each file
is synced under a draft name before it gets its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import define, field

from ...process.folders import sync_folder
from .engine import Engine, listed, literal
from .entries import Entry, SetMember
from .manifest import Segment, digest_of

RECORDS: Final = "records.parquet"
MEMBERS: Final = "members.parquet"
PATIENTS: Final = "patients.parquet"
DRAFT: Final = ".new"

BY_PATIENT_ROWS: Final = 200_000
"""Rows from which on a segment also has its rows in order of patient."""

_TYPES: Final = {int: "BIGINT", int | None: "SMALLINT", str: "VARCHAR", str | None: "VARCHAR"}
_OPTIONS: Final = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 40960"
# Newest first: once DuckDB has enough rows, it passes over those that are older. That is ten times as fast.
_ORDERS: Final = {
    RECORDS: "time_ms DESC, stem DESC, seq DESC",
    MEMBERS: "patient, stem, listed",
    PATIENTS: "patient, time_ms DESC, stem DESC, seq DESC",
}


def _columns(of: type[Any]) -> str:
    fields = msgspec.structs.fields(of)
    return "{" + ", ".join(f"'{each.name}': '{_TYPES[each.type]}'" for each in fields) + "}"


@define(eq=False)
class Draft:
    """Rows on their way into a segment: on disk as JSON Lines, which DuckDB reads faster than anything it is handed.

    :param name: of the segment.
    """

    _folder: Path
    name: str
    rows: int = field(default=0, init=False)
    members: int = field(default=0, init=False)
    _files: dict[str, Any] = field(factory=dict, init=False)
    _encoder: msgspec.json.Encoder = field(factory=msgspec.json.Encoder, init=False)

    def add(self, rows: Sequence[bytes], members: Sequence[SetMember]) -> None:
        """Append rows to the files from which a segment is made.

        :param rows: each as a line of JSON with its end; a field that is missing has no value.
        """
        encode = self._encoder.encode
        self._write(RECORDS, rows)
        self._write(MEMBERS, [encode(each) + b"\n" for each in members])
        self.rows += len(rows)
        self.members += len(members)

    def _write(self, ending: str, lines: Iterable[bytes]) -> None:
        if ending not in self._files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._files[ending] = os.fdopen(os.open(self._path(ending), flags, 0o600), "wb", 1 << 16)
        self._files[ending].writelines(lines)

    def _path(self, ending: str) -> Path:
        return self._folder / f"{self.name}.{ending}.json{DRAFT}"

    def written(self, engine: Engine) -> Segment | None:
        """The segment, on disk; None if there are no rows."""
        for file in self._files.values():
            file.close()
        try:
            return self._segment(engine) if self.rows else None
        finally:
            for ending in self._files:
                self._path(ending).unlink(missing_ok=True)

    def _segment(self, engine: Engine) -> Segment | None:
        def source(ending: str, of: type[Any]) -> str:
            return f"read_json({literal(self._path(ending))}, format = 'newline_delimited', columns = {_columns(of)})"

        sources = {RECORDS: source(RECORDS, Entry)}
        if self.members:
            sources[MEMBERS] = source(MEMBERS, SetMember)
        return _written(engine, self._folder, self.name, sources, ())


def rewritten(
    engine: Engine, folder: Path, name: str, segments: Sequence[Segment], without: Iterable[str]
) -> Segment | None:
    """The rows of several segments as one new segment, which is on disk; None if no row is left.

    :param without: files of the journal whose rows are left out.
    """
    gone = sorted(set(without) & {stem for each in segments for stem in each.stems})
    sources = {
        ending: f"(SELECT * FROM {listed([each.path(folder, ending) for each in segments if ending in each.files])}"
        + (" WHERE NOT list_contains(?::VARCHAR[], stem))" if gone else ")")
        for ending in (RECORDS, MEMBERS)
        if any(ending in each.files for each in segments)
    }
    return _written(engine, folder, name, sources, [gone] if gone else [])


def _written(
    engine: Engine, folder: Path, name: str, sources: dict[str, str], values: Sequence[object]
) -> Segment | None:
    made = folder / f"{name}.{RECORDS}"
    _copy(engine, f"SELECT * FROM {sources[RECORDS]}", made, values)
    read = listed([made])
    [[rows, min_ms, max_ms]] = engine.run(f"SELECT count(*), min(time_ms), max(time_ms) FROM {read}")
    if not rows:
        made.unlink()
        return None
    stems = {stem for [stem] in engine.run(f"SELECT DISTINCT stem FROM {read}")}
    endings = [RECORDS]
    if MEMBERS in sources:
        members = folder / f"{name}.{MEMBERS}"
        _copy(engine, f"SELECT DISTINCT * FROM {sources[MEMBERS]}", members, values)
        endings.append(MEMBERS)
        stems |= {stem for [stem] in engine.run(f"SELECT DISTINCT stem FROM {listed([members])}")}
    if rows >= BY_PATIENT_ROWS:
        by_patient = f"SELECT * FROM {read} WHERE patient IS NOT NULL"
        _copy(engine, by_patient, folder / f"{name}.{PATIENTS}", ())
        endings.append(PATIENTS)
    sync_folder(folder)
    files = {ending: digest_of(folder / f"{name}.{ending}") for ending in endings}
    return Segment(name, rows, min_ms, max_ms, sorted(stems), files)


def _copy(engine: Engine, query: str, path: Path, values: Sequence[object]) -> None:
    draft = path.with_name(path.name + DRAFT)
    order = _ORDERS[path.name.partition(".")[2]]
    engine.run(f"COPY ({query} ORDER BY {order}) TO {literal(draft)} ({_OPTIONS})", values)
    descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(path)

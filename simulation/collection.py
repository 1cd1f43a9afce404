"""Collects what is on the machines' disks at the end: audit trails, and writes that are still open in the ledgers."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .history import Due, Indexed, Left, Measured, Recorded
from .receiver import digest


def trail(folder: Path, machine: str, at: float) -> Iterator[Recorded]:
    """Each line of a machine's audit trail, file by file; a line that cannot be parsed has no record."""
    for path in _files(folder):
        raw = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        for number, line in enumerate(raw.split(b"\n"), 1):
            if line.strip(b" \0"):
                record = _record(line)
                yield Recorded(at, machine, path.name, number, record, "" if record is None else digest(line))


def due(folder: Path, machine: str, at: float) -> Iterator[Due]:
    """Each record of a machine's trail that is on its disk now."""
    newest = {_journal(path.name): _stem(path.name) for path in _files(folder)}
    for each in trail(folder, machine, at):
        if each.record is not None and isinstance(each.record.get("seq"), int):
            closed = newest[_journal(each.file)] != _stem(each.file)
            yield Due(at, machine, _stem(each.file), each.record["seq"], each.line, closed)


def left(folder: Path, machine: str, at: float) -> Iterator[Left]:
    """The files of a machine's trail, whole or not."""
    for path in sorted(folder.glob("audit-*.jsonl*")):
        yield Left(at, machine, path.name)


def indexed(folder: Path, machine: str, at: float) -> Iterator[Indexed]:
    """The rows that count: those of the files that the list of a machine's index names."""
    if not (folder / "index.json").exists():
        return
    import duckdb

    with duckdb.connect(":memory:") as connection:
        for segment in json.loads((folder / "index.json").read_text())["segments"]:
            path = folder / f"{segment['name']}.records.parquet"
            rows = connection.execute("SELECT stem, seq FROM read_parquet(?) ORDER BY stem, seq", [str(path)])
            for stem, seq in rows.fetchall():
                yield Indexed(at, machine, stem, seq)


def _files(folder: Path) -> list[Path]:
    """The files with records, each once: while one is packed it exists twice, and its plain form is complete."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("audit-*.jsonl*")):
        if path.suffix in (".jsonl", ".gz"):
            found.setdefault(_stem(path.name), path)
    return list(found.values())


def _stem(name: str) -> str:
    return name.removesuffix(".gz")


def _journal(name: str) -> str:
    return name.split("-")[1]


def _record(line: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


_OPEN = "SELECT kind, state, count(*) FROM entries WHERE owner IS NOT NULL GROUP BY kind, state"


def open_writes(state_dir: Path, machine: str, at: float) -> Iterator[Measured]:
    """Number of writes in a machine's ledgers that are not closed."""
    for path in sorted(state_dir.rglob("ledger*.sqlite")):
        # Read a copy: opening the file itself would write to it.
        with TemporaryDirectory() as folder:
            copy = Path(folder, path.name)
            for suffix in ("", "-wal"):
                if path.with_name(path.name + suffix).exists():
                    shutil.copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
            connection = sqlite3.connect(copy)
            try:
                found = connection.execute(_OPEN).fetchall()
            finally:
                connection.close()
        for kind, state, count in found:
            yield Measured(at, machine, f"end:{kind} entries ({state}) in {path.name}", float(count))

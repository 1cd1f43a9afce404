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

from .history import Measured, Recorded


def trail(folder: Path, machine: str, at: float) -> Iterator[Recorded]:
    """Each line of a machine's audit trail, file by file; a line that cannot be parsed has no record."""
    for path in sorted(folder.glob("*.jsonl*")):
        if path.name.endswith(".tombstone"):
            continue
        raw = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        for number, line in enumerate(raw.split(b"\n"), 1):
            if line.strip(b" \0"):
                yield Recorded(at, machine, path.name, number, _record(line))


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

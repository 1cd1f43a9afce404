"""What is left on the disks of machines at the end: their audit trails, and writes that stand open in their ledgers."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .history import Measured, Recorded


def trail(folder: Path, machine: str, at: float) -> Iterator[Recorded]:
    """Each line of a machine's audit trail, file by file; a line that cannot be read has no record."""
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
    """How many writes a machine's ledgers hold that are not closed."""
    for path in sorted(state_dir.rglob("ledger*.sqlite")):
        # Read only, and without a lock: nobody is there any more.
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        try:
            for kind, state, count in connection.execute(_OPEN).fetchall():
                yield Measured(at, machine, f"end:{kind} entries ({state}) in {path.name}", float(count))
        finally:
            connection.close()

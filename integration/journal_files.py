"""The audit journal's files, as tests read them while closed files are being packed."""

from __future__ import annotations

import gzip
from pathlib import Path


def journal_files(folder: Path, pattern: str = "audit-*") -> list[Path]:
    """One path for each file of the trail. A kill while a file is packed leaves it twice: the packed one is whole.

    :param folder: the audit folder.
    :param pattern: of the names, without their suffixes.
    """
    found = {path.name.removesuffix(".gz"): path for path in sorted(folder.glob(f"{pattern}.jsonl*"))}
    return [
        path for name, path in found.items() if name.endswith(".jsonl") and path.suffix in (".jsonl", ".gz")
    ]


def content(path: Path) -> bytes:
    """What a file holds, uncompressed. A closed file may be packed at any time."""
    if path.suffix == ".jsonl":
        try:
            return path.read_bytes()
        except FileNotFoundError:
            path = path.with_name(path.name + ".gz")
    return gzip.decompress(path.read_bytes())

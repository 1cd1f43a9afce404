"""The formats in a state folder: which are in use, and which ones this version reads.

A version that could not read the folder must not take it over. So the process that owns a folder notes in it which
formats it writes, and a successor compares them with its own before it is prepared.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ..memory.disk_file import FORMAT as CACHE
from ..outward.ledger.format import MAJOR as LEDGER
from ..process.folders import read_bounded, write_whole
from ..record.describe import VERSION as JOURNAL

FILE: Final = "formats.json"
WRITTEN: Final = {"ledger": str(LEDGER), "journal": str(JOURNAL), "cache": str(CACHE)}
"""The formats that this version writes."""
READ: Final = {
    "ledger": frozenset(str(each) for each in range(1, LEDGER + 1)),
    "journal": frozenset(str(each) for each in range(1, JOURNAL + 1)),
    "cache": frozenset({str(CACHE)}),
}
"""The formats that this version reads."""
_MOST_BYTES: Final = 64 << 10


def problems(folder: Path) -> list[str]:
    """Say which formats in a state folder this version cannot read; empty if it can read all. Blocks."""
    try:
        content = read_bounded(folder / FILE, _MOST_BYTES)
        used = {} if content is None else msgspec.json.decode(content, type=dict[str, str])
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        return [f"{folder / FILE} cannot be read: {error}"]
    return [
        f"the {name} in {folder} has format {used[name]}, and this version reads {_list(name)}"
        for name in sorted(used)
        if used[name] not in READ.get(name, frozenset())
    ]


def note(folder: Path) -> None:
    """Note what this version writes. Call it as the owner of the folder. Blocks.

    If it cannot be noted, a later version finds what is on disk by itself.
    """
    with suppress(OSError):
        write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(WRITTEN), indent=1) + b"\n")


def _list(name: str) -> str:
    return ", ".join(sorted(READ.get(name, frozenset()))) or "none of that kind"

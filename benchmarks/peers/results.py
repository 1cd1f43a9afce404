"""What trials have found so far, in one file, so that each can be repeated by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .setups import ROOT

FILE = ROOT / "build" / "bench.json"


def kept(file: Path) -> dict[str, Any]:
    """``machine``, and ``trials`` by name as `page.Trial`; empty before the first trial."""
    if not file.exists():
        return {"machine": "", "trials": {}}
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def keep(
    file: Path,
    name: str,
    rounds: int,
    unit: str,
    found: Mapping[str, Mapping[str, Sequence[float]]],
    machine: str = "",
) -> None:
    """Replace what one trial found.

    :param unit: what one round is, for the line below the table.
    :param machine: what it ran on; empty: as before.
    """
    everything = kept(file)
    everything["trials"][name] = {"rounds": rounds, "unit": unit, "found": found}
    everything["machine"] = machine or everything["machine"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(everything, indent=1))

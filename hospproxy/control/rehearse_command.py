"""``hospproxyctl rehearse``: forecast what changed options would do. It needs no running proxy."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path
from typing import Final

from .messages import ControlError

NAME: Final = "rehearse"
SUMMARY: Final = "replay a past day's journal in a simulation, under the old and the new options"
_MISSING: Final = (
    "rehearse: this installation leaves out the simulation and the stand-in HOSP, as the image does; run it where"
    " hospproxy is installed from its wheel or its sources, on a copy of the journal and the options files"
)


def flags(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "new",
        type=Path,
        nargs="?",
        metavar="NEW.toml",
        help="options file to try (default: only the old one)",
    )
    parser.add_argument("--day", required=True, help="2026-11-28, or 2026-11-28T10:00/2026-11-28T12:00 (UTC)")
    parser.add_argument("--journal", type=Path, metavar="DIR", help="folder of the audit journal")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other failures (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(given: Namespace) -> int:
    """Rehearse; return the exit status.

    :raise ControlError: no options file was named, or this installation has no simulation.
    """
    if given.config is None:
        raise ControlError("rehearse: name the options file of that day with --config, before the command")
    try:
        rehearsal = import_module("simulation.rehearsal.__main__")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("simulation", "hosp_standin"):
            raise
        raise ControlError(_MISSING) from None
    arguments = [str(given.config), *([str(given.new)] if given.new else []), "--day", given.day]
    journal = given.journal or (Path(given.state) / "audit" if given.state else None)
    arguments += ["--seed", str(given.seed), *(["--journal", str(journal)] if journal else [])]
    status: int = rehearsal.main([*arguments, *(["--json"] if given.json else [])])
    return status

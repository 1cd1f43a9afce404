"""``python -m simulation.rehearsal``: forecast what changed options would do, from the journal of a past day."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from attrs import frozen

from hospproxy.checks import load_and_check
from hospproxy.config import NO_FLAGS, ConfigError, Settings
from hospproxy.options.source import source_of

from .day_model import learn
from .figures import Figures, figures_of, table
from .replay import RehearsalFailed, rehearse
from .visits import NoVisits, Visit, day_of, read_visits, shown

WARM_UP_S = 1800.0
"""Requests of so long before the day are replayed too, so that the cache is not empty when it begins."""


@frozen
class Forecast:
    """What was recorded, and what two sets of options led to in the simulation."""

    recorded: Figures
    old: Figures
    new: Figures | None
    most_at_hosp: tuple[int, ...]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m simulation.rehearsal", description=__doc__)
    parser.add_argument("old", type=Path, help="options file that was in force on that day")
    parser.add_argument("new", type=Path, nargs="?", help="options file to try")
    parser.add_argument("--day", required=True, help="2026-11-28, or 2026-11-28T10:00/2026-11-28T12:00 (UTC)")
    parser.add_argument(
        "--journal", type=Path, help="folder of the audit journal (default: that of the old options)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other failures (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args(given)


def forecast(
    visits: list[Visit], since: float, until: float, old: Settings, new: Settings | None, seed: int
) -> Forecast:
    """Rehearse a day under the old and the new options.

    :param visits: by arrival, from some time before the day on.
    :raise RehearsalFailed: a simulation failed.
    """
    model = learn(visits, old.gate.concurrency)
    runs = [rehearse(visits, model, settings, seed) for settings in (old, new) if settings is not None]
    counted = [figures_of(run.visits, since, until) for run in runs]
    return Forecast(
        figures_of(visits, since, until),
        counted[0],
        counted[1] if new is not None else None,
        tuple(run.most_at_hosp for run in runs),
    )


def main(given: list[str] | None = None) -> int:
    """Run the command. Exit status 2: it could not be done."""
    options = arguments(given)
    try:
        since, until = day_of(options.day)
    except ValueError:
        return _refused(
            f"--day {options.day}: expected a date such as 2026-11-28, or two moments with a slash"
        )
    try:
        old, _ = load_and_check(source_of(options.old, NO_FLAGS))
        new = load_and_check(source_of(options.new, NO_FLAGS))[0] if options.new else None
        folder = options.journal or old.audit.directory or old.state_dir / "audit"
        visits = read_visits(folder, since - WARM_UP_S, until)
        found = forecast(visits, since, until, old, new, options.seed)
    except (ConfigError, NoVisits, RehearsalFailed, OSError) as error:
        return _refused(str(error))
    _print(found, since, until, as_json=options.json)
    return 0


def _refused(words: str) -> int:
    print(words, file=sys.stderr)
    return 2


def _print(found: Forecast, since: float, until: float, *, as_json: bool) -> None:
    columns = [("recorded", found.recorded), ("old options", found.old)]
    columns += [("new options", found.new)] if found.new is not None else []
    if as_json:
        print(json.dumps({title: figures.as_json() for title, figures in columns}, indent=2))
        return
    print(f"{shown(since)} to {shown(until)} UTC; the last columns are forecasts\n")
    print(table(columns))
    print(
        "\nThe difference between the first two columns is the error of the forecast: bodies, passwords and"
        " the content of lists are not in the journal, so the rehearsal invents them."
    )


if __name__ == "__main__":
    sys.exit(main())

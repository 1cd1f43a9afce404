"""``python -m simulation --mutants``: plant each mutant in a process of its own, and report how soon it was found."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from attrs import frozen

from . import MUTANTS
from .injection import ROOT, Mutant

_FOUND = re.compile(r"^seed (\d+) \((\w+)\): (.+); repeat:", re.MULTILINE)
_BROKE = re.compile(r"^(\w+\.\w+): ", re.MULTILINE)
_FAILED = re.compile(r"^seed (\d+) \(\w+\): the world itself failed", re.MULTILINE)


@frozen
class Row:
    """Result of one mutant.

    :param rules: broken in the first world that showed it, and not broken without it.
    :param seeds: number of worlds that were run, 0: only its story; None: it was not found.
    """

    mutant: Mutant
    rules: str
    seeds: int | None
    took_s: float


def table(options: argparse.Namespace) -> int:
    """Print the table; return 1 if a mutant was not found."""
    names = [options.mutant] if options.mutant else list(MUTANTS)
    rows = []
    print(
        "| mutant | file | breaks | found by | after seeds | s |\n| --- | --- | --- | --- | --- | --- |",
        flush=True,
    )
    for name in names:
        row = hunt(MUTANTS[name], options.seed or 1, options.jobs)
        rows.append(row)
        after = f"**not in {row.mutant.seeds}**" if row.seeds is None else str(row.seeds or "its story")
        mutant = row.mutant
        print(
            f"| {name} | {mutant.file} | {mutant.breaks} | {row.rules} | {after} | {row.took_s:.0f} |",
            flush=True,
        )
    missed = [row.mutant.name for row in rows if row.seeds is None]
    print(
        f"\n{len(rows) - len(missed)} of {len(rows)} found"
        + (f"; not: {', '.join(missed)}" if missed else "")
    )
    return 1 if missed else 0


def hunt(mutant: Mutant, first: int, jobs: int) -> Row:
    """Run its story, then worlds, until one breaks a promise that the code without the mutant keeps there."""
    began = time.monotonic()
    if mutant.story.exists():
        told = set(_BROKE.findall(_tell(mutant, True))) - set(_BROKE.findall(_tell(mutant, False)))
        if told:
            return Row(mutant, ", ".join(sorted(told)), 0, time.monotonic() - began)
    ran = 0
    for number, seeds in enumerate(_batches(mutant.seeds, jobs)):
        shape = mutant.shapes[number % len(mutant.shapes)]
        said = _run(mutant, True, first + ran, seeds, shape, jobs)
        for seed, rules in sorted(_broken(said).items()):
            new = rules - _broken(_run(mutant, False, seed, 1, shape, 1)).get(seed, set())
            if new:
                return Row(mutant, ", ".join(sorted(new)), seed - first + 1, time.monotonic() - began)
        ran += seeds
    return Row(mutant, "", None, time.monotonic() - began)


def _broken(said: str) -> dict[int, set[str]]:
    """The rules that each violating seed broke; a world that cannot even be run counts as one."""
    found = {int(seed): set(rules.split(", ")) for seed, _, rules in _FOUND.findall(said)}
    return found | {int(seed): {"the world failed"} for seed in _FAILED.findall(said)}


def _batches(seeds: int, jobs: int) -> Iterator[int]:
    """A few seeds first, then more at a time: most mutants are found soon, and starting Python takes a second."""
    size = max(1, jobs)
    while seeds > 0:
        yield min(size, seeds)
        seeds -= size
        size = min(size * 2, 16 * max(1, jobs))


def _tell(mutant: Mutant, planted: bool) -> str:
    return _output(["--plan", str(mutant.story)] + (["--mutant", mutant.name] if planted else []))


def _run(mutant: Mutant, planted: bool, first: int, seeds: int, shape: str, jobs: int) -> str:
    command = ["--seed", str(first), "--seeds", str(seeds)]
    command += ["--shape", shape, "--jobs", str(jobs)]
    if planted:
        command += ["--mutant", mutant.name]
    if mutant.scene:
        command += ["--scene", mutant.scene]
    if mutant.habits:
        command += ["--habits", ",".join(mutant.habits)]
    return _output(command)


def _output(arguments: list[str]) -> str:
    command = [sys.executable, "-m", "simulation", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr[-2000:]

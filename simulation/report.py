"""Prints the command's output: a line for each violating seed, how to repeat it, and the summary."""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from hashlib import sha256
from pathlib import Path

from .runner import Result, summary
from .shrink import shrink
from .story import tell

SHRINK_S = 100.0


class Report:
    """Prints results as they come.

    :param options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._results: list[Result] = []
        self._began = time.monotonic()

    def add(self, result: Result) -> None:
        """Add the result of one more world."""
        self._results.append(result)
        seed, shape = result.plan.seed, result.plan.shape
        if result.failure:
            last = result.failure.strip().splitlines()[-1]
            print(f"seed {seed} ({shape}): the world itself failed: {last}", flush=True)
            if len([each for each in self._results if each.failure]) == 1:
                print(result.failure, flush=True)
        elif self._counted(result):
            rules = ", ".join(sorted(self._counted(result)))
            print(f"seed {seed} ({shape}): {rules}; repeat: {repeat(result, self._options)}", flush=True)
            for violation in result.violations[:3]:
                print(f"    {violation.at:9.3f} {violation.rule}: {violation.text}"[:240], flush=True)
            if self._options.keep:
                keep(result, self._options.keep)
            if self._options.shrink:
                shrunk(result, self._options)

    def end(self) -> int:
        """Print the summary; return the exit status."""
        numbers = summary(self._results)
        took = time.monotonic() - self._began
        print(
            f"{numbers['seeds']} seeds, {numbers['hours']:.1f} simulated hours, {numbers['operations']} operations, "
            f"{numbers['answers']} answers in {took:.0f} s; {numbers['violating']} seeds broke a promise, "
            f"{numbers['failed']} worlds failed"
        )
        print("faults: " + ", ".join(f"{kind} {count}" for kind, count in numbers["faults"].items()))
        digests = sorted((result.plan.seed, result.digest) for result in self._results)
        print(f"digest of all: {sha256(repr(digests).encode()).hexdigest()}")
        if numbers["rules"]:
            print(
                "rules, by seeds: "
                + ", ".join(f"{rule} {count}" for rule, count in sorted(numbers["rules"].items()))
            )
        return 1 if numbers["failed"] or any(self._counted(result) for result in self._results) else 0

    def _counted(self, result: Result) -> set[str]:
        only = self._options.only_rule
        return {rule for rule in result.rules if not only or rule.startswith(only)}


def repeat(result: Result, options: argparse.Namespace) -> str:
    """The command that runs this world again."""
    more = f" --busy {options.busy:g}" if options.busy != 240.0 else ""
    more += f" --habits {options.habits}" if options.habits else ""
    more += f' --scene "{options.scene}"' if options.scene else ""
    more += f" --mutant {options.mutant}" if options.mutant else ""
    shape = f" --shape {options.shape}" if options.shape else ""
    return f"python -m simulation --seed {result.plan.seed} --seeds 1{shape}{more}"


def keep(result: Result, folder: Path) -> Path:
    """Write the plan, its violations and the commit to a file. A seed alone means nothing once the code has changed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed-{result.plan.seed}.json"
    path.write_text(json.dumps(story_of(result), indent=1))
    return path


def story_of(result: Result, name: str = "", rule: str = "") -> dict[str, object]:
    """A plan with its violations, in the stored format."""
    firsts = {each.rule: each for each in reversed(result.violations) if not rule or each.rule == rule}
    texts = [f"{each.rule}: {each.text}" for each in firsts.values()]
    return {
        "name": name,
        "rule": rule,
        "commit": commit(),
        "broke": texts,
        "plan": json.loads(result.fixed.to_json()),
    }


def commit() -> str:
    """The commit of the running code, if known."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def shrunk(result: Result, options: argparse.Namespace) -> None:
    """Shrink a plan for each rule that it breaks; print and store what is left."""
    from tempfile import NamedTemporaryFile

    from .history import History
    from .runner import run

    for rule in sorted(result.rules):
        if options.only_rule and not rule.startswith(options.only_rule):
            continue
        small = shrink(result, rule, SHRINK_S)
        with NamedTemporaryFile(suffix=".jsonl") as file:
            again = run(small.fixed, Path(file.name))
            if rule not in again.rules:
                continue
            history = History.read(Path(file.name))
        print(tell(history, next(each for each in again.violations if each.rule == rule)), "\n", flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            name = f"{rule.replace('.', '-')}-{result.plan.seed}"
            (options.keep / f"{name}.json").write_text(json.dumps(story_of(again, name, rule), indent=1))

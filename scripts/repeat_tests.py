"""Run trial tests many times; report how many runs failed, and with which failures.

    python3 scripts/repeat_tests.py [--times 20] [--python python3.13] [--gc 50] [tests.memory …]

Each run is a new process with its own hash seed. ``--gc`` makes the garbage collector run very often. That finds
tests that leave objects behind which disturb another test.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from environment import ROOT, CannotPrepare

_TRIAL = "import gc, sys; threshold = int(sys.argv.pop(1)); threshold and gc.set_threshold(threshold); \
from twisted.scripts.trial import run; run()"
_FAILED = re.compile(r"^\[(?:FAIL|ERROR)\]\n(.*?)^(tests\.[\w.]+)\n", re.MULTILINE | re.DOTALL)
_RAN = re.compile(r"^Ran (\d+) tests?", re.MULTILINE)


def venv_of(python: str) -> Path:
    """Interpreter of an environment with the test dependencies, created under build/ if it is missing.

    :param python: a command, such as python3.13.
    :raise CannotPrepare: there is no such Python, or its environment cannot be created.
    """
    found = shutil.which(python)
    if found is None:
        raise CannotPrepare(f"{python} is not installed here.")
    version = subprocess.run(
        [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    venv = ROOT / "build" / f"venv-{version}"
    command = [found, str(ROOT / "scripts" / "environment.py"), "--venv", str(venv), "--extras", "test"]
    if subprocess.run(command, check=False).returncode:
        raise CannotPrepare(f"no environment for {python}; what is wrong stands above.")
    return venv / "bin" / "python"


def failures(output: str) -> list[str]:
    """``test: error`` for each failure that trial has printed.

    :param output: output of one run.
    """
    found = []
    for text, name in _FAILED.findall(output):
        lines = [line for line in text.splitlines() if line and not line.startswith(" ")]
        found.append(f"{name}: {lines[-1] if lines else 'no error was printed'}")
    return found


def run_once(python: Path, tests: Sequence[str], collect_after: int, folder: Path) -> list[str]:
    """Run the tests once; return the failures. A run that printed no result counts as one failure.

    :param collect_after: objects after which the garbage collector runs; 0 keeps Python's default.
    :param folder: for trial's files; a failed run leaves its output there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seed = str(random.randrange(1 << 32))  # noqa: S311 - to repeat a run, no secret
    command = [str(python), "-c", _TRIAL, str(collect_after), f"--temp-directory={folder / 'trial'}", *tests]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
    done = subprocess.run(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    ran = _RAN.search(done.stdout)
    if done.returncode == 0 and ran is not None and int(ran[1]) > 0:
        return []
    (folder / "output.txt").write_text(f"PYTHONHASHSEED={seed}\n{done.stdout}")
    return failures(done.stdout) or [f"no result, exit status {done.returncode}"]


def main() -> int:
    """Return 1 if a run failed."""
    parser = argparse.ArgumentParser(description="Run tests again and again.")
    parser.add_argument("tests", nargs="*", default=["tests"])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--gc", type=int, default=0, help="objects between two garbage collections")
    given = parser.parse_args()
    try:
        python = venv_of(given.python)
    except CannotPrepare as problem:
        print(f"✗ {problem}", file=sys.stderr)
        return 1
    failed, what = 0, Counter[str]()
    for number in range(1, given.times + 1):
        began = time.monotonic()
        folder = ROOT / "build" / "repeat" / f"{python.parent.parent.name}-{number}"
        found = run_once(python, given.tests, given.gc, folder)
        failed += bool(found)
        what.update(found)
        result = f"{len(found)} failed, see {folder / 'output.txt'}" if found else "passed"
        print(f"run {number}: {result} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{failed} of {given.times} runs failed")
    for text, times in what.most_common():
        print(f"{times:4} × {text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

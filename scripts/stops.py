"""Measures through how many files and function calls of hospproxy/ a request, an audit record and an option pass.

Run ``python scripts/stops.py`` for this checkout, or name commits to compare them, such as ``python scripts/stops.py
c4906b8 HEAD``; add ``--list`` for the files. The figures are for comparing two commits: nothing fails because of them.

The whole proxy runs in virtual time (``simulation/``), with the scenarios of tests/test_walkthroughs.py. A function
counts as called each time it begins, not each time that its coroutine is resumed. Generated code, such as the
``__init__`` of attrs classes, counts neither as a file nor as a call of a request.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "hospproxy"
RECORD = f"{PACKAGE}/record/"
CONCURRENCY = 947
"""A value of gate.concurrency that no other number in the process is equal to."""
_GENERATED = "<attrs generated methods "
_AFTER_YIELD = 3
"""Bits of the argument of RESUME; they are 0 where a function begins."""


@dataclass(frozen=True)
class Stops:
    """What one journey passes.

    :param functions: how many different ones.
    :param calls: how often functions began; a value's journey has none.
    :param files: in the order in which they are reached.
    """

    journey: str
    functions: int | None
    calls: int | None
    files: tuple[str, ...]


class Counter:
    """Counts function calls by code object, while it is the profiler of this thread.

    :param counts: whether a function that begins now counts.
    """

    def __init__(self, counts: Callable[[], bool] = lambda: True) -> None:
        self._counts = counts
        self._calls: dict[CodeType, int] = {}
        self._counting = True

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Be told of an event, as ``sys.setprofile`` does."""
        if self._counting and event == "call" and begins(frame) and self._counts():
            self._calls[frame.f_code] = self._calls.get(frame.f_code, 0) + 1

    def stop(self) -> None:
        """Count nothing from now on."""
        self._counting = False

    def stops(self, journey: str, root: Path, below: str) -> Stops:
        """The figures of the files whose path, relative to the root, starts with ``below``."""
        found = [(file_of(code, root), count) for code, count in self._calls.items()]
        ours = [(name, count) for name, count in found if name is not None and name.startswith(below)]
        files = tuple(dict.fromkeys(name for name, _ in ours))
        return Stops(journey, len(ours), sum(count for _, count in ours), files)


def begins(frame: FrameType) -> bool:
    """Whether a frame that is entered begins, rather than goes on after a ``yield`` or an ``await``."""
    return not frame.f_code.co_code[frame.f_lasti + 1] & _AFTER_YIELD


def file_of(code: CodeType, root: Path) -> str | None:
    """Path of the code's file, relative to the root; None for generated code, or a file elsewhere."""
    path = Path(code.co_filename)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


class Follower:
    """Finds the files of hospproxy/ through which a number passes, while it is the profiler of this thread.

    A file is on the way if a function of it, or the generated ``__init__`` of a class of it, takes the number as an
    argument, or takes an object that has the number as a field: a section of the options, or a group of rules.
    """

    def __init__(self, number: int, root: Path) -> None:
        self._number = number
        self._root = root
        self._names: dict[CodeType, str | None] = {}
        self.files: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Be told of an event, as ``sys.setprofile`` does."""
        if event == "call":
            code = frame.f_code
            if code not in self._names:
                self._names[code] = self._file_of(code)
            name = self._names[code]
            if name is not None and name not in self.files and any(map(self._bears, _arguments(frame))):
                self.files[name] = None

    def _file_of(self, code: CodeType) -> str | None:
        if code.co_filename.startswith(_GENERATED):
            module = code.co_filename.removeprefix(_GENERATED).rstrip(">").rpartition(".")[0]
            name: str | None = module.replace(".", "/") + ".py"
        else:
            name = file_of(code, self._root)
        return name if name is not None and name.startswith(f"{PACKAGE}/") else None

    def _bears(self, value: object) -> bool:
        fields = getattr(type(value), "__attrs_attrs__", None)
        if fields is not None:
            return any(self._is_it(getattr(value, field.name, None)) for field in fields)
        return self._is_it(value) or (isinstance(value, dict) and any(map(self._is_it, value.values())))

    def _is_it(self, value: object) -> bool:
        return type(value) is int and value == self._number


def _arguments(frame: FrameType) -> Iterator[object]:
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        if name != "self":  # a method of an object that has the number uses it; it does not pass it on
            yield frame.f_locals.get(name)


@contextmanager
def profiled_by(profiler: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    """Profile this thread, which runs the whole simulation."""
    before = sys.getprofile()
    sys.setprofile(profiler)
    try:
        yield
    finally:
        sys.setprofile(before)


def of_scenario(name: str, journeys: Iterable[tuple[str, str]], root: Path) -> list[Stops]:
    """The figures of the first recorded request of a scenario of tests/test_walkthroughs.py.

    Counting ends with the first byte of the response, which waits for its audit record: what sinks do later does not
    count. Nor does the courier, a process of its own that reads the record while the response is on its way.

    :param journeys: for each set of figures its name, and the folder that they are about.
    """
    from twisted.trial.unittest import SynchronousTestCase

    from tests import test_walkthroughs as walkthroughs
    from tests.simulation.worlds import Asking

    def serving() -> bool:
        current = ward.world.current
        # Commits before the courier was a process of its own in the simulation have no such property.
        return not getattr(getattr(current, "process", None), "is_courier", False)

    counter = Counter(serving)

    class Client(Asking):
        def dataReceived(self, data: bytes) -> None:
            counter.stop()
            super().dataReceived(data)

    class CountingWard(walkthroughs.Ward):
        def record(self, request: walkthroughs.Request) -> tuple[int, str]:
            self.pass_time(5.0)  # work left over from the request before does not count
            request.protocol = Client
            with profiled_by(counter):
                return self.ask(request)

    run, plan = walkthroughs.SCENARIOS[name]
    with _folder() as folder:
        ward = CountingWard(folder, plan)
        try:
            run(SynchronousTestCase(), ward)
        finally:
            ward.world.close()
    return [counter.stops(journey, root, below) for journey, below in journeys]


def of_option(root: Path) -> Stops:
    """The files through which gate.concurrency passes, from the options file until a request has been sent to HOSP."""
    from tests.simulation.worlds import OPTIONS, Question, Small

    follower = Follower(CONCURRENCY, root)
    with _folder() as folder, profiled_by(follower):
        small = Small(1, folder)
        try:
            small.machine.start(f"{OPTIONS}[gate]\nconcurrency = {CONCURRENCY}\n")
            asked = small.ask(5.0, Question("GET /patients/7 HTTP/1.1"))
            small.world.run_until(15.0)
        finally:
            small.world.close()
    if asked.status != 200:
        raise RuntimeError(f"the request got {asked.status}, so the option's way is not known")
    return Stops("gate.concurrency, from the options file to its use", None, None, tuple(follower.files))


@contextmanager
def _folder() -> Iterator[Path]:
    from tests.simulation.worlds import folder

    made = folder()
    try:
        yield made
    finally:
        shutil.rmtree(made)


def measure(root: Path) -> list[Stops]:
    """Run every journey in the checkout whose modules this process imports."""
    hit = [
        ("cache hit, until the response", f"{PACKAGE}/"),
        ("its audit record, until it is on disk", RECORD),
    ]
    lost = [("lost POST, until the response", f"{PACKAGE}/")]
    return [*of_scenario("cache-hit", hit, root), *of_scenario("lost-post", lost, root), of_option(root)]


def measured_at(root: Path) -> list[Stops]:
    """Run every journey in another checkout, in a process of its own.

    :raise CalledProcessError: that checkout has no such scenarios.
    """
    command = [sys.executable, str(Path(__file__).resolve()), "--json"]
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    text = run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}).stdout
    return [Stops(**{**each, "files": tuple(each["files"])}) for each in json.loads(text)]


@contextmanager
def checkout_of(commit: str) -> Iterator[Path]:
    """The files of a commit, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="stops-") as folder:
        command = ["git", "archive", "--format=tar", commit]
        packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder).resolve()


def table(columns: Sequence[tuple[str, Sequence[Stops]]]) -> Iterator[str]:
    """The lines of a table in Markdown.

    :param columns: for each checkout its name and its figures, in the same order.
    """
    yield "| journey | figure | " + " | ".join(name for name, _ in columns) + " |"
    yield "| --- | --- |" + " ---: |" * len(columns)
    for rows in zip(*(figures for _, figures in columns), strict=True):
        for figure, values in (
            ("files", [len(row.files) for row in rows]),
            ("functions", [row.functions for row in rows]),
            ("calls", [row.calls for row in rows]),
        ):
            if None not in values:
                yield f"| {rows[0].journey} | {figure} | " + " | ".join(map(str, values)) + " |"


def main(arguments: list[str]) -> int:
    """Print the figures of this checkout, or of commits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("commits", nargs="*", help="default: the files of this checkout")
    parser.add_argument("--list", action="store_true", help="print the files behind each number")
    parser.add_argument("--json", action="store_true", help="print the figures of the working folder as JSON")
    options = parser.parse_args(arguments)
    if options.json:
        root = Path.cwd()
        sys.path.insert(0, str(root))
        print(json.dumps([asdict(each) for each in measure(root)]))
        return 0
    columns = []
    for commit in options.commits:
        with checkout_of(commit) as root:
            columns.append((commit, measured_at(root)))
    columns = columns or [("here", measured_at(ROOT))]
    for line in table(columns):
        print(line)
    for name, figures in columns if options.list else ():
        for stops in figures:
            print(f"\n{name}: {stops.journey}", *(f"    {file}" for file in stops.files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

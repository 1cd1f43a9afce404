"""The journal on a real disk, in a process that is killed and on a disk that is full."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# 64 loops append for ever; a number is printed only once its record counts as kept (or as "lost").
CHILD = """
import os, resource, sys
from itertools import count
from pathlib import Path
from twisted.internet import reactor
from hospproxy.errors import RecordFailed
from hospproxy.record.describe import gap
from hospproxy.record.journal import open_journal
from hospproxy.watch.metrics import NullMeter

folder, limit, loops, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
numbers = count()
journal = open_journal(folder, reactor, lambda: 0.0, NullMeter(), gap(lambda: 0.0))

def say(word, number):
    os.write(1, f"{word} {number}\\n".encode())

def lost(failure, number):
    failure.trap(RecordFailed)
    say("lost", number)

def loop(_=None):
    number = next(numbers)
    if number >= last:
        if number == last:
            journal.close().addCallback(lambda _: reactor.stop())
        return
    done = journal.append({"kind": "request", "n": number, "filler": "x" * 100})
    done.addCallback(lambda _: say("kept", number)).addErrback(lost, number)
    done.addCallback(lambda _: reactor.callLater(0, loop))

journal.start().addCallback(lambda _: [loop() for _ in range(loops)])
reactor.run()
"""


@contextmanager
def child(
    folder: Path, limit: int = 0, loops: int = 64, last: int = 10**9
) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [str(folder), str(limit), str(loops), str(last)]
    with subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def said(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, int]]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith(b"\n"):
            word, number = line.split()
            yield word.decode(), int(number)


def records(path: Path) -> list[dict[str, Any]]:
    """Every whole line; only the last may be torn."""
    whole = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in whole]


def test_what_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    for round_ in range(5):
        acknowledged: set[int] = set()
        folder = tmp_path / str(round_)
        with child(folder) as process:
            for word, number in said(process):
                assert word == "kept"
                acknowledged.add(number)
                if len(acknowledged) == 200 + round_ * 37:
                    process.kill()
        [path] = folder.iterdir()
        kept = [record["n"] for record in records(path)]
        assert kept == list(range(len(kept)))
        assert acknowledged <= set(kept)
        assert len(acknowledged) >= 200


def test_each_start_begins_a_file_and_leaves_the_torn_line_alone(tmp_path: Path) -> None:
    with child(tmp_path, last=10) as process:
        process.wait(30)
    [first] = tmp_path.iterdir()
    with first.open("ab") as torn:
        torn.write(b'{"kind":"req')
    before = first.read_bytes()
    with child(tmp_path, last=10) as process:
        process.wait(30)
    assert len(list(tmp_path.iterdir())) == 2
    assert first.read_bytes() == before
    for path in tmp_path.iterdir():
        assert len(records(path)) == 10


def test_a_full_disk_loses_whole_groups_and_says_so(tmp_path: Path) -> None:
    """A limit on the file's size makes the kernel take a part of a write and refuse the rest, as a full disk does."""
    with child(tmp_path, limit=4096, loops=8, last=100) as process:
        words = list(said(process))
        assert process.wait(30) == 0
    kept = {number for word, number in words if word == "kept"}
    lost = {number for word, number in words if word == "lost"}
    assert kept
    assert lost
    assert kept | lost == set(range(100))
    [path] = tmp_path.iterdir()
    assert path.read_bytes().endswith(b"\n")
    found = [record for record in records(path) if record["kind"] == "request"]
    assert {record["n"] for record in found} == kept

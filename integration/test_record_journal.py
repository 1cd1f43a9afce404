"""The journal on a real disk, in a process that is killed and on a disk that is full."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from .journal_files import content, journal_files

# 64 loops append for ever; a number is printed only once its record counts as kept (or as "lost").
CHILD = """
import os, resource, sys, time
from itertools import count
from pathlib import Path
from twisted.internet import reactor
from hospproxy.http.errors import RecordFailed
from hospproxy.record.describe import gap
from hospproxy.record.trail.build_journal import open_journal
from hospproxy.keys.signing_key import signer_for
from hospproxy.record.trail.current import RotationPlan
from hospproxy.arrival.null_meter import NullMeter

folder, limit, loops, last = Path(sys.argv[1]) / "audit", int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
reserve, by_thread = int(sys.argv[5]), sys.argv[6] == "thread"
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
numbers = count()
journal = open_journal(
    folder, reactor, time.time, NullMeter(), gap(time.time), signer_for(None, folder.parent / "audit.key"),
    plan=RotationPlan(reserve_bytes=reserve), by_thread=by_thread,
)

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


both_ways = pytest.mark.parametrize("commit", ["auto", "thread"])


@contextmanager
def child(
    folder: Path, limit: int = 0, loops: int = 64, last: int = 10**9, reserve: int = 0, commit: str = "auto"
) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [str(folder), str(limit), str(loops), str(last), str(reserve), commit]
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


def files(folder: Path) -> list[Path]:
    """The files of a trail."""
    return journal_files(folder / "audit")


def records(path: Path) -> list[dict[str, Any]]:
    """Every whole line but the journal's own; only the last may be torn."""
    whole = content(path).split(b"\n")[:-1]
    return [record for line in whole if (record := json.loads(line))["kind"] not in ("begin", "digest")]


def verified(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hospproxy.record.commands.cli", "verify", str(folder / "audit")]
    key = ["--public-key", str(folder / "audit.pub")]
    return subprocess.run([*command, *key, *more], capture_output=True, text=True, check=False)


@both_ways
def test_what_was_acknowledged_before_a_kill_is_there_and_the_chain_goes_on(
    tmp_path: Path, commit: str
) -> None:
    for round_ in range(5):
        acknowledged: set[int] = set()
        with child(tmp_path, commit=commit) as process:
            for word, number in said(process):
                assert word == "kept"
                acknowledged.add(number)
                if len(acknowledged) == 200 + round_ * 37:
                    process.kill()
        path = files(tmp_path)[-1]
        kept = [record["n"] for record in records(path)]
        assert kept == list(range(len(kept)))
        assert acknowledged <= set(kept)
        assert len(acknowledged) >= 200
        checked = verified(tmp_path)
        assert checked.returncode == 0, checked.stdout
    assert len(files(tmp_path)) == 5
    seqs = [json.loads(line)["seq"] for path in files(tmp_path) for line in content(path).split(b"\n")[:-1]]
    assert seqs == list(range(1, len(seqs) + 1))


def test_each_start_begins_a_file_and_leaves_the_torn_line_alone(tmp_path: Path) -> None:
    with child(tmp_path, last=10) as process:
        process.wait(30)
    [first] = files(tmp_path)
    with first.open("ab") as torn:
        torn.write(b'{"kind":"req')
    before = first.read_bytes()
    with child(tmp_path, last=10) as process:
        process.wait(30)
    assert len(files(tmp_path)) == 2
    assert content(first) == before
    for path in files(tmp_path):
        assert len(records(path)) == 10
    assert verified(tmp_path).returncode == 0


@both_ways
def test_a_full_disk_loses_whole_groups_and_says_so(tmp_path: Path, commit: str) -> None:
    """A limit on the file's size makes the kernel take a part of a write and refuse the rest, as a full disk does."""
    with child(tmp_path, limit=4096, loops=8, last=100, commit=commit) as process:
        words = list(said(process))
        assert process.wait(30) == 0
    kept = {number for word, number in words if word == "kept"}
    lost = {number for word, number in words if word == "lost"}
    assert kept
    assert lost
    assert kept | lost == set(range(100))
    found = [record for path in files(tmp_path) for record in records(path) if record["kind"] == "request"]
    assert {record["n"] for record in found} == kept
    assert all(content(path).endswith(b"\n") for path in files(tmp_path))
    assert verified(tmp_path).returncode == 0


@both_ways
def test_records_go_to_the_reserve_before_any_is_lost(tmp_path: Path, commit: str) -> None:
    with child(tmp_path, limit=8192, loops=4, last=100, reserve=8192, commit=commit) as process:
        words = list(said(process))
        assert process.wait(30) == 0
    kept = [number for word, number in words if word == "kept"]
    found = [record for path in files(tmp_path) for record in records(path) if record["kind"] == "request"]
    assert {record["n"] for record in found} == set(kept)
    assert len(files(tmp_path)) >= 2
    assert sum(len(content(path)) for path in files(tmp_path)[:2]) > 8192
    checked = verified(tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_the_command_tells_what_was_done_and_what_it_cannot_know(tmp_path: Path) -> None:
    with child(tmp_path, last=10) as process:
        process.wait(30)
    [path] = files(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    anchor = sha256(lines[-1].rstrip()).hexdigest()
    assert verified(tmp_path, "--anchor", anchor).returncode == 0
    path.write_bytes(b"".join(lines[:-3]))
    assert verified(tmp_path).returncode == 0
    assert "Without an anchor, this check cannot know" in verified(tmp_path).stdout
    cut = verified(tmp_path, "--anchor", anchor)
    assert (cut.returncode, anchor in cut.stdout) == (1, True)
    path.write_bytes(b"".join(lines).replace(b'"n":3', b'"n":4'))
    changed = verified(tmp_path)
    assert changed.returncode == 1
    assert "record 5 was changed" in changed.stdout
    assert verified(tmp_path / "nowhere").returncode == 2
    assert verified(tmp_path, "--anchor", "abc").returncode == 2

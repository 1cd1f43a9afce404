"""``python -m benchmarks.report_scale``: time a report on ten million lines of a load balancer's log.

The lines are the same in every run. Their figures are computed beside it, in plain Python and from how the lines were
made; if the report's differ, the exit status is 1. If GoAccess is installed, its counts are compared too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Final, cast

from attrs import frozen

SHAPES: Final = 4096
"""Different lines, apart from their time."""

FILES: Final = 16
A_SECOND: Final = 100
"""Requests in each second of the log."""

START: Final = datetime(2026, 11, 1, tzinfo=UTC)
_PATHS: Final = (
    "/patients/{}",
    "/patients/{}/notes",
    "/notes/{}",
    "/staff/{}",
    "/hospitals",
    "/hospitals/{}/patients",
)
_TAIL: Final = (
    '" "hosp-client/4.2 (Windows NT 10.0; Win64; x64)" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2'
    " arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/hosp/73e2d6bc24d8a067"
    ' "Root=1-58337364-23a8c76965a2ef7629b185e3" "hosp.example" "session-reused" 0 2026-11-01T00:00:00.000000Z'
    ' "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef901234abcd5678ef90 "-" "-" "-"\n'
)


@frozen
class Shape:
    """A line without its time, and what a report must say of it."""

    text: bytes
    route: str
    client: str
    status: int
    us: int


def shapes() -> list[Shape]:
    """The different lines, as a load balancer would write them of a slow and failing HOSP."""
    chance = Random(1)
    made = []
    for _ in range(SHAPES):
        method = chance.choices(("GET", "POST", "DELETE"), (90, 8, 2))[0]
        path = chance.choice(_PATHS)
        client = f"192.0.2.{chance.randrange(250)}"
        status = chance.choices((200, 201, 404, 422, 500, 502, 504), (900, 40, 20, 10, 20, 5, 5))[0]
        ms = int(min(60_000, chance.lognormvariate(6, 1.2)))
        text = (
            f"Z app/hosp/50dc6c495c0c9188 {client}:{chance.randrange(1024, 65536)} 10.0.0.1:80 0.000"
            f" {ms / 1000:.3f} 0.001 {status} {status} {chance.randrange(100, 900)} {chance.randrange(200, 20_000)}"
            f' "{method} https://hosp.example:443{path.format(chance.randrange(100_000))}?page=2 HTTP/1.1{_TAIL}'
        )
        made.append(Shape(text.encode(), f"{method} {path.format('{id}')}", client, status, ms * 1000 + 1000))
    return made


def chosen(number: int) -> int:
    """The shape of a line: all shapes alike, and not in turn."""
    return (number * 2_654_435_761 >> 8) % SHAPES


def write(folder: Path, lines: int, *, packed: bool) -> Counter[int]:
    """Write the log into several files; return how often each shape was used."""
    texts = [shape.text for shape in shapes()]
    used: Counter[int] = Counter()
    each = -(-lines // FILES)
    for number in range(FILES):
        path = folder / f"hosp-{number:02d}.log{'.gz' if packed else ''}"
        with cast("BinaryIO", gzip.open(path, "wb", 1)) if packed else path.open("wb") as file:
            for start in range(number * each, min((number + 1) * each, lines), A_SECOND):
                second = (START + timedelta(seconds=start // A_SECOND)).strftime("%Y-%m-%dT%H:%M:%S")
                begin = f"https {second}.000000".encode()
                picked = [
                    chosen(line) for line in range(start, min(start + A_SECOND, (number + 1) * each, lines))
                ]
                used.update(picked)
                file.write(b"".join([begin + texts[pick] for pick in picked]))
    return used


def expected(used: Counter[int]) -> dict[str, Any]:
    """The figures that a report must have."""
    made = shapes()
    routes: dict[str, Counter[int]] = {}
    durations: Counter[int] = Counter()
    clients: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    failed = refused = 0
    for pick, times in used.items():
        shape = made[pick]
        routes.setdefault(shape.route, Counter())[shape.us] += times
        durations[shape.us] += times
        clients[shape.client] += times
        failed += times * (shape.status >= 500)
        refused += times * (400 <= shape.status < 500)
        if shape.status >= 400:
            errors[f"{shape.route} {shape.status}"] += times
    return {
        "requests": used.total(),
        "failed": failed,
        "refused": refused,
        "durations": percentiles(durations),
        "routes": {name: {"requests": of.total(), **percentiles(of)} for name, of in routes.items()},
        "clients": dict(clients),
        "errors": dict(errors),
    }


def percentiles(counted: Counter[int]) -> dict[str, float]:
    """By nearest rank, in milliseconds.

    :param counted: how often each duration occurs, in microseconds.
    """
    total, ordered = counted.total(), sorted(counted.items())
    found = {"max_ms": ordered[-1][0] / 1000}
    for share in (50, 95, 99):
        rank, passed = math.ceil(share * total / 100), 0
        for us, times in ordered:
            passed += times
            if passed >= rank:
                found[f"p{share}_ms"] = us / 1000
                break
    return found


def reported(report: dict[str, Any]) -> dict[str, Any]:
    """The same figures, from the report."""
    times = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
    return {
        **{name: report["counts"][name] for name in ("requests", "failed", "refused")},
        "durations": report["durations"],
        "routes": {
            f"{row['method']} {row['route']}": {name: row[name] for name in ("requests", *times)}
            for row in report["routes"]
        },
        "clients": {row["client"]: row["requests"] for row in report["clients"]},
        "errors": {
            f"{row['method']} {row['route']} {row['status']}": row["requests"] for row in report["errors"]
        },
    }


def goaccess(folder: Path, used: Counter[int]) -> Iterator[tuple[str, int, int]]:
    """What GoAccess counts, where it has the figure too: (name, its count, the expected one)."""
    made = shapes()
    output = folder / "goaccess.json"
    logs = sorted(folder.glob("hosp-*.log"))
    command = ["goaccess", *map(str, logs), "--log-format=AWSALB", "--no-global-config", "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    told = json.loads(output.read_text())
    yield "requests", told["general"]["valid_requests"], used.total()
    classes: Counter[str] = Counter()
    for pick, times in used.items():
        classes[f"{made[pick].status // 100}xx"] += times
    for row in told["status_codes"]["data"]:
        yield f"status {row['data'][:3]}", row["hits"]["count"], classes[row["data"][:3]]
    clients: Counter[str] = Counter()
    for pick, times in used.items():
        clients[made[pick].client] += times
    for row in told["hosts"]["data"][:10]:
        yield f"client {row['data']}", row["hits"]["count"], clients[row["data"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the output is for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--packed", action="store_true", help="gzip the log, as a balancer delivers it")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        used = write(folder, given.lines, packed=given.packed)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(
            f"{given.lines:,} lines, {size / 1e9:.2f} GB in {FILES} files, made by the same rule in every run"
        )
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "hospproxy.report.cli", str(folder), "--json", "--top", "1000"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        took, used_up = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = used_up.ru_utime + used_up.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"report: {took:.1f} s on {len(os.sched_getaffinity(0))} cores, {processor:.1f} s of processor time,"
            f" {given.lines / took:,.0f} lines a second, peak memory {used_up.ru_maxrss / 1024:.0f} MiB"
        )
        differences = [
            key for key, value in expected(used).items() if reported(json.loads(output))[key] != value
        ]
        print(f"figures that differ from an independent computation: {', '.join(differences) or 'none'}")
        if shutil.which("goaccess") and not given.packed:
            for figure, theirs, ours in goaccess(folder, used):
                print(f"goaccess: {figure}: {theirs:,}{'' if theirs == ours else f', not {ours:,}'}")
                differences += [figure] * (theirs != ours)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

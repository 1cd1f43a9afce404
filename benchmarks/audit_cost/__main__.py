"""``python -m benchmarks.audit_cost``: time cache hits over HTTPS, with and without an audit record for each.

Proxies that differ only in [audit] run side by side and are loaded in turn (A B B A …), so that other load on the
machine affects all of them. Exit status 1 if recording keeps less than its target share of the throughput. README.md
in the parent folder has the legend.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from attrs import define, field, frozen

from ..processes import Proxy, Standin, get, proxy, standin

TARGET = 0.8
MODES: Mapping[str, str] = {
    "off": "enabled = false",
    "commit": 'durability = "commit"',
    "buffered": 'durability = "buffered"',
}
_LASTING = """[cache]
lifetimes = { listHospitals = 86400, listPatients = 86400, getHospital = 86400, getMe = 86400 }
"""
_PEOPLE = 8


@frozen
class Run:
    """One proxy under load for some seconds.

    :param rate: responses a second.
    :param processor_s: processor time of the proxy's process for one request.
    :param times: from request to response, sorted; seconds.
    """

    rate: float
    processor_s: float
    times: Sequence[float]

    def quantile_ms(self, part: float) -> float:
        return self.times[min(int(len(self.times) * part), len(self.times) - 1)] * 1000


@define
class Measured:
    """All runs of one mode."""

    runs: list[Run] = field(factory=list)

    def middle(self, read: str, *more: float) -> float:
        """Median over the runs."""
        values = [getattr(run, read) for run in self.runs]
        return median(value(*more) if callable(value) else value for value in values)


def requests() -> list[str]:
    """The requests that HOSP's users send all day: lists, and one small record."""
    paths = ["/hospitals"]
    for hospital in range(9, 16):
        paths.append(f"/patients?hospital_id={hospital}")
    paths.append("/hospitals/9")
    made = []
    for number in range(1, _PEOPLE + 1):
        pair = base64.b64encode(f"staff{number}:password{number}".encode()).decode()
        for path in paths:
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {pair}\r\n"
            made.append(f"{head}Accept: application/json\r\nUser-Agent: load\r\n\r\n")
    return made


def processor_s(pid: int) -> float:
    """Processor seconds that a process has used, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def loaded(
    target: Proxy,
    given: Mapping[str, object],
    loaders: int,
    processors: Callable[[int], float] = processor_s,
) -> Run:
    """Load one proxy.

    :param processors: processor seconds that all processes of a proxy have used, by the first one's id.
    :raise subprocess.CalledProcessError: a response was wrong.
    """
    port = int(target.url.rpartition(":")[2])
    command = [sys.executable, "-m", "benchmarks.audit_cost.client"]
    before = processors(target.pid)
    clients = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(loaders)
    ]
    said = []
    for client in clients:
        assert client.stdin is not None
        client.stdin.write(json.dumps({**given, "port": port}).encode())
        client.stdin.close()
    for client in clients:
        assert client.stdout is not None
        said.append(client.stdout.read())
        if client.wait():
            raise subprocess.CalledProcessError(client.returncode, command)
    spent = processors(target.pid) - before
    results = [json.loads(each) for each in said]
    times = sorted(time for result in results for time in result["times"])
    rate = sum(len(result["times"]) / result["seconds"] for result in results)
    return Run(rate, spent / len(times), times)


@contextlib.contextmanager
def places(folder: Path, modes: Sequence[str]) -> Iterator[tuple[Standin, dict[str, Proxy]]]:
    """Run a stand-in, and one proxy for each mode."""
    with contextlib.ExitStack() as stack:
        hosp = stack.enter_context(standin(folder, ["--delay", "none", "--places", "0"]))
        targets = {}
        for mode in modes:
            inner = folder / mode
            inner.mkdir()
            options = f"{_LASTING}[audit]\n{MODES[mode]}\n"
            targets[mode] = stack.enter_context(proxy(inner, hosp.url, options))
        yield hosp, targets


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Measured], int]:
    """Load each proxy in turn, forwards and backwards.

    :return: the runs, and how many requests HOSP got meanwhile.
    """
    modes = list(options.modes)
    given = {"requests": requests(), "connections": options.connections // options.loaders}
    found = {mode: Measured() for mode in modes}
    with places(folder, modes) as (hosp, targets):
        for mode in modes:
            loaded(targets[mode], {**given, "seconds": 1.0}, options.loaders)
        before = int(hosp.read("/stats")["requests"])
        for round_ in range(options.rounds):
            for mode in modes if round_ % 2 == 0 else reversed(modes):
                run = loaded(targets[mode], {**given, "seconds": options.seconds}, options.loaders)
                found[mode].runs.append(run)
                print(f"  {mode:9}{run.rate:8,.0f}/s {run.processor_s * 1e6:6.0f} µs", file=sys.stderr)
        for mode in modes:
            check_recorded(targets[mode], mode, sum(len(run.times) for run in found[mode].runs))
        return found, int(hosp.read("/stats")["requests"]) - before


def check_recorded(target: Proxy, mode: str, answers: int) -> None:
    """Check that each proxy did what its mode's name says.

    :raise AssertionError: a proxy recorded less than it served, or recorded although it should not.
    """
    lines = get(target.admin, "/metrics").decode().splitlines()
    kept = sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith('hospproxy_records_total{kind="request"')
    )
    assert kept == 0 if mode == "off" else kept >= answers, f"{mode}: {kept} records of {answers} answers"


def table(found: Mapping[str, Measured]) -> list[str]:
    """One line for each mode; ratios are between runs of the same round."""
    lines = [
        "mode        answers/s   p50 ms   p99 ms   µs a request   throughput kept     processor time kept"
    ]
    for mode, measured in found.items():
        line = (
            f"{mode:<9}{measured.middle('rate'):>12,.0f}{measured.middle('quantile_ms', 0.5):>9.2f}"
            f"{measured.middle('quantile_ms', 0.99):>9.2f}{measured.middle('processor_s') * 1e6:>15.0f}"
        )
        if mode != "off":
            rates = ratios(found["off"], measured, "rate")
            costs = [1 / each for each in ratios(found["off"], measured, "processor_s")]
            line += f"{spread(rates):>18}{spread(costs):>24}"
        lines.append(line)
    return lines


def ratios(one: Measured, other: Measured, read: str) -> list[float]:
    """Ratios between the runs of each round, sorted."""
    return sorted(getattr(b, read) / getattr(a, read) for a, b in zip(one.runs, other.runs, strict=True))


def spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"{median(ordered):.0%} ({ordered[0]:.0%}-{ordered[-1]:.0%})"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    options = _options(arguments)
    print(
        f"{options.connections} connections, {options.loaders} load process(es), {options.rounds} rounds of"
        f" {options.seconds:g} s, {os.cpu_count()} processors, Python {platform.python_version()}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="hospproxy-audit-cost-", dir=options.folder) as folder:
        found, reached = measure(options, Path(folder))
    print("\n".join(table(found)))
    print(f"requests that reached HOSP while it was measured: {reached}")
    kept = median(ratios(found["off"], found["commit"], "rate"))
    print(
        f"commit keeps {kept:.0%} of the throughput; target: {TARGET:.0%}"
        + ("" if kept >= TARGET else "; MISSED")
    )
    return 0 if kept >= TARGET or options.only_tell else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="runs of each (default 8)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one run (default 5)")
    parser.add_argument("--connections", type=int, default=64, help="in all (default 64)")
    parser.add_argument("--loaders", type=int, default=1, help="processes that make the load (default 1)")
    parser.add_argument(
        "--modes", nargs="+", default=list(MODES), choices=list(MODES), help="which to compare"
    )
    parser.add_argument("--folder", type=Path, help="where the state folders go (default: the system's)")
    parser.add_argument("--only-tell", action="store_true", help="exit with 0 whatever was measured")
    parser.add_argument("--short", action="store_true", help="a short form, below half a minute")
    options = parser.parse_args(arguments)
    if options.short:
        options.rounds, options.seconds = 2, 1.5
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

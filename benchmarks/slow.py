"""``python -m benchmarks.slow``: attack with hundreds of slow clients, and measure what normal users notice.

slowhttptest sends slow heads and slow bodies. Slow readers come from it and from this package: slowhttptest cannot
log in, so it reads only short responses. Normal users continue all the while: they read cached responses and, now and
then, uncached ones. Exit status 1 if a target is missed; the short form has no time target. README.md has the legend.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
from attrs import define, field, frozen

from .processes import Proxy, Standin, post_json, proxy, standin
from .slow_readers import Readers

USERS = 8
THINK_S = 0.05
WARM_S = 3.0
MISS_EVERY = 20
MISSES = 600
"""Enough that none is still cached when its turn comes again."""
PATIENTS = 1500
"""Enough that their list, half a megabyte, fits no socket's buffer of a slow reader."""

RSS = "process_resident_memory_bytes"
BUDGET_BYTES = 256 << 20
"""The default of arrival.body_memory_bytes."""

HOSP = ("--delay", "fixed:0.05", "--places", "5")
QUICK_CLOCKS = """
[arrival]
header_timeout_s = 2
body_timeout_s = 4
write_timeout_s = 3
keep_alive_s = 4
"""
CLOCKS = {
    "slow heads": ("header_timeout_s",),
    "slow bodies": ("min_body_rate", "body_timeout_s"),
    "slow readers": ("write_timeout_s",),
}
"""The limits by which the proxy closes slow clients of each kind; keep_alive_s ends slowhttptest's slow readers."""

MOST = 0.95
"""Share of slow clients of each kind that must hit its limit. slowhttptest also sends some bytes that are rejected
earlier.
"""

PROBES = 4
"""Connections that may remain besides those of the users: slowhttptest checks whether the server is there."""


@frozen
class Form:
    """Size of a run.

    :param slow: clients of each kind.
    :param quiet_s: seconds of normal load before each attack.
    :param longest_s: every slow client must be closed within this time.
    :param clocks: options of the proxy.
    :param timed: whether users may be slowed to half the speed at worst.
    """

    slow: int = 200
    rounds: int = 2
    quiet_s: float = 40.0
    longest_s: float = 180.0
    clocks: str = ""
    timed: bool = True


SHORT = Form(slow=30, rounds=1, quiet_s=3.0, longest_s=90.0, clocks=QUICK_CLOCKS, timed=False)
CONNECTION_BYTES = 128 << 10
"""What a connection may cost beyond what the proxy counts for it."""

GROWTH_BYTES = 32 << 20
"""How much larger the process may be after a further attack: memory of one attack is reused by the next."""


@define
class Seen:
    """What normal users saw: seconds by kind, and responses other than 200."""

    hits: list[float] = field(factory=list)
    misses: list[float] = field(factory=list)
    failed: list[str] = field(factory=list)


@define
class Attack:
    """Results of one attack.

    :param ended_s: seconds until the slow clients of each kind were closed, and until none was left.
    """

    ended_s: dict[str, float] = field(factory=dict)
    rss: list[float] = field(factory=list)
    held_peak: float = 0.0
    open_peak: float = 0.0


class Users:
    """Normal users, each with a request about every THINK_S seconds, until cancelled.

    :param target: the proxy that they use.
    """

    def __init__(self, target: Proxy) -> None:
        self._target = target
        self._numbers = itertools.count()
        self.seen = Seen()

    async def work(self) -> None:
        """Run all users."""
        trusted = ssl.create_default_context(cafile=self._target.certificate)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=USERS, ssl=trusted),
            headers={"Authorization": aiohttp.encode_basic_auth("staff1", "password1")},
        ) as session:
            await asyncio.gather(*(self._one(session) for _ in range(USERS)))

    async def _one(self, session: aiohttp.ClientSession) -> None:
        while True:
            number = next(self._numbers)
            missed = number % MISS_EVERY == 0
            path = (
                f"/patients?hospital_id={100_000 + number // MISS_EVERY % MISSES}" if missed else "/hospitals"
            )
            seen, began = self.seen, time.monotonic()
            try:
                async with session.get(self._target.url + path) as answer:
                    await answer.read()
                    if answer.status != 200:
                        seen.failed.append(f"{path}: {answer.status}")
            except aiohttp.ClientError as error:
                seen.failed.append(f"{path}: {error!r}")
            (seen.misses if missed else seen.hits).append(time.monotonic() - began)
            await asyncio.sleep(THINK_S)


@contextlib.contextmanager
def slowhttptest(form: Form, url: str, *kind: str) -> Iterator[None]:
    """Run slow clients of one of slowhttptest's kinds; they end with the context."""
    command = ["slowhttptest", *kind, "-u", url, "-c", str(form.slow), "-r", "25", "-v", "0", "-p", "30"]
    length = ["-l", str(int(form.longest_s) + 60)]
    running = subprocess.Popen([*command, *length], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        if running.poll() not in (None, 0):
            raise RuntimeError(f"slowhttptest ended with {running.returncode}: {command}")
    finally:
        running.terminate()
        running.wait()


@contextlib.contextmanager
def slow_clients(target: Proxy, form: Form) -> Iterator[Readers]:
    """Run all kinds of slow clients at once."""
    kinds = (
        ("/", "-H", "-i", "1"),
        ("/notes", "-B", "-i", "1", "-s", "4096", "-x", "10"),
        ("/", "-X", "-k", "10", "-z", "5", "-n", "5"),
    )
    with contextlib.ExitStack() as stack:
        for path, *kind in kinds:
            stack.enter_context(slowhttptest(form, target.url + path, *kind))
        yield stack.enter_context(Readers(target, form.slow))


async def attack(target: Proxy, form: Form) -> Attack:
    """Run slow clients of all kinds, until the last one is closed or `form.longest_s` is over."""
    before = await asyncio.to_thread(target.metrics)
    found, began = Attack(rss=[before[RSS]]), time.monotonic()
    with slow_clients(target, form) as readers:
        await asyncio.to_thread(readers.begin, "/patients")
        while time.monotonic() - began < form.longest_s and "all" not in found.ended_s:
            await asyncio.to_thread(readers.trickle)
            now = await asyncio.to_thread(target.metrics)
            note(found, form, before, now, time.monotonic() - began)
            await asyncio.sleep(0.5)
    found.rss.append((await asyncio.to_thread(target.metrics))[RSS])
    return found


def note(found: Attack, form: Form, before: dict[str, float], now: dict[str, float], seconds: float) -> None:
    """Take one sample of the proxy's metrics."""
    found.rss.append(now[RSS])
    found.held_peak = max(found.held_peak, now["hospproxy_body_memory_bytes"])
    opened = now["hospproxy_arrival_connections"]
    found.open_peak = max(found.open_peak, opened)
    for kind, limits in CLOCKS.items():
        names = [f'hospproxy_arrival_limits_total{{limit="{limit}"}}' for limit in limits]
        if sum(now.get(name, 0.0) - before.get(name, 0.0) for name in names) >= form.slow * MOST:
            found.ended_s.setdefault(kind, seconds)
    if len(found.ended_s) == len(CLOCKS) and opened <= USERS + PROBES:
        found.ended_s["all"] = seconds


async def run(target: Proxy, form: Form) -> tuple[Seen, Seen, list[Attack]]:
    """Alternate quiet periods and attacks; return what users saw in each, and the attacks' results."""
    users = Users(target)
    working = asyncio.create_task(users.work())
    await asyncio.sleep(WARM_S)
    quiet, during, attacks = Seen(), Seen(), []
    for _ in range(form.rounds):
        users.seen = quiet
        await asyncio.sleep(form.quiet_s)
        users.seen = during
        attacks.append(await attack(target, form))
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return quiet, during, attacks


def fill(hosp: Standin) -> None:
    """Make the list of patients long."""
    for number in range(PATIENTS):
        record = {"name": f"{number} " + "n" * 300, "hospital_id": 1}
        post_json(hosp.control, "/change", {"resource": "patients", "create": record})


def p99(seconds: Sequence[float]) -> float:
    """The 99th percentile; 0 for no values."""
    return sorted(seconds)[int(len(seconds) * 0.99)] if seconds else 0.0


def is_bounded(found: Attack) -> bool:
    """Whether the process took no more than the proxy counts, and that stays within the budget."""
    counted = found.held_peak + found.open_peak * CONNECTION_BYTES
    return max(found.rss) - found.rss[0] <= counted and found.held_peak <= BUDGET_BYTES


def report(form: Form, quiet: Seen, during: Seen, attacks: Sequence[Attack]) -> list[tuple[str, bool]]:
    """Lines of the report, each with whether its target is met."""
    lines: list[tuple[str, bool]] = []
    for kind in ("hits", "misses"):
        calm, pressed = getattr(quiet, kind), getattr(during, kind)
        ratio = p99(pressed) / max(p99(calm), 1e-9)
        words = f"{kind}: p99 {p99(calm) * 1000:.1f} ms quiet ({len(calm)}), {p99(pressed) * 1000:.1f} ms"
        lines.append((f"{words} during ({len(pressed)}), ratio {ratio:.2f}", not form.timed or ratio <= 2))
        lines.append((f"{kind}: some were served during the attacks", bool(pressed)))
    failed = quiet.failed + during.failed
    lines.append((f"not answered with 200: {len(failed)} {failed[:3]}", not failed))
    for each in attacks:
        ended = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in each.ended_s.items())
        lines.append((f"sent away, of {form.slow} each: {ended}", "all" in each.ended_s))
        before, peak, after = (value / 2**20 for value in (each.rss[0], max(each.rss), each.rss[-1]))
        lines.append(
            (
                f"memory {before:.0f} MiB before, {peak:.0f} at the peak, {after:.0f} after; "
                f"{each.held_peak / 2**20:.1f} MiB held for {each.open_peak:.0f} connections",
                is_bounded(each),
            )
        )
    growth = attacks[-1].rss[-1] - attacks[0].rss[-1]
    lines.append(
        (f"growth from the first attack to the last: {growth / 2**20:.0f} MiB", growth <= GROWTH_BYTES)
    )
    return lines


def main(arguments: Sequence[str]) -> int:
    """Run it and print the results; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow", description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="30 of each kind and quick clocks, no target of time"
    )
    form = SHORT if parser.parse_args(arguments).short else Form()
    with (
        tempfile.TemporaryDirectory(prefix="hospproxy-slow-") as folder,
        standin(Path(folder), HOSP) as hosp,
        proxy(Path(folder), hosp.url, form.clocks) as target,
    ):
        fill(hosp)
        lines = report(form, *asyncio.run(run(target, form)))
    for words, met in lines:
        print(words if met else f"{words}  MISSED")
    return 0 if all(met for _, met in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

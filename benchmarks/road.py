"""``make bench-road``: processor time of one request that goes to HOSP and back, in one process and without sockets.

The whole service is assembled, from a client's bytes to HOSP's bytes and back. Client and HOSP are objects in the same
process, and the reactor only keeps the timers. Audit records are described and encoded, and then dropped. So the figure
is what the code between two sockets costs, and repeats far better than one that a system's load has touched.

``--beside`` measures another checkout in turns with this one, in processes of their own.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.epollreactor import EPollReactor

from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.config import load
from hospproxy.keys.secrets import MasterKey
from hospproxy.process.host import REAL
from hospproxy.record.trail.null_journal import NullJournal
from hospproxy.record.trail.record_line import encode_record
from hospproxy.service import assembly

PEOPLE = 8
LISTS = ("/hospitals", *(f"/patients?hospital_id={number}" for number in range(1, 7)), "/hospitals/9")
TRIALS = ("pass", "miss")
"""``pass``: a few lists and records again and again, without a cache. ``miss``: records that no cache holds."""
_OPTIONS = """
[upstream]
url = "http://192.0.2.1:3000"
[[listeners]]
url = "http://192.0.2.2:8080"
plain = "serve"
[cache]
enabled = {caching}
[gate]
concurrency = 64
"""
_TIMES = {"created_at": "2021-03-27T17:33:14.049Z", "updated_at": "2021-03-27T17:33:14.049Z"}
_HOST = "road.example"


class Wire:
    """One end of a connection in memory: what is written arrives at a function in a later turn of the loop."""

    disconnecting = False

    def __init__(self, loop: Loop, arrive: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._arrive = arrive
        self._out: list[bytes] = []
        self._address = IPv4Address("TCP", "192.0.2.7", 1024)

    def write(self, data: bytes) -> None:
        if not self._out:
            self._loop.soon(self._flush)
        self._out.append(data)

    def writeSequence(self, data: Sequence[bytes]) -> None:
        self.write(b"".join(data))

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        self._arrive(data)

    def getPeer(self) -> IPv4Address:
        return self._address

    def getHost(self) -> IPv4Address:
        return self._address

    def __getattr__(self, name: str) -> Any:
        """Everything else that a transport can do makes no difference here."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_: None


class Loop(EPollReactor):
    """A reactor that has timers only. All its connections lead to one HOSP."""

    def __init__(self, hosp: Hosp) -> None:
        super().__init__()
        self._hosp = hosp
        self._turns: deque[Callable[[], None]] = deque()

    def soon(self, turn: Callable[[], None]) -> None:
        """Run a function in a turn of its own."""
        self._turns.append(turn)

    def connectTCP(self, host: str, port: int, factory: Any, *_: object, **__: object) -> Any:
        def connected() -> None:
            protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
            there = Wire(self, lambda data: protocol.dataReceived(data))
            protocol.makeConnection(Wire(self, lambda data: there.write(self._hosp.answer(data))))

        self.soon(connected)
        return Wire(self, lambda _: None)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run turns, and timers that are due, until something is done."""
        while not done():
            if self._turns:
                self._turns.popleft()()
            else:
                self.runUntilCurrent()


class Hosp:
    """Responds to whole requests at once, with what the stand-in would say, and as nginx would frame it."""

    def __init__(self) -> None:
        lists: dict[str, Any] = {"/hospitals": [_hospital(number) for number in range(1, 10)]}
        lists["/hospitals/9"] = _hospital(9)
        for number in range(1, 7):
            path = f"/patients?hospital_id={number}"
            lists[path] = [_patient(100 * number + each, number) for each in range(16 + number)]
        self._known = {path: _framed(document) for path, document in lists.items()}
        self._staff = {
            credentials(number).encode(): _framed(_staff(number)) for number in range(1, PEOPLE + 1)
        }

    def answer(self, request: bytes) -> bytes:
        """The response to one request."""
        path = request.split(b" ", 2)[1].decode()
        if path == "/staffs/me":
            start = request.index(b"Authorization: ") + len(b"Authorization: ")
            return self._staff[request[start : request.index(b"\r\n", start)]]
        return self._known.get(path) or _framed(_patient(int(path.rpartition("/")[2]), 9))


class Client:
    """A client with one kept-alive connection."""

    def __init__(self, loop: Loop, factory: Any) -> None:
        self._loop = loop
        self._protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 1024))
        self._received = b""
        self._protocol.makeConnection(Wire(loop, self._take))

    def _take(self, data: bytes) -> None:
        self._received += data

    def ask(self, request: bytes) -> bytes:
        """Send one request; return the whole response."""
        self._received = b""
        self._protocol.dataReceived(request)
        self._loop.run_until(self._whole)
        return self._received

    def _whole(self) -> bool:
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        return len(body) == int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


class Described(NullJournal):
    """Encodes each record, and drops it."""

    def append(self, record: Mapping[str, Any], disclosure: object = None) -> Deferred[None]:
        encode_record(record)
        return succeed(None)


def _hospital(number: int) -> dict[str, Any]:
    url = f"http://{_HOST}/hospitals/{number}.json"
    return {"id": number, "name": f"Hospital {number}", "hospital_id": None, **_TIMES, "url": url}


def _patient(number: int, hospital: int) -> dict[str, Any]:
    more = {"hospital_id": hospital, "birthdate": "2019-02-03", **_TIMES}
    return {
        "id": number,
        "name": f"Patient {number}",
        **more,
        "url": f"http://{_HOST}/patients/{number}.json",
    }


def _staff(number: int) -> dict[str, Any]:
    more = {"hospital_id": 9, **_TIMES, "url": f"http://{_HOST}/staffs/{number}.json"}
    return {"id": number, "name": f"staff{number}", **more}


def _framed(document: Any) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\n"
        b"Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
        b"Cache-Control: max-age=0, private, must-revalidate\r\nVary: Accept\r\n\r\n%b" % (len(body), body)
    )


def credentials(number: int) -> str:
    """``Authorization`` of one member of staff."""
    return "Basic " + b64encode(f"staff{number}:password{number}".encode()).decode()


def requests(trial: str) -> Iterator[bytes]:
    """The requests of a trial, without end."""
    number = 1000
    while True:
        for staff in range(1, PEOPLE + 1):
            for path in LISTS:
                number += 1
                target = path if trial == "pass" else f"/patients/{number}"
                yield (
                    f"GET {target} HTTP/1.1\r\nHost: {_HOST}\r\nAuthorization: {credentials(staff)}\r\n"
                    "Accept: application/json\r\nUser-Agent: load\r\n\r\n"
                ).encode()


def client_of(trial: str, folder: Path) -> Client:
    """A client of a service that is assembled for a trial.

    :param folder: for the options and the state.
    """
    file = folder / "hospproxy.toml"
    file.write_text(f'state_dir = "{folder}"\n' + _OPTIONS.format(caching=str(trial == "miss").lower()))
    settings, loop = load(file), Loop(Hosp())
    before, assembly.journal_for = assembly.journal_for, lambda *_, **__: Described()  # type: ignore[assignment]
    try:
        host = evolve(REAL, random=random.Random(1).random)
        parts = assembly.assemble(settings, loop, MasterKey(bytes(range(32))), host=host)
    finally:
        assembly.journal_for = before
    context = ListenerContext(handler=parts.chain, clock=loop, limits=settings.arrival, meter=parts.metrics)
    return Client(loop, Http1Factory(context, PlainPolicy(PlainHttpMode.SERVE, 443)))


def spent_us(client: Client, script: Iterator[bytes], many: int) -> float:
    """Microseconds of processor time for each of so many requests."""
    asked = [next(script) for _ in range(many)]
    gc.collect()
    began = time.process_time()
    for each in asked:
        client.ask(each)
    return (time.process_time() - began) / many * 1e6


def once(trial: str, many: int, profile: Path | None = None) -> float:
    """The best of five measurements, after as many requests as one has.

    :param profile: file for a profile of one more.
    :return: microseconds of processor time for each request.
    """
    with tempfile.TemporaryDirectory(prefix="hospproxy-road-") as name:
        client, script = client_of(trial, Path(name)), requests(trial)
        first = client.ask(next(script))
        if not first.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"the service does not respond as it should: {first[:200]!r}")
        spent_us(client, script, many)
        best = min(spent_us(client, script, many) for _ in range(5))
        if profile is not None:
            profiler = cProfile.Profile(time.thread_time)
            profiler.runcall(spent_us, client, script, many)
            profiler.dump_stats(profile)
            pstats.Stats(str(profile)).strip_dirs().sort_stats("tottime").print_stats(60)
        return best


def _in_a_process(tree: Path, trial: str, many: int) -> float:
    command = [sys.executable, str(Path(__file__).resolve()), "--once", trial, "--requests", str(many)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(done.stdout.split()[-1])


def main(arguments: Sequence[str]) -> int:
    """Print microseconds a request, of this checkout and perhaps of another."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.road", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="in one measurement (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="processes for each figure (default 5)")
    parser.add_argument("--trials", nargs="+", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("--once", choices=TRIALS, help="measure one trial in this process")
    parser.add_argument("--profile", type=Path, help="with --once: write a profile there, and print it")
    options = parser.parse_args(arguments)
    if options.once:
        print(once(options.once, options.requests, options.profile))
        return 0
    trees = [Path(__file__).resolve().parent.parent, *([options.beside.resolve()] if options.beside else [])]
    for trial in options.trials:
        found: list[list[float]] = [[] for _ in trees]
        for turn in range(options.rounds):
            for index in sorted(range(len(trees)), reverse=bool(turn % 2)):
                found[index].append(_in_a_process(trees[index], trial, options.requests))
        words = [f"{statistics.median(each):,.0f} µs ({min(each):,.0f}-{max(each):,.0f})" for each in found]
        if len(found) > 1:
            ratio = statistics.median(ours / other for ours, other in zip(*found, strict=True))
            words.append(f"{ratio:.2f} times")
        print(
            f"{trial:5} " + "   beside ".join(words[:2]) + "".join(f"   {each}" for each in words[2:]),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

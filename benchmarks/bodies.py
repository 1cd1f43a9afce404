"""``python -m benchmarks.bodies``: send the worst bodies of every size, and measure how they slow another client.

Each body is sent with and without credentials to a proxy with default options, while another client reads a cached
response. Then the upstream sends large responses. README.md has the legend. Exit status 1 if a body cost more than
allowed; ``--tell`` only reports.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import itertools
import multiprocessing
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from attrs import frozen

from .hostile_upstream import ANSWERS, FRUGAL, SIZE, WRONG, serving
from .processes import Proxy, proxy

MiB = 1 << 20
MOST_DELAY_S = 0.1
MOST_GROWTH = 4.0
SLACK_BYTES = 4 * MiB
"""Memory that a request of any size may cost in addition: the allocator's buffers, a connection."""

SCREEN, NOTES = "/patients/7/screen", "/notes"
RIGHT = "Basic " + base64.b64encode(b"eve:password").decode()
WHO = {"nobody": None, "refused": WRONG, "accepted": RIGHT}

Make = Callable[[int], bytes]


def _images(one: bytes, wanted: int) -> bytes:
    """A screening body with as many copies of one image as fit."""
    return b'{"images":[' + b",".join([one] * max(1, (wanted - 14) // (len(one) + 1))) + b"]}"


BODIES: dict[str, Make] = {
    "numbers": lambda size: _images(b"1", size),
    "empty lists": lambda size: _images(b"[]", size),
    "empty objects": lambda size: _images(b"{}", size),
    "short texts": lambda size: _images(b'"a"', size),
    "brackets": lambda size: b"[" * size,
    "keys": lambda size: b"{" + b",".join(b'"%x":1' % n for n in range(size // 11)) + b"}",
    "escapes": lambda size: _images(b'"' + b'\\"' * ((size - 20) // 2) + b'"', size),
    "one wide character": lambda size: _images(b'"' + b"a" * (size - 30) + "😀".encode() + b'"', size),
    "spaces": lambda size: b'{"images":[' + b" " * (size - 14) + b"]}",
    "digits": lambda size: b'{"images":[0.' + b"1" * (size - 16) + b"]}",
    "1000 images": lambda size: _images(b'"' + b"A" * (size // 1000 - 4) + b'"', size)[: size + 1000],
    "one image": lambda size: _images(b'"' + b"A" * (size - 20) + b'"', size),
}


@frozen
class Cost:
    """Cost of one body.

    :param worst_s: the longest that the other client waited meanwhile.
    :param growth: bytes by which the process was larger at its peak.
    """

    name: str
    who: str
    size: int
    status: str
    seconds: float
    worst_s: float
    growth: int

    @property
    def times(self) -> float:
        """The growth as a multiple of the body's size."""
        return max(0, self.growth - SLACK_BYTES) / self.size

    @property
    def is_too_much(self) -> bool:
        return self.worst_s > MOST_DELAY_S or self.times > MOST_GROWTH

    def row(self) -> str:
        mark = "  <-- too much" if self.is_too_much else ""
        return (
            f"{self.name:<22}{self.who:<10}{self.size / MiB:8.2f}{self.status:>9}{self.seconds:9.2f}"
            f"{self.worst_s * 1e3:10.0f}{self.growth / MiB:10.1f}{self.times:7.1f}{mark}"
        )


HEADING = (
    f"{'body':<22}{'sender':<10}{'MiB':>8}{'answer':>9}{'s':>9}{'worst ms':>10}{'grew MiB':>10}{'times':>7}"
)


def _connection(target: Proxy, timeout_s: float = 120.0) -> http.client.HTTPSConnection:
    trusted = ssl.create_default_context(cafile=str(target.certificate))
    host, port = target.url.removeprefix("https://").split(":")
    return http.client.HTTPSConnection(host, int(port), context=trusted, timeout=timeout_s)


def _read_on(target: Proxy, said: Connection) -> None:
    """The other client: reads cached responses, and reports its longest wait when asked."""
    reader = _connection(target)
    worst = 0.0
    while True:
        began = time.monotonic()
        reader.request("GET", "/hospitals", headers={"Authorization": RIGHT})
        assert reader.getresponse().read()
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.003)
        if said.poll():
            if said.recv() == "end":
                return
            said.send(worst)
            worst = 0.0


@contextlib.contextmanager
def _reader(target: Proxy) -> Iterator[Callable[[], float]]:
    ours, theirs = multiprocessing.Pipe()
    reader = multiprocessing.Process(target=_read_on, args=(target, theirs), daemon=True)
    reader.start()

    def worst() -> float:
        ours.send("worst")
        found: float = ours.recv()
        return found

    try:
        yield worst
    finally:
        ours.send("end")
        reader.join(10)


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} of {pid}")


def _measure(
    target: Proxy, worst: Callable[[], float], name: str, who: str, size: int, send: Callable[[], str]
) -> Cost:
    time.sleep(0.3)
    Path(f"/proc/{target.pid}/clear_refs").write_text("5")  # reset the peak
    before = _memory(target.pid, "VmRSS")
    worst()
    began = time.monotonic()
    status = send()
    seconds = time.monotonic() - began
    time.sleep(0.3)
    return Cost(name, who, size, status, seconds, worst(), _memory(target.pid, "VmHWM") - before)


def _post(target: Proxy, path: str, body: bytes, authorization: str | None) -> str:
    client = _connection(target)
    headers = {"Content-Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    try:
        client.request("POST", path, body, headers)
    except OSError:
        # The proxy refused the request and closed before all of it was sent; its response has arrived all the same.
        if client.sock is None:
            return "closed"
    try:
        return str(client.getresponse().status)
    except (OSError, http.client.HTTPException):
        return "closed"
    finally:
        client.close()


def _get(target: Proxy, path: str) -> str:
    client = _connection(target)
    try:
        client.request("GET", path, headers={"Authorization": RIGHT})
        answer = client.getresponse()
        answer.read()
        return str(answer.status)
    finally:
        client.close()


def requests(target: Proxy, worst: Callable[[], float], sizes: dict[int, str]) -> Iterator[Cost]:
    """Send every body of every size, with and without credentials."""
    for size, path in sizes.items():
        for name, make in BODIES.items():
            body = make(size)
            for who, authorization in WHO.items():
                sent = lambda body=body, a=authorization, p=path: _post(target, p, body, a)  # noqa: E731
                yield _measure(target, worst, name, who, len(body), sent)


def answers(target: Proxy, worst: Callable[[], float], size: int) -> Iterator[Cost]:
    """Have the upstream send every kind of response."""
    for number, (name, make) in enumerate(ANSWERS.items()):
        path = f"/patients/{number + 1}" if name in FRUGAL else f"/patients?hospital_id={number + 1}"
        yield _measure(target, worst, name, "upstream", len(make(size)), lambda path=path: _get(target, path))


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.bodies", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one size of bodies")
    parser.add_argument("--quick", action="store_true", help="bodies of 1 MiB, and answers of 256 KiB")
    parser.add_argument("--tell", action="store_true", help="status 0 whatever was measured")
    arguments = parser.parse_args()
    sizes = {64 * 1024: NOTES, MiB - 1024: NOTES, 16 * MiB - 20_000: SCREEN}
    if arguments.short:
        sizes = {16 * MiB - 20_000: SCREEN}
    size = SIZE
    if arguments.quick:
        sizes, size = {MiB: SCREEN}, MiB // 4
    bad = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(size) as url,
        # This run guesses passwords on purpose, so admission must not slow it down.
        proxy(Path(folder), url, "[admission]\nenabled = false\n") as target,
        _reader(target) as worst,
    ):
        time.sleep(2)
        worst()  # the first read did not come from the cache
        time.sleep(3)
        print(f"nobody else: worst {worst() * 1e3:.0f} ms\n{HEADING}", flush=True)
        for cost in itertools.chain(requests(target, worst, sizes), answers(target, worst, size)):
            print(cost.row(), flush=True)
            bad += cost.is_too_much
    print(f"{bad} too much" if bad else "none was too much")
    return 0 if arguments.tell else int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

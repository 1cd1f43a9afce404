"""What a cache hit costs in the serving process and in the courier: ``python -m benchmarks.courier_cost [CHECKOUT …]``.

Each checkout (by default this one) runs in turn, several rounds, on the same machine: the whole proxy with its default
options in front of a stand-in HOSP. It counts processor time of each process until the index has every record, so the
load of other programs matters little.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HEAD = (
    b"GET /hospitals HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic "
    + base64.b64encode(b"staff1:password1")
    + b"\r\n\r\n"
)
WITHOUT_CHECKS = ssl.create_default_context()
WITHOUT_CHECKS.check_hostname = False
WITHOUT_CHECKS.verify_mode = ssl.CERT_NONE


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_open(port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has opened a port."""
    while socket.socket().connect_ex(("127.0.0.1", port)):
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.02)


@contextmanager
def running(command: Sequence[str], checkout: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with the code of a checkout; end it."""
    with log.open("wb") as out:
        env = {**os.environ, "PYTHONPATH": str(checkout)}
        process = subprocess.Popen(command, cwd=checkout, env=env, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def processes(parent: int) -> dict[str, int]:
    """The serving process, and the courier if there is one."""
    found = {"serving": parent}
    for path in Path("/proc").glob("[1-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found["courier"] = int(path.parent.name)
    return found


def seconds(pid: int) -> dict[str, float]:
    """Processor time of a process so far: its reactor's thread, and all others."""
    found = {"reactor": 0.0, "threads": 0.0}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        name = "reactor" if path.parent.name == str(pid) else "threads"
        found[name] += int(path.read_text().split()[0]) / 1e9
    return found


def memory_mib(pid: int) -> float:
    """Resident memory of a process that no other process shares."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"Private_\w+:\s+(\d+)", text)) / 1024


def ask(connection: socket.socket, count: int) -> None:
    """Send equal requests one after another."""
    for _ in range(count):
        connection.sendall(HEAD)
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        while len(body) < int(length[1]):
            body += connection.recv(65536)


def until_delivered(admin: int) -> None:
    """Wait until the index has every record."""
    url = f"https://127.0.0.1:{admin}/metrics"
    while True:
        with urllib.request.urlopen(url, context=WITHOUT_CHECKS) as answer:
            text = answer.read().decode()
        carried = re.search(r'carried_total\{writer="database"\} (\S+)', text)
        behind = re.search(r'behind_records\{writer="database"\} (\S+)', text)
        if carried and float(carried[1]) and behind and float(behind[1]) == 0:
            return
        time.sleep(0.3)


def measured(checkout: Path, hits: int, folder: Path) -> dict[str, float]:
    """Microseconds a hit, and MiB of memory, by what was measured."""
    upstream, control, port, plain, admin = free_ports(5)
    twistd = [sys.executable, str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile="]
    standin = ["hosp-standin", "--listen", f"127.0.0.1:{upstream}", "--control", f"127.0.0.1:{control}"]
    options = folder / "hospproxy.toml"
    options.write_text(
        f'state_dir = "{folder}/state"\n[upstream]\nurl = "http://127.0.0.1:{upstream}"\n'
        f'[[listeners]]\nurl = "https://127.0.0.1:{port}"\n'
        f'[[listeners]]\nurl = "http://127.0.0.1:{plain}"\nplain = "serve"\n'
        f'[admin]\nurl = "https://127.0.0.1:{admin}"\n[admission]\nenabled = false\n'
    )
    found: dict[str, float] = {}
    hosp = running([*twistd, *standin, "--delay", "none", "--places", "0"], checkout, folder / "hosp.log")
    proxy = running([*twistd, "hospproxy", "--config", str(options)], checkout, folder / "proxy.log")
    with hosp as standing, proxy as service:
        wait_open(upstream, folder / "hosp.log", standing)
        wait_open(admin, folder / "proxy.log", service)
        for kind, at in (("plain", plain), ("tls", port)):
            with socket.create_connection(("127.0.0.1", at)) as line:
                secure = kind == "tls"
                connection = WITHOUT_CHECKS.wrap_socket(line) if secure else line
                ask(connection, 50)
                until_delivered(admin)
                pids = processes(service.pid)
                for name, pid in pids.items():
                    found[f"{name} idle MiB"] = memory_mib(pid)
                before = {name: seconds(pid) for name, pid in pids.items()}
                ask(connection, hits)
                until_delivered(admin)
                for name, pid in pids.items():
                    for thread, spent in seconds(pid).items():
                        found[f"{kind} {name} {thread} µs"] = (spent - before[name][thread]) / hits * 1e6
                connection.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path.cwd()])
    parser.add_argument("--hits", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(given.rounds):
        for checkout in given.checkouts:
            folder = Path(tempfile.mkdtemp(prefix="courier-cost-"))
            try:
                for name, value in measured(checkout.resolve(), given.hits, folder).items():
                    figures[checkout.resolve().name, name].append(value)
            finally:
                shutil.rmtree(folder)
    for (checkout_name, name), values in sorted(figures.items()):
        middle = statistics.median(values)
        print(f"{checkout_name:12} {name:26} {middle:8.1f}  ({min(values):.1f} … {max(values):.1f})")


if __name__ == "__main__":
    main()

"""``make run``: start a stand-in HOSP with hospproxy in front of it on this machine, and print commands to try.

It uses only the standard library: on a fresh machine it first creates the environment for the rest. Both processes
end when this one gets Ctrl-C or SIGTERM, or when one of them exits.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demonstrations import Places, listing
from environment import ROOT, CannotPrepare, prepare, say

READY_S = 60.0
STOP_S = 40.0  # the proxy gives requests in flight 30 s


class Ended(Exception):
    """One of the two processes has exited by itself; the message says which and shows the end of its log."""


def options_file(places: Places) -> str:
    """Content of hospproxy.toml for this demonstration."""
    return f"""# Written by scripts/run.py at every start.
state_dir = "{places.state.absolute()}"
[upstream]
url = "http://127.0.0.1:{places.hosp}"
[[listeners]]
url = "https://127.0.0.1:{places.proxy}"
[admin]
url = "https://127.0.0.1:{places.admin}"
"""


def check_free(places: Places) -> None:
    """Check that no port is taken, so that the error message is clear.

    :raise CannotPrepare: a port is taken.
    """
    for name, port in places.ports().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CannotPrepare(
                    f"Port {port} is not free ({error.strerror}). Stop what listens there, or choose another: "
                    f"make run {name}={port + 1000}"
                ) from None


@contextmanager
def running(name: str, command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in its own process group, so that Ctrl-C reaches only this script, which ends it by its id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                say(f"{name} did not end in {STOP_S:.0f} s and is killed")
                process.kill()
                process.wait()


def wait_ready(
    connect: Callable[[], http.client.HTTPConnection],
    path: str,
    name: str,
    process: subprocess.Popen[bytes],
    log: Path,
) -> None:
    """Poll until the path returns a 200.

    :raise Ended: the process exited first, or it took too long.
    """
    latest = time.monotonic() + READY_S
    while time.monotonic() < latest:
        if process.poll() is not None:
            break
        connection = connect()
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise Ended(f"{name} is not ready; its log ({log}) ends with:\n{log.read_text(errors='replace')[-2000:]}")


def plain(port: int) -> http.client.HTTPConnection:
    """Plain HTTP connection to a port of this machine."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=2)


def secure(port: int) -> http.client.HTTPConnection:
    """TLS connection to a port of this machine, unverified: the certificate was just created and is self-signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)


def serve(python: Path, places: Places, hosp_options: list[str]) -> None:
    """Start both processes, print the commands to try, and wait.

    :raise Ended: one of them has exited by itself.
    """
    state = places.state
    state.mkdir(parents=True, exist_ok=True)
    options = state / "hospproxy.toml"
    options.write_text(options_file(places))
    twistd = [str(python), str(python.with_name("twistd")), "-n", "--pidfile="]
    ports = ["--listen", f"127.0.0.1:{places.hosp}", "--control", f"127.0.0.1:{places.control}"]
    hosp = [*twistd, "hosp-standin", *ports, *hosp_options]
    hosp_log, proxy_log = state / "hosp-standin.log", state / "hospproxy.log"
    with running("the stand-in HOSP", hosp, hosp_log) as first:
        wait_ready(lambda: plain(places.control), "/stats", "the stand-in HOSP", first, hosp_log)
        proxy = [*twistd, "hospproxy", "--config", str(options)]
        with running("hospproxy", proxy, proxy_log) as second:
            wait_ready(lambda: secure(places.admin), "/ready", "hospproxy", second, proxy_log)
            print(listing(places), flush=True)
            while True:
                for name, process, log in (
                    ("the stand-in HOSP", first, hosp_log),
                    ("hospproxy", second, proxy_log),
                ):
                    if process.poll() is not None:
                        raise Ended(f"{name} has ended; see {log}")
                time.sleep(0.25)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A stand-in HOSP and hospproxy in front of it.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--state", type=Path, default=ROOT / ".state")
    parser.add_argument("--port", type=int, default=8443, help="of the proxy (https)")
    parser.add_argument("--admin-port", type=int, default=9443)
    parser.add_argument("--hosp-port", type=int, default=3000)
    parser.add_argument("--control-port", type=int, default=3001)
    parser.add_argument(
        "hosp_options", nargs="*", default=["--time-scale", "0.09", "--places", "5"], help="of the stand-in"
    )
    return parser.parse_args()


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _stop(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def main() -> int:
    """Return 0 after a requested end, 1 after an error."""
    options = _arguments()
    places = Places(
        proxy=options.port,
        admin=options.admin_port,
        hosp=options.hosp_port,
        control=options.control_port,
        state=_short(options.state.absolute()),
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        check_free(places)
        python = prepare(options.venv.absolute())
        serve(python, places, options.hosp_options)
    except KeyboardInterrupt:
        say("ended")
        return 0
    except (CannotPrepare, Ended) as problem:
        print(f"✗ {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

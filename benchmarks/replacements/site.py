"""A proxy that is replaced, with two installed versions that take turns. Both have the code of this environment."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from attrs import frozen

from integration.ports import free_port

from ..machines.redis_server import Store
from ..processes import is_open

START_S = 60.0
VERSIONS = ("1.0", "1.1")
_LEASES = "heartbeat_s = 0.2\ntimeout_s = 0.5\nlease_s = 2.0\nsettle_s = 2.0"


def install(folder: Path, names: Sequence[str] = VERSIONS) -> Path:
    """Make environments that share the packages of this one; return the folder of versions."""
    own = Path(sys.prefix)
    for name in names:
        made = folder / "versions" / name
        (made / "bin").mkdir(parents=True)
        (made / "bin" / "python").symlink_to(sys.executable)
        (made / "lib").symlink_to(own / "lib")
        shutil.copy(Path(sys.executable).with_name("twistd"), made / "bin" / "twistd")
        with suppress(FileNotFoundError):  # not a virtual environment
            shutil.copy(own / "pyvenv.cfg", made / "pyvenv.cfg")
    return folder / "versions"


class Site:
    """The proxy, whichever processes it has at the moment.

    :param workers: how many; from 2 on they have a Redis of their own.
    """

    def __init__(self, folder: Path, upstream: str, options: str = "", workers: int = 1) -> None:
        self.folder = folder
        self.workers = workers
        self.versions = install(folder)
        self.state = folder / "state"
        self.port, self.admin = free_port(), free_port()
        self.log = folder / "hospproxy.log"
        self.most_owners = 0
        self._file = folder / "hospproxy.toml"
        self._redis, redis = None, ""
        if workers > 1:
            self._redis = Store()
            asyncio.run(self._redis.start())
            redis = self._redis.section(_LEASES)
        self._file.write_text(
            f'state_dir = "{self.state}"\nworkers = {workers}\n{options}\n{redis}'
            f'[upstream]\nurl = "{upstream}"\n[admin]\n'
            f'url = "http://127.0.0.1:{self.admin}"\n[[listeners]]\nurl = "https://127.0.0.1:{self.port}"\n'
        )
        self._started: list[subprocess.Popen[bytes]] = []
        self._parents: dict[int, int] = {}
        self._over = Event()
        self._watch = Thread(target=self._count_owners, daemon=True)
        self._watch.start()

    def set_workers(self, number: int) -> None:
        """Edit the options file: the next version that takes over has another number of workers."""
        text = self._file.read_text()
        self._file.write_text(text.replace(f"workers = {self.workers}\n", f"workers = {number}\n"))
        self.workers = number

    def start(self) -> None:
        """Start the first version, as an operator does."""
        home = self.versions / VERSIONS[0] / "bin"
        command = [
            home / "python",
            "-P",
            home / "twistd",
            "-n",
            "--pidfile=",
            "hospproxy",
            "--config",
            self._file,
        ]
        with self.log.open("ab") as log:
            started = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        self._started.append(started)
        self.until(lambda: is_open(self.port) and self.serves(), "the proxy does not start")

    def serves(self) -> bool:
        """Whether a process says that it owns the folder, and lives."""
        with suppress(OSError, ValueError, IndexError):
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state != "Z" and is_open(self.port)
        return False

    @property
    def pid(self) -> int:
        """Of the process that owns the state folder, as its lock names it."""
        for _ in range(100):
            with suppress(IndexError):  # it is just being written
                return int((self.state / "lock").read_text().split()[0])
            time.sleep(0.01)
        raise AssertionError("the lock names no process")

    def until(self, true: Any, problem: str, within_s: float = START_S) -> None:
        """Wait for something.

        :raise AssertionError: it did not come in time.
        """
        latest = time.monotonic() + within_s
        while not true():
            if time.monotonic() > latest:
                raise AssertionError(f"{problem}:\n{self.text()[-3000:]}")
            time.sleep(0.01)

    def text(self) -> str:
        """The log of all processes."""
        return self.log.read_text(errors="replace")

    def replace(self, *, back: bool) -> subprocess.Popen[str]:
        """Begin a replacement by the other version, or a rollback."""
        here = os.readlink(f"/proc/{self.pid}/cwd")  # it lives
        running = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        name = VERSIONS[VERSIONS[0] in Path(running).parts]
        what = ["rollback"] if back else ["upgrade", "--version", name, "--versions", str(self.versions)]
        command = [sys.executable, "-m", "hospproxy.control.cli", "--state", str(self.state), *what]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=here
        )

    def _count_owners(self) -> None:
        """Note how many proxies ever had the ledger open at once: single processes, or supervisors with workers."""
        while not self._over.wait(0.02):
            found = self._owners([each for each in Path("/proc").iterdir() if each.name.isdecimal()])
            # The look takes a while. Who had it before and after the others were seen had it together with them.
            if len(set(found.values())) > 1:
                found = {each: owner for each, owner in found.items() if not self._is_fork(each)}
                found = self._owners(list(found))
            self.most_owners = max(self.most_owners, len(set(found.values())))

    def _owners(self, processes: list[Path]) -> dict[Path, int]:
        """For each process that has the ledger open, the id of its supervisor, or its own."""
        return {each: self._supervisor(each) for each in processes if self._has_ledger(each)}

    def _supervisor(self, process: Path) -> int:
        pid = int(process.name)
        if name_of(pid).startswith("hosp-worker"):
            # Known from when the supervisor lived.
            return self._parents.setdefault(pid, parent_of(pid))
        return pid

    def _is_fork(self, process: Path) -> bool:
        """Whether it is a copy of its parent that has not become its own program yet."""
        with suppress(OSError, IndexError):
            pid, parent = int(process.name), parent_of(int(process.name))
            same = (Path("/proc") / str(parent) / "cmdline").read_bytes() == (
                process / "cmdline"
            ).read_bytes()
            return same and (name_of(pid) == name_of(parent))
        return True

    def _has_ledger(self, process: Path) -> bool:
        ledger = str(self.state / "ledger" / "ledger.sqlite")
        with suppress(OSError):
            if b"hospproxy" not in (process / "cmdline").read_bytes():
                return False
            for each in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(each) == ledger:
                        return True
        return False

    def family(self) -> list[int]:
        """The ids of all processes of this site."""
        found = []
        for each in Path("/proc").iterdir():
            with suppress(OSError):
                if each.name.isdecimal() and str(self._file).encode() in (each / "cmdline").read_bytes():
                    found.append(int(each.name))
        return found

    def stop(self) -> None:
        """End all processes of this site."""
        self._over.set()
        self._watch.join()
        for number, wait_s in ((signal.SIGTERM, 45.0), (signal.SIGKILL, 5.0)):
            for pid in self.family():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            latest = time.monotonic() + wait_s
            while self.family() and time.monotonic() < latest:
                for each in self._started:
                    each.poll()
                time.sleep(0.05)
        if self._redis is not None:
            self._redis.end()

    def processes(self, old: int) -> Processes:
        """Find the processes of a replacement.

        :param old: id of the process that owned the state folder when it began.
        """
        family = self.family()
        children = {each: parent_of(each) for each in family}
        is_worker = {each: name_of(each).startswith("hosp-worker") for each in family}
        new = [each for each in family if children[each] == old and self._takes_over(each)]
        new = [each for each in new if not is_worker[each] and name_of(each) != "hosp-courier"]
        return Processes(
            [each for each in family if children[each] == old and is_worker[each]],
            new,
            [each for each in family if children[each] in new and is_worker[each]],
        )

    def _takes_over(self, pid: int) -> bool:
        with suppress(OSError):
            return b"--successor" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return False


@frozen
class Processes:
    """Of a replacement.

    :param old_workers: of the process that is replaced.
    :param new: the successor.
    :param new_workers: its workers.
    """

    old_workers: list[int]
    new: list[int]
    new_workers: list[int]


def parent_of(pid: int) -> int:
    """The id of a process's parent; 0 if it is gone."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def name_of(pid: int) -> str:
    """The name of a process; "" if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""

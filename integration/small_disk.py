"""A disk that a test can fill up: a tmpfs if it may be mounted, otherwise a limit on the size of files.

The tmpfs is mounted in a namespace of its own, held by a process of the test, so nothing stays mounted however the
test ends. It needs root, or a kernel that allows user namespaces to all users. Otherwise (in most containers) the
proxy gets a limit (RLIMIT_FSIZE): the kernel then refuses to let a file grow, as on a full disk, but space that was
reserved can be written to. A test prints which of the two it uses.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from attrs import define, field

from .processes import Processes, Proxy, Running

SIZE = 2 << 20
_LIMIT = 400 << 10


class SmallDisk(Protocol):
    """Holds a folder for the proxy's journal."""

    within: list[str]

    def described(self) -> str:
        """Which kind of disk it is."""

    def seen(self, folder: Path) -> Path:
        """The path by which the test reaches the proxy's folder."""

    def fill(self, proxy: Proxy) -> None:
        """Leave no space from now on."""

    def free(self, proxy: Proxy) -> None:
        """Make space again."""


@define
class Tmpfs:
    """A tmpfs in a namespace.

    :param holder: the process that holds the namespace.
    """

    folder: Path
    holder: Running
    within: list[str]

    def described(self) -> str:
        return f"a tmpfs of {SIZE} bytes"

    def seen(self, folder: Path) -> Path:
        return Path(f"/proc/{self.holder.pid}/root{folder}")

    def fill(self, proxy: Proxy) -> None:
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass

    def free(self, proxy: Proxy) -> None:
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return self.seen(self.folder) / "filler"


@define
class Limited:
    """A limit on file sizes, if nothing can be mounted."""

    within: list[str] = field(factory=list)

    def described(self) -> str:
        return "no tmpfs, since nothing may be mounted here: a limit on the size of files"

    def seen(self, folder: Path) -> Path:
        return folder

    def fill(self, proxy: Proxy) -> None:
        """Let no file grow beyond the journal's current size."""
        journal = max((proxy.state / "audit").glob("*.jsonl"))
        resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (journal.stat().st_size, resource.RLIM_INFINITY))

    def free(self, proxy: Proxy) -> None:
        resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def small_disk(processes: Processes, folder: Path) -> SmallDisk:
    """Create a folder on a disk that can be filled."""
    mount = _mount_for(folder)
    if mount is None:
        return Limited()
    holder = Running("small disk")
    processes.start(holder, [*mount, "sh", "-c", f"mount {_options(folder)} && echo mounted; exec sleep 600"])
    await holder.until_said("mounted")
    enter = [str(shutil.which("nsenter")), "--target", str(holder.pid), "--mount"]
    if os.geteuid() != 0:
        enter += ["--user", "--preserve-credentials"]
    return Tmpfs(folder, holder, enter)


def _mount_for(folder: Path) -> list[str] | None:
    """The command that runs another in a namespace; None if mounting in one is not allowed."""
    folder.mkdir(parents=True)
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("nsenter") is None:
        return None
    command = [unshare, "--mount"] if os.geteuid() == 0 else [unshare, "--map-root-user", "--mount"]
    tried = [*command, "sh", "-c", f"mount {_options(folder)}"]
    return command if subprocess.run(tried, capture_output=True, check=False).returncode == 0 else None


def _options(folder: Path) -> str:
    return f"-t tmpfs -o size={SIZE},mode=700 none {shlex.quote(str(folder))}"

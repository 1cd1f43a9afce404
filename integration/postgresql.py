"""A real PostgreSQL server for tests: data in a folder of its own, on a free loopback port, ended by the test."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql
from twisted.internet import task

from .ports import free_port

_START_S = 60.0


def _found(command: str) -> str:
    """Path of a command, from PATH or from the folder of Debian's package."""
    places = [*sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True), os.environ.get("PATH", os.defpath)]
    found = shutil.which(command, path=os.pathsep.join(places))
    assert found, f"{command} is not here: apt-get install postgresql"
    return found


def folder_of(command: str) -> Path:
    """The folder of one of PostgreSQL's programs, for PATH."""
    return Path(_found(command)).parent


def _as_whom() -> dict[str, Any]:
    """User for the server's processes: PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class PostgreSQL:
    """One server.

    :param password: of its user; None: it asks for none.
    :param port: on 127.0.0.1; None for a free one. The same over restarts.
    """

    def __init__(self, password: str | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="hospproxy-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._whom = _as_whom()
        if self._whom:
            os.chown(self._folder, self._whom["user"], self._whom["group"])
        how = ["-A", "trust"]
        if password is not None:
            file = self._folder / "password"
            file.write_text(password + "\n")
            if self._whom:
                os.chown(file, self._whom["user"], self._whom["group"])
            how = ["-A", "scram-sha-256", f"--pwfile={file}"]
        subprocess.run(
            [
                _found("initdb"), "-D", str(self._data), "-U", "hospproxy", *how, "-E", "UTF8", "--locale=C",
                "--no-sync", "--wal-segsize=1",
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **self._whom,
        )  # fmt: skip

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def url(self, port: int = 0) -> str:
        """URL of its database.

        :param port: of a relay in front of it.
        """
        return f"postgresql+psycopg://hospproxy@127.0.0.1:{port or self.port}/postgres"

    async def start(self, most_bytes: int | None = None) -> None:
        """Start it and wait until it responds.

        :param most_bytes: limit on the size of a file. PostgreSQL ignores SIGXFSZ, so it sees a full disk.
        """
        from twisted.internet import reactor

        def limit() -> None:
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        self._process = self._begun(limit)
        clock = cast(Any, reactor)
        latest = clock.seconds() + _START_S
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and clock.seconds() < latest, self.log
                await task.deferLater(clock, 0.05, lambda: None)

    def create(self, database: str) -> None:
        """Create a database."""
        with self._connect() as connection:
            connection.autocommit = True
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="hospproxy", password=self._password, dbname="postgres",
            connect_timeout=5,
        )  # fmt: skip

    def _begun(self, limit: Callable[[], None]) -> subprocess.Popen[bytes]:
        with open(self._folder / "log", "ab") as log:
            return subprocess.Popen(
                [
                    _found("postgres"), "-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1",
                    "-k", str(self._folder), "-c", "shared_buffers=16MB", "-c", "max_wal_size=8MB",
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=limit,
                **self._whom,
            )  # fmt: skip

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """End it at once, in the middle of its work."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # "immediate shutdown": as after a crash
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """End it, and delete its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

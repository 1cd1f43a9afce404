"""Runs the services of deploy/compose.yaml as plain processes, on free ports of the loopback address.

Each service gets a folder that stands for its root, in which volumes and mounted files are what the file says. Its
command, environment and health check are those of the file, or of the Dockerfile, with other paths, hosts and ports.
PostgreSQL's image prepares a database by itself; here ``postgresql.py`` does.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from attrs import define, field
from twisted.internet import task

from .dockerfile import Step, parse
from .ports import free_port
from .postgresql import PostgreSQL, folder_of
from .processes import Processes, Running
from .test_fates import until

ROOT = Path(__file__).resolve().parent.parent
BETWEEN_CHECKS_S = 0.5
_PORT = re.compile(r"\b(8443|9443|3000|5432|6379)\b")


def _exec_form(name: str, steps: list[Step]) -> list[str]:
    rest = next(step.rest for step in reversed(steps) if step.name == name)
    return [str(part) for part in yaml.safe_load(rest[rest.index("[") :])]


@define(eq=False)
class Compose:
    """The services of one Compose file.

    :ivar ports: port in the file → port here.
    :ivar running: processes of services that run.
    """

    processes: Processes
    folder: Path
    file: Path = ROOT / "deploy" / "compose.yaml"
    ports: dict[str, int] = field(factory=dict)
    running: dict[str, Running] = field(factory=dict)
    database: PostgreSQL | None = None

    @property
    def services(self) -> dict[str, Any]:
        """The services as the file describes them."""
        found: dict[str, Any] = yaml.safe_load(self.file.read_text())["services"]
        return found

    def volume(self, name: str) -> Path:
        """The folder that stands for a named volume."""
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    async def up(self) -> None:
        """Start each service once those that it depends on are as it demands, until all are healthy."""
        waiting = self.services
        done: set[str] = set()
        while waiting:
            ready = [name for name, each in waiting.items() if done >= set(each.get("depends_on", ()))]
            assert ready, f"services wait for each other: {sorted(waiting)}"
            for name in ready:
                await self._start(name, waiting.pop(name))
                done.add(name)

    async def _start(self, name: str, service: dict[str, Any]) -> None:
        root = self._root(name, service)
        environment = {
            key: self._here(str(value), service, root)
            for key, value in service.get("environment", {}).items()
        }
        if service["image"].startswith("postgres:"):
            await self._postgresql(environment)
        else:
            running = Running(name)
            command = [self._here(part, service, root) for part in self._command(service)]
            self.processes.start(running, command, env={**self._base(), **environment}, cwd=root)
            self.running[name] = running
            demanded = [
                each["depends_on"].get(name) for each in self.services.values() if "depends_on" in each
            ]
            if {"condition": "service_completed_successfully"} in demanded:
                assert await running.exit_status() == 0, running.log
                return
        await self._healthy(name, service, root, environment)

    def _command(self, service: dict[str, Any]) -> list[str]:
        command = service.get("command")
        if command is None:
            return _exec_form("CMD", parse((ROOT / "Dockerfile").read_text()))
        return shlex.split(command) if isinstance(command, str) else [str(part) for part in command]

    async def _postgresql(self, environment: dict[str, str]) -> None:
        password = Path(environment["POSTGRES_PASSWORD_FILE"]).read_text()  # noqa: ASYNC240
        assert environment["POSTGRES_USER"] == "hospproxy"  # as postgresql.py names it
        self.database = PostgreSQL(password, int(environment["PGPORT"]))
        await self.database.start()
        self.database.create(environment["POSTGRES_DB"])

    async def _healthy(
        self, name: str, service: dict[str, Any], root: Path, environment: dict[str, str]
    ) -> None:
        check = service.get("healthcheck", {}).get("test")
        if check is None:
            check = ["CMD", *_exec_form("HEALTHCHECK", parse((ROOT / "Dockerfile").read_text()))]
        kind, *parts = check
        command = [self._here(part.replace("$$", "$"), service, root) for part in parts]
        if kind == "CMD-SHELL":
            command = ["/bin/sh", "-c", *command]

        from twisted.internet import reactor

        async def passes() -> bool:
            if name in self.running:
                assert self.running[name].status is None, self.running[name].log
            env = {**self._base(), **environment}
            run = await self.processes.run(f"health of {name}", *command, env=env, cwd=root)
            if run.status:
                await task.deferLater(cast(Any, reactor), BETWEEN_CHECKS_S, lambda: None)
            return run.status == 0

        await until(passes, f"{name} is healthy", 90.0)

    def _base(self) -> dict[str, str]:
        programs = [Path(sys.executable).parent, folder_of("pg_isready")]
        return {"PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)])}

    def _root(self, name: str, service: dict[str, Any]) -> Path:
        root = self.folder / "roots" / name
        root.mkdir(parents=True)
        for source, target in self._mounts(service):
            path = root / target.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if "/" not in source:
                path.symlink_to(self.volume(source))
            elif source.endswith(".toml"):
                path.write_text(self._here((self.file.parent / source).read_text(), service, root))
            else:
                path.symlink_to((self.file.parent / source).resolve(strict=True))
        return root

    def _mounts(self, service: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for each in service.get("volumes", ()):
            source, target = each.removesuffix(":ro").split(":")
            yield source, target

    def _here(self, text: str, service: dict[str, Any], root: Path) -> str:
        """A text of the file with this machine's paths, hosts and ports."""
        tops = sorted({target.split("/")[1] for _, target in self._mounts(service)})
        if tops:
            below = "|".join(map(re.escape, tops))
            text = re.sub(rf"(?<![\w./-])/(?=(?:{below})(?:/|\b))", f"{root}/", text)
        names = "|".join(self.services)
        text = re.sub(rf"\b(?:{names}):(?=\d)", "127.0.0.1:", text).replace("0.0.0.0", "127.0.0.1")
        return _PORT.sub(lambda found: str(self.ports.setdefault(found[1], free_port())), text)

    def down(self) -> None:
        """Remove the database; ``processes`` ends the rest."""
        if self.database is not None:
            self.database.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

"""Carries out a Dockerfile's steps without Docker, each stage in an empty folder that stands for its root.

Absolute paths of the image are mapped into that folder. All stages are built at the same location and then moved
aside, because virtual environments contain their own path. FROM stands for an empty folder and a Python; everything
else in the base image is taken from this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from attrs import define, field, frozen

# Where an image keeps its own files; /bin, /usr and the like belong to the base image.
_IMAGE_PATH = re.compile(r"(?<![\w./}-])/(?=(?:opt|src|etc|var)(?:/|\b))")
_BLOCK = re.compile(r"\\\n(?:[ \t]*#[^\n]*\n)*")


@frozen
class Step:
    """One instruction and its arguments, on one line."""

    name: str
    rest: str


def parse(text: str) -> list[Step]:
    """The instructions of a Dockerfile; continued lines are joined, comments dropped."""
    lines = [line for line in _BLOCK.sub(" ", text).splitlines() if line.strip() and not line.startswith("#")]
    steps = []
    for line in lines:
        name, _, rest = line.strip().partition(" ")
        steps.append(Step(name.upper(), rest.strip()))
    return steps


def context(source: Path, target: Path) -> None:
    """Copy Docker's build context: .dockerignore excludes everything except what it names with ``!``."""
    rules = [line.strip() for line in (source / ".dockerignore").read_text().splitlines()]
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*", "the first rule leaves everything out"
    leave = shutil.ignore_patterns(*(rule.removeprefix("**/") for rule in rules if rule.startswith("**/")))
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, path, ignore=leave)
        else:
            shutil.copy(source / name, path)


@define
class Image:
    """A built image.

    :param root: the folder that stands for ``/``.
    :param environment: of the image and of nothing else.
    """

    root: Path
    environment: dict[str, str] = field(factory=dict)
    folder: str = "/"
    user: str = ""
    command: list[str] = field(factory=list)
    healthcheck: list[str] = field(factory=list)
    labels: dict[str, str] = field(factory=dict)

    def place(self, text: str) -> str:
        """Text with the image's paths mapped into `root`."""
        return _IMAGE_PATH.sub(lambda _: f"{self.root}/", text)

    def path(self, inside: str) -> Path:
        """Real location of a path of the image."""
        return self.root / (Path(self.folder) / inside).relative_to("/")


@define
class Replay:
    """Carries out the steps.

    :param base: an empty folder; the image is made in it.
    :param sent: the build context.
    :param python_path: PATH of the base image: the folder of its Python first.
    :param arguments: build arguments.
    """

    base: Path
    sent: Path
    python_path: str
    arguments: dict[str, str]
    _image: Image = field(init=False)
    _stages: dict[str, Path] = field(factory=dict, init=False)
    _name: str = field(default="", init=False)

    def build(self, steps: list[Step]) -> Image:
        """Build every stage; the last one is the image."""
        for step in steps:
            getattr(self, f"_do_{step.name.lower()}")(step.rest)
        return self._image

    def _fill(self, text: str) -> str:
        known = {**self._image.environment, **self.arguments}
        return re.sub(r"\$\{?(\w+)\}?", lambda match: known.get(match[1], match[0]), text)

    def _do_from(self, rest: str) -> None:
        if self._name or self._stages:
            aside = self.base / f"stage-{self._name}"
            self._image.root.rename(aside)
            self._stages[self._name] = aside
        self._name = rest.partition(" AS ")[2] or "last"
        root = self.base / "root"
        root.mkdir()
        self._image = Image(root, {"PATH": self.python_path})

    def _do_arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.arguments.setdefault(name, default)

    def _do_env(self, rest: str) -> None:
        for pair in rest.split():
            name, _, value = pair.partition("=")
            self._image.environment[name] = self._image.place(self._fill(value))

    def _do_workdir(self, rest: str) -> None:
        self._image.folder = str(Path(self._image.folder) / rest)
        self._image.path(".").mkdir(parents=True, exist_ok=True)

    def _do_copy(self, rest: str) -> None:
        *sources, target = rest.split()
        origin = self.sent
        if sources[0].startswith("--from="):
            origin = self._stages[sources.pop(0).removeprefix("--from=")]
        goal = self._image.path(target)
        for source in sources:
            found = origin / source.removeprefix("/")
            if found.is_dir():
                shutil.copytree(found, goal, dirs_exist_ok=True, symlinks=True)
            else:
                whole = goal / found.name if target.endswith("/") else goal
                whole.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, whole)

    def _do_run(self, rest: str) -> None:
        script = self._image.place(rest)
        # What a build's shell receives: arguments and environment, and how pip gets packages here.
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        environment = {**pip, "HOME": str(self.base), **self._image.environment, **self.arguments}
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self._image.path("."),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout}"

    def _do_user(self, rest: str) -> None:
        self._image.user = self._fill(rest)

    def _do_volume(self, rest: str) -> None:
        assert self._image.path(rest).is_dir(), f"{rest} is not there, so the volume would be root's"

    def _do_expose(self, rest: str) -> None:
        assert all(port.isdecimal() for port in rest.split())

    def _do_label(self, rest: str) -> None:
        for name, value in re.findall(r'(\S+?)="([^"]*)"', rest):
            self._image.labels[name] = self._fill(value)

    def _do_stopsignal(self, rest: str) -> None:
        assert rest == "SIGTERM"

    def _do_healthcheck(self, rest: str) -> None:
        self._image.healthcheck = self._exec_form(rest.partition("CMD ")[2])

    def _do_cmd(self, rest: str) -> None:
        self._image.command = self._exec_form(rest)

    def _exec_form(self, rest: str) -> list[str]:
        # The shell form would start a shell, which would get SIGTERM instead of twistd.
        return [self._image.place(part) if part.startswith("/") else part for part in json.loads(rest)]

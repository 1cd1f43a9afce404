"""Sets how much of the traffic each server gets: through HAProxy's Runtime API, or by a command of yours."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Protocol

from .plan import Command, Split, filled
from .system import CommandFailed, System


class SplitterFailed(Exception):
    """The traffic could not be divided; the message says why."""


class Splitter(Protocol):
    """Sets weights. Each call may be repeated."""

    def weigh(self, server: str, weight: int) -> None:
        """Set the weight of a server (0 to 256); 0: it gets no new connections."""

    def sessions(self, server: str) -> int | None:
        """Return how many connections a server has; None: that is not known here."""

    def is_up(self, server: str) -> bool:
        """Whether the server passes its health checks, as far as that is known here."""


class HaproxySplitter:
    """HAProxy's Runtime API. The backend must name all servers; canary and baseline with ``weight 0``.

    :param split: names the socket and the backend.
    """

    def __init__(self, split: Split, system: System) -> None:
        self._split = split
        self._system = system

    def weigh(self, server: str, weight: int) -> None:
        name = f"{self._split.backend}/{server}"
        said = self._ask(f"set server {name} weight {weight}").strip()
        if said:
            raise SplitterFailed(f"HAProxy refused to set the weight of {name}: {said}")
        now = self._ask(f"get weight {name}").split()
        if not now or now[0] != str(weight):
            raise SplitterFailed(f"HAProxy says {' '.join(now)!r} for the weight of {name}, not {weight}")

    def sessions(self, server: str) -> int | None:
        found = self._row(server).get("scur", "")
        return int(found) if found.isdecimal() else None

    def is_up(self, server: str) -> bool:
        # "no check": HAProxy takes it for up.
        return self._row(server).get("status", "").startswith(("UP", "no check"))

    def _row(self, server: str) -> Mapping[str, str]:
        lines = [line.removeprefix("# ") for line in self._ask("show stat").splitlines() if line]
        for row in csv.DictReader(lines):
            if (row.get("pxname"), row.get("svname")) == (self._split.backend, server):
                return row
        raise SplitterFailed(f"HAProxy knows no server {self._split.backend}/{server}")

    def _ask(self, command: str) -> str:
        try:
            return self._system.ask_socket(self._split.socket, command, self._split.command.timeout_s)
        except OSError as problem:
            raise SplitterFailed(f"HAProxy's socket {self._split.socket}: {problem}") from None


class CommandSplitter:
    """A command that sets one server's weight, such as one of a cloud's load balancer.

    :param split: holds the command.
    """

    def __init__(self, split: Split, system: System) -> None:
        self._split = split
        self._system = system

    def weigh(self, server: str, weight: int) -> None:
        values = {"server": server, "weight": str(weight)}
        words = tuple(filled(word, values) for word in self._split.command.words)
        try:
            self._system.run(Command(words=words, timeout_s=self._split.command.timeout_s))
        except CommandFailed as problem:
            raise SplitterFailed(str(problem)) from None

    def sessions(self, server: str) -> int | None:  # noqa: ARG002
        return None

    def is_up(self, server: str) -> bool:  # noqa: ARG002
        return True


def splitter_for(split: Split, system: System) -> Splitter | None:
    """Return the splitter of a plan; None: there is none."""
    if split.driver == "haproxy":
        return HaproxySplitter(split, system)
    return CommandSplitter(split, system) if split.driver == "command" else None

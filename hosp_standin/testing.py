"""The stand-in inside a test's own process, on a free port or without a socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from .delays import Delay
from .faults import Faults
from .machine import Machine, Settings
from .server import HospResource
from .service import Place, Standin, build, load_seed


@frozen
class Running:
    """A listening stand-in. Tests use `store`, `journal`, `stats` and `planner` (faults, script) of `hosp` directly."""

    standin: Standin

    @property
    def hosp(self) -> Machine:
        """The machine: records, journal, faults."""
        return self.standin.machine

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self.standin.port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_port(self) -> int | None:
        """Its control port, if it has one."""
        return self.standin.control_port

    def stop(self) -> Deferred[None]:
        """Close everything; fires when the ports are free."""
        return self.standin.stopService()


def settings(**options: Any) -> Settings:
    """Settings for a test: without delay and without a limit of slots by default.

    Arguments:
        options: fields of `Settings`; `delay` and `faults` may be texts as on the command line, `faults` also a dict.
    """
    options.setdefault("places", 0)
    if isinstance(options.get("delay"), str):
        options["delay"] = Delay.parse(options["delay"])
    match options.get("faults"):
        case str() as text:
            options["faults"] = Faults.parse(text)
        case dict() as rates:
            options["faults"] = Faults.from_mapping(rates)
    return Settings(**options)


def start(
    reactor: Any,
    *,
    control: bool = False,
    port: int = 0,
    wall: Callable[[], float] = time.time,
    **options: Any,
) -> Deferred[Running]:
    """Start a stand-in on a free loopback port.

    Arguments:
        reactor: IReactorTime and IReactorTCP.
        control: whether to open a control port too.
        options: as for `settings`.
    """
    place = Place("127.0.0.1", port)
    standin = build(
        reactor, settings(**options), place, Place("127.0.0.1", 0) if control else None, wall, time.monotonic
    )
    standin.startService()
    return succeed(Running(standin))


def in_memory(clock: IReactorTime, *, wall: Callable[[], float] | None = None, **options: Any) -> Machine:
    """A stand-in without sockets. Pass its `root` to treq's RequestTraversalAgent.

    Arguments:
        clock: drives delays and late commits.
        wall: for the records' times; the clock's own if None.
        options: as for `settings`.
    """
    return Machine(load_seed(), settings(**options), clock, wall or clock.seconds)


def root(machine: Machine) -> HospResource:
    """Root IResource of a stand-in in memory."""
    return HospResource(machine)

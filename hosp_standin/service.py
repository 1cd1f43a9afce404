"""The stand-in as a service with sockets: it binds, reports its ports, goes offline and comes back on the same port."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from .control import Control, ControlResource
from .machine import Machine, Settings
from .records import Seed
from .server import HospFactory, QuietSite

_log = Logger()


def load_seed() -> Seed:
    """Load the records that every stand-in starts with."""
    raw = importlib.resources.files(__package__).joinpath("hosp-seed.json").read_bytes()
    seed: Seed = msgspec.json.decode(raw)
    return seed


@frozen
class Place:
    """Where to listen; port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Standin(Service):
    """One stand-in HOSP as a service.

    Arguments:
        reactor: IReactorTime and IReactorTCP.
        machine: handles the requests.
        listen: HOSP's address.
        control: address of its control port, if it has one.
        port_file: written, once both are bound, with ``{"listen": PORT, "control": PORT}``.
    """

    name = "hosp-standin"

    def __init__(
        self,
        reactor: Any,
        machine: Machine,
        listen: Place,
        control: Place | None = None,
        port_file: str | None = None,
    ) -> None:
        self.machine = machine
        self.control = Control(machine, self)
        self.offline = False
        self.port = listen.port
        self.control_port: int | None = None
        self._reactor = reactor
        self._listen = listen
        self._control_place = control
        self._port_file = port_file
        self._factory = HospFactory(machine)
        self._listening: Any = None
        self._control_listening: Any = None
        self._coming_back: IDelayedCall | None = None

    def startService(self) -> None:
        """Bind both ports.

        Raises:
            CannotListenError: one of them is taken.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._open()
        _log.info("hosp-standin listening on http://{place}", place=Place(self._listen.host, self.port))
        if self._control_place is not None:
            site = QuietSite(ControlResource(self.control))  # type: ignore[no-untyped-call]
            site.noisy = False
            place = self._control_place
            self._control_listening = self._reactor.listenTCP(place.port, site, interface=place.host)
            self.control_port = self._control_listening.getHost().port
            _log.info(
                "hosp-standin control on http://{place}", place=Place(place.host, self.control_port or 0)
            )
        if self._port_file:
            _write_whole(self._port_file, json.dumps({"listen": self.port, "control": self.control_port}))

    def stopService(self) -> Deferred[None]:
        """Close the ports, drop every connection, drop late commits."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._cancel_return()
        self.machine.stop()
        closing = [maybeDeferred(port.stopListening) for port in self._ports()]
        self._listening = self._control_listening = None
        self._factory.drop_connections()
        return gatherResults(closing).addCallback(lambda _: None)

    def set_offline(self, offline: bool, for_s: float | None = None) -> None:
        """Go offline (refuse, or accept and reset, as the settings say) or come back on the same port.

        Arguments:
            for_s: come back automatically after so many real seconds.
        """
        self._cancel_return()
        self.offline = offline
        if self.machine.settings.offline_mode == "reset":
            self._factory.resetting = offline
        elif not offline:
            self._open()
        elif self._listening is not None:
            self._listening.stopListening()
            self._listening = None
        if offline:
            self._factory.drop_connections()
            if for_s is not None:
                self._coming_back = self._reactor.callLater(for_s, self._come_back)

    def _come_back(self) -> None:
        self._coming_back = None
        self.set_offline(False)

    def _cancel_return(self) -> None:
        if self._coming_back is not None:
            self._coming_back.cancel()
            self._coming_back = None

    def _open(self) -> None:
        if self._listening is None:
            self._listening = self._reactor.listenTCP(self.port, self._factory, interface=self._listen.host)
            self.port = self._listening.getHost().port

    def _ports(self) -> list[Any]:
        return [port for port in (self._listening, self._control_listening) if port is not None]


def build(
    reactor: Any,
    settings: Settings,
    listen: Place,
    control: Place | None,
    wall: Callable[[], float],
    monotonic: Callable[[], float] | None = None,
    port_file: str | None = None,
) -> Standin:
    """A stand-in with the package's own records, not yet started."""
    machine = Machine(load_seed(), settings, reactor, wall, monotonic)
    return Standin(reactor, machine, listen, control, port_file)


def _write_whole(path: str, text: str) -> None:
    # A reader sees either no file or the whole content.
    half = f"{path}.{os.getpid()}.new"
    with open(half, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(half, path)

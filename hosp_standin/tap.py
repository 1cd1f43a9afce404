"""``twistd hosp-standin``: its options and its service."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import IService
from twisted.python import usage

from .delays import Delay
from .faults import Faults
from .machine import Settings
from .service import Place, build

_T = TypeVar("_T")
_LOOPBACK = ("localhost", "::1")


class Options(usage.Options):
    """Command-line options: see docs/standin.md."""

    synopsis = "[options]"
    longdesc = "A stand-in for HOSP: its resources in memory, as slow and as faulty as you ask for."

    optParameters = [  # noqa: N815, RUF012 - usage.Options' own names
        ["listen", "l", "127.0.0.1:3000", "HOST:PORT of HOSP; port 0 is any free one."],
        ["control", "c", "127.0.0.1:3001", "HOST:PORT of the control port (loopback only), or none."],
        ["seed", "s", "0", "Of all randomness."],
        [
            "delay",
            "d",
            "lognormal:4.4",
            "Answer times in s: none, fixed:S, uniform:A:B, lognormal:MEAN[:MAX].",
        ],
        ["time-scale", "t", "1", "Multiplies answer times, nothing else; 0.09 makes 4.4 s into 0.4 s."],
        ["places", "p", "1", "How many requests are worked on at a time; 0 is without limit."],
        ["queue", "q", "100", "How many may wait for a place; beyond it 503."],
        ["faults", "f", "", 'Rates, e.g. "error_before=0.015,error_after=0.015,only_methods=POST+PATCH".'],
        ["offline-mode", None, "refuse", "What being offline is: refuse or reset."],
        ["keep-alive", "k", "60", "Seconds after which an idle connection is closed."],
        ["port-file", None, None, "Write the bound ports to this file, as JSON."],
    ]
    optFlags = [  # noqa: N815, RUF012
        ["set-cookie", None, "A Set-Cookie with a session of the user on every answer."],
        ["own-hospital-only", None, "Staff see and reach only what belongs to their own hospital."],
    ]

    def postOptions(self) -> None:
        """Check every value, so that errors are reported before anything is bound."""
        self.listen = _checked("listen", self["listen"], parse_place)
        self.control = None if self["control"] == "none" else _checked("control", self["control"], _loopback)
        self.settings = Settings(
            seed=_checked("seed", self["seed"], int),
            delay=_checked("delay", self["delay"], Delay.parse),
            time_scale=_checked("time-scale", self["time-scale"], _scale),
            places=_checked("places", self["places"], _natural),
            queue=_checked("queue", self["queue"], _natural),
            faults=_checked("faults", self["faults"], Faults.parse),
            set_cookie=bool(self["set-cookie"]),
            own_hospital_only=bool(self["own-hospital-only"]),
            keep_alive_s=_checked("keep-alive", self["keep-alive"], _some_seconds),
            offline_mode=_checked("offline-mode", self["offline-mode"], _offline_mode),
        )


def makeService(options: Options, reactor: Any = None) -> IService:
    """Build the service that `options` describe."""
    if reactor is None:
        from twisted.internet import reactor
    service: IService = build(
        reactor,
        options.settings,
        options.listen,
        options.control,
        wall=time.time,
        monotonic=time.monotonic,
        port_file=options["port-file"],
    )
    return service


def parse_place(text: str) -> Place:
    """Parse ``HOST:PORT`` or ``[v6]:PORT``."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("HOST:PORT was expected")
    return Place(host, int(port))


def _loopback(text: str) -> Place:
    place = parse_place(text)
    if place.host not in _LOOPBACK and not place.host.startswith("127."):
        raise ValueError("the control port asks for no credentials, so it must be on loopback")
    return place


def _checked(name: str, text: str, read: Callable[[str], _T]) -> _T:
    try:
        return read(text)
    except ValueError as problem:
        raise usage.UsageError(f"--{name} {text}: {problem}")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a number, 0 or more, was expected")
    return int(text)


def _scale(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError("a number, 0 or more, was expected")
    return number


def _some_seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError("seconds, more than 0, were expected")
    return number


def _offline_mode(text: str) -> str:
    if text not in ("refuse", "reset"):
        raise ValueError("refuse or reset was expected")
    return text

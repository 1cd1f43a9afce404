"""What every connection of the process shares."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from attrs import Factory, define
from twisted.internet.interfaces import IReactorTime

from ..interfaces import IHandler, IMeter
from ..watch.metrics import NullMeter
from .authority import PublicHosts
from .budget import BodyBudget
from .crowd import Crowd
from .drain import Connections
from .limits import ArrivalLimits
from .tally import Tally
from .trust import Trust


def new_request_id() -> str:
    """An id that nobody can guess or has had before."""
    return secrets.token_hex(16)


@define(slots=True, kw_only=True)
class House:
    """Handed to each listener's factory.

    :param handler: who answers.
    :param clock: monotonic, for every wait.
    :param wall: seconds since the epoch, for Date.
    :param new_id: makes request ids.
    :param meter: where things are counted.
    :param tally: of limits that were reached.
    :param crowd: who has how many connections.
    :param unwritable_answers: how many answers could not be written as they were.
    """

    handler: IHandler
    clock: IReactorTime
    limits: ArrivalLimits = Factory(ArrivalLimits)
    trust: Trust = Factory(Trust)
    public_hosts: PublicHosts = Factory(PublicHosts)
    new_id: Callable[[], str] = new_request_id
    wall: Callable[[], float] = time.time
    budget: BodyBudget = Factory(lambda self: BodyBudget(self.limits.body_memory_bytes), takes_self=True)
    connections: Connections = Factory(lambda self: self._connections(), takes_self=True)
    meter: IMeter = Factory(NullMeter)
    tally: Tally = Factory(lambda self: Tally(self.clock, self.limits, self.meter), takes_self=True)
    crowd: Crowd = Factory(lambda self: Crowd(self.limits, self.trust, self.tally), takes_self=True)
    unwritable_answers: int = 0

    def _connections(self) -> Connections:
        return Connections(self.clock, lambda: self.budget.pressed)

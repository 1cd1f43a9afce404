"""Runs a recorded day once in virtual time. The result is a journal, read as the recorded one was."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from hospproxy.config import Settings

from ..clients.people import Hospital, Person
from ..collection import trail
from ..history import Event, History, InHand
from ..hosp.behaviour import HospPlan
from ..hosp.server import START, Hosp
from .day_model import DayModel, ModelledBehaviour
from .staging import CLIENTS_ADDRESS, HOSP_ADDRESS, MACHINE_ADDRESS, Cast, staged, wish_of
from .visits import Visit, visits_of

LEAD_S = 10.0
"""Seconds before the first request in which the proxy starts."""
AFTER_S = 60.0
"""Seconds after the last request in which what is under way ends."""


class RehearsalFailed(Exception):
    """The simulation itself failed; the text holds the traceback."""


@frozen
class Rehearsed:
    """What a rehearsal led to.

    :param visits: the records of the simulated proxy, by arrival; times as on the recorded day.
    :param most_at_hosp: the most requests that HOSP had in hand at one time.
    """

    visits: tuple[Visit, ...]
    most_at_hosp: int


class HandCount(History):
    """Keeps no history, which would hold every body of a day; counts what HOSP has in hand."""

    now = 0
    most = 0

    def add(self, event: Event) -> None:
        """Count the beginning or end of HOSP's work on a request."""
        if isinstance(event, InHand) and event.what in ("begins", "ends"):
            object.__setattr__(self, "now", self.now + (1 if event.what == "begins" else -1))
            object.__setattr__(self, "most", max(self.most, self.now))


class _Day:
    """The simulated day.

    :param visits: the recorded ones, by arrival.
    :param settings: as the operator wrote them.
    """

    def __init__(
        self, visits: Sequence[Visit], model: DayModel, settings: Settings, seed: int, folder: Path
    ) -> None:
        from ..kernel import Simulation

        self.visits = visits
        self.begins = visits[0].at - LEAD_S
        self.ends = visits[-1].at + visits[-1].seconds - self.begins + AFTER_S
        self.simulation: Any = Simulation(seed, folder)
        self.history = HandCount()
        self.machine = self.simulation.machine("m0", MACHINE_ADDRESS)
        self.machine.wall.step(self.begins - self.machine.wall.now())
        self.clients = self.simulation.host("clients", CLIENTS_ADDRESS)
        self.hosp = self._hosp(model, seed)
        self.hospital = Hospital(
            self.clients.reactor, self.history, [MACHINE_ADDRESS], self.simulation.random
        )
        self.cast = Cast.of(visits)
        self.cast.furnish(self.hosp)
        self.settings = staged(settings)
        self.model = model
        self.failures: list[str] = []

    def _hosp(self, model: DayModel, seed: int) -> Hosp:
        host = self.simulation.host("hosp", HOSP_ADDRESS)
        hosp = Hosp(
            host.reactor, self.history, HospPlan(), wall_offset=self.begins - START, address=HOSP_ADDRESS
        )
        hosp.behaviour = ModelledBehaviour(model, seed, self.begins)  # type: ignore[assignment]
        return hosp

    def run(self) -> Rehearsed:
        """Run it to its end."""
        self.hosp.begin()
        self.machine.start_with(self.settings)
        for outage in self.model.outages:
            self._later(outage.since, self.hosp.go_away)
            self._later(outage.until, self.hosp.begin)
        asked = [visit for visit in self.visits if not visit.own]
        for number, visit in enumerate(asked):
            self._later(visit.at, partial(self._ask, number, visit))
        self.simulation.run_until(self.ends)
        for process in list(self.machine.processes.values()):
            process.kill()
        if self.failures:
            raise RehearsalFailed(self.failures[0])
        records = (line.record for line in trail(Path(self.machine.state_dir) / "audit", "m0", 0.0))
        found = visits_of((record for record in records if record is not None), 0.0, float("inf"))
        return Rehearsed(tuple(sorted(found, key=lambda visit: visit.at)), self.history.most)

    def _later(self, at: float, do: Callable[[], object]) -> None:
        self.clients.reactor.callLater(max(0.0, at - self.begins), do)

    def _ask(self, number: int, visit: Visit) -> None:
        person = self.cast.people.get(visit.who) or Person("", 0, "")
        wish = wish_of(visit, number, self.cast.filters)
        asking = self.hospital.ask(person, wish, str(number), MACHINE_ADDRESS)
        Deferred.fromCoroutine(asking).addErrback(
            lambda failure: self.failures.append(failure.getTraceback())
        )


def rehearse(visits: Sequence[Visit], model: DayModel, settings: Settings, seed: int) -> Rehearsed:
    """Run a day under these options, in a process of its own: a simulation leaves things behind.

    :param visits: by arrival; at least one.
    :param settings: checked.
    :raise RehearsalFailed: the simulation failed.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_run_child, args=(there, visits, model, settings, seed))
    child.start()
    there.close()
    try:
        result = here.recv()
    except EOFError:
        result = RehearsalFailed("its process ended without a result")
    child.join()
    if isinstance(result, RehearsalFailed):
        raise result
    done: Rehearsed = result
    return done


def _run_child(there: Any, visits: Sequence[Visit], model: DayModel, settings: Settings, seed: int) -> None:
    from ..kernel.death import be_quiet

    be_quiet()
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    try:
        there.send(_Day(visits, model, settings, seed, folder).run())
    except BaseException:
        there.send(RehearsalFailed(traceback.format_exc()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)

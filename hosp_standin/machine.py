"""HOSP as a machine: the application behind its few slots, with the faults that can happen on the way."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable
from typing import Protocol

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from . import answers
from .answers import Answer
from .app import Application, Outcome
from .calls import Call
from .delays import Delay
from .faults import Faults, Plan, Planner
from .journal import MAX_ENTRIES, Journal, Stats
from .places import Places, QueueFull
from .records import Record, Seed, Store


@frozen
class Settings:
    """Settings of a stand-in: see docs/standin.md. Times in seconds."""

    seed: int = 0
    delay: Delay = field(factory=lambda: Delay("none"))
    time_scale: float = 1.0
    places: int = 1
    queue: int = 100
    faults: Faults = field(factory=Faults)
    set_cookie: bool = False
    own_hospital_only: bool = False
    offline_mode: str = "refuse"
    keep_alive_s: float = 60.0
    max_journal_entries: int = MAX_ENTRIES


class Wire(Protocol):
    """The connection that carries one request."""

    @property
    def gone(self) -> bool:
        """Whether no response can be sent any more."""

    def done(self) -> Deferred[None]:
        """Fires when the request got its response or its connection is lost."""

    def send(self, answer: Answer) -> None:
        """Send the whole response."""

    def cut_body(self, answer: Answer) -> None:
        """Send the whole head and half of the body, then close the connection."""

    def cut_head(self, answer: Answer) -> None:
        """Send half of the head, then close the connection."""

    def reset(self) -> None:
        """Reset the connection."""


@frozen
class Visit:
    """A request in the machine. `staff` is the member of staff whose credentials were right on arrival."""

    call: Call
    wire: Wire
    plan: Plan
    seq: int
    began: float
    staff: Record | None


class Machine:
    """The whole of HOSP without its sockets.

    Arguments:
        seed: its records.
        settings: its behaviour.
        clock: for every wait.
        wall: seconds since 1970, for records and the Date header.
        monotonic: seconds that never go back, for the journal; the clock's own if None.
    """

    def __init__(
        self,
        seed: Seed,
        settings: Settings,
        clock: IReactorTime,
        wall: Callable[[], float],
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.wall = wall
        self.store = Store(seed, wall)
        self.app = Application(self.store, settings.own_hospital_only)
        self.journal = Journal(monotonic or clock.seconds, wall, settings.max_journal_entries)
        self.stats = Stats()
        self.planner = Planner(settings.seed, settings.delay, settings.time_scale, settings.faults)
        self.places = Places(settings.places, settings.queue)
        self.set_cookie = settings.set_cookie
        self._ids = random.Random(f"{settings.seed} ids")
        self._late: dict[int, IDelayedCall] = {}
        self._stalled: dict[int, IDelayedCall] = {}
        self._tasks: dict[Deferred[None], None] = {}
        self._open: dict[int, Wire] = {}

    @property
    def late_commits(self) -> int:
        """Number of writes still to be stored after their connection was reset."""
        return len(self._late)

    def reset(self) -> None:
        """Return to the seed: records, journal, counters; no faults; drop everything in progress."""
        self.stop()
        self.store.restore()
        self.journal.clear()
        self.stats.clear()
        self.planner.clear()
        self.places.most_taken, self.places.most_waiting = self.places.taken, self.places.waiting

    def stop(self) -> None:
        """Drop everything in progress, like a machine that is switched off: requests, late commits, stalls."""
        # Newest first: those wait in the queue, and must not get the slots of the cancelled ones.
        for task in reversed(list(self._tasks)):
            task.cancel()
        for wire in list(self._open.values()):
            wire.reset()
        for waiting in (self._late, self._stalled):
            for call in waiting.values():
                call.cancel()
            waiting.clear()

    def begin(self, call: Call, wire: Wire) -> Deferred[None]:
        """Handle one request, from its arrival to its response or its fault; `stop` ends it early."""
        task: Deferred[None] = Deferred.fromCoroutine(self._serve(call, wire))
        self._tasks[task] = None

        def ended(result: Failure | None) -> None:
            del self._tasks[task]
            if result is not None and not isinstance(result.value, CancelledError):
                result.raiseException()

        return task.addBoth(ended)

    async def _serve(self, call: Call, wire: Wire) -> None:
        route, staff = call.route, self.app.staff_of(call)
        claimed = staff["name"] if staff else call.credentials and call.credentials[0]
        counted = route.template if route.action == "none" else f"{call.effective_method} {route.template}"
        self.stats.arrived(counted, str(staff["name"]) if staff else "(nobody)")
        entry = self.journal.add(
            "request",
            method=call.method,
            path=call.path,
            query=call.query,
            request_id=call.headers.get("x-request-id"),
            staff_id=staff and staff["id"],
            staff_name=claimed,
            in_flight=self.stats.in_flight,
        )
        self._open[entry.seq] = wire
        wire.done().addBoth(lambda _: self._left(entry.seq))
        plan = self.planner.plan(call.effective_method, route.path)
        visit = Visit(call, wire, plan, entry.seq, self.clock.seconds(), staff)
        if plan.fault is not None:
            self.stats.by_fault[plan.fault] += 1
            self._note(visit, "fault", fault=plan.fault)
        await self._play(visit)

    def _left(self, seq: int) -> None:
        del self._open[seq]
        self.stats.left()

    async def _play(self, visit: Visit) -> None:
        plan, wire = visit.plan, visit.wire
        match plan.fault:
            case "stall":
                if plan.stall_s:
                    self._later(self._stalled, visit, plan.stall_s, wire.reset)
            case "reset_before":
                wire.reset()
            case "busy":
                self._answer(visit, self.app.error(visit.call, 503))
            case "bad_gateway":
                self._answer(visit, self.app.error(visit.call, 502))
            case "late_commit":
                self._later(self._late, visit, plan.late_s, lambda: self._carry_out(visit))
                if plan.gateway_timeout:
                    self._answer(visit, self.app.error(visit.call, 504))
                else:
                    wire.reset()
            case _:
                await self._work(visit)

    async def _work(self, visit: Visit) -> None:
        try:
            await self.places.take()
        except QueueFull:
            self._answer(visit, self.app.error(visit.call, 503))
            return
        try:
            # A client that closes its connection stops nothing: Rails has the request and continues.
            await self._sleep(visit.plan.delay_s)
            if visit.plan.fault == "error_before":
                outcome = Outcome(self.app.error(visit.call, 500))
            else:
                outcome = self._carry_out(visit)
        finally:
            self.places.leave()
        self._finish(visit, outcome)

    def _finish(self, visit: Visit, outcome: Outcome) -> None:
        match visit.plan.fault:
            case "error_after":
                self._answer(visit, self.app.error(visit.call, 500))
            case "reset_after":
                visit.wire.reset()
            case "truncated":
                self._answer(visit, outcome.answer, visit.wire.cut_body)
            case "cut_head":
                self._answer(visit, outcome.answer, visit.wire.cut_head)
            case _:
                self._answer(visit, outcome.answer)

    def _carry_out(self, visit: Visit) -> Outcome:
        outcome = self.app.carry_out(visit.call)
        if outcome.kind is not None:
            self._note(
                visit,
                outcome.kind,
                outcome.staff,
                resource=outcome.resource,
                id=outcome.id,
                fields=outcome.fields,
                fault=visit.plan.fault,
            )
        return outcome

    def _answer(self, visit: Visit, answer: Answer, send: Callable[[Answer], None] | None = None) -> None:
        if visit.wire.gone:
            self._note(visit, "gone", status=answer.status)
            return
        fallback = str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
        dressed = answers.dressed(
            self._with_cookie(visit.call, answer),
            visit.call.method,
            visit.call.headers,
            id_=answers.request_id(visit.call.headers, fallback),
            runtime_s=self.clock.seconds() - visit.began,
            wall=self.wall(),
        )
        self.stats.by_status[str(dressed.status)] += 1
        self._note(visit, "answered", status=dressed.status, fault=visit.plan.fault)
        (send or visit.wire.send)(dressed)

    def _with_cookie(self, call: Call, answer: Answer) -> Answer:
        if not self.set_cookie:
            return answer
        who = call.credentials[0] if call.credentials else "nobody"
        value = hashlib.sha256(f"{self.settings.seed} {who}".encode("utf-8", "replace")).hexdigest()[:32]
        cookie = f"_hosp_session={value}; path=/; HttpOnly; SameSite=Lax"
        return evolve(answer, headers=(*answer.headers, ("Set-Cookie", cookie)))

    def _note(self, visit: Visit, kind: str, outcome_staff: Record | None = None, **details: object) -> None:
        call, staff = visit.call, outcome_staff or visit.staff
        self.journal.add(
            kind,
            request=visit.seq,
            method=call.effective_method,
            path=call.path,
            query=call.query,
            request_id=call.headers.get("x-request-id"),
            staff_id=staff["id"] if staff else None,
            staff_name=staff["name"] if staff else call.credentials and call.credentials[0],
            in_flight=self.stats.in_flight,
            **details,
        )

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self.clock, seconds, lambda: None) if seconds > 0 else succeed(None)

    def _later(
        self, waiting: dict[int, IDelayedCall], visit: Visit, seconds: float, do: Callable[[], object]
    ) -> None:
        def due() -> None:
            del waiting[visit.seq]
            do()

        waiting[visit.seq] = self.clock.callLater(seconds, due)

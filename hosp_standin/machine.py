"""HOSP as a machine: the application behind its few places, with everything that goes wrong on the way."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable
from typing import Protocol

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from . import answers
from .answers import Answer
from .app import Application, Call, Outcome
from .faults import Delay, Faults, Plan, Planner
from .journal import MAX_ENTRIES, Journal, Stats
from .places import Places, QueueFull
from .records import Seed, Store


@frozen
class Settings:
    """What a stand-in is: see docs/standin.md. Times in seconds."""

    seed: int = 0
    delay: Delay = field(factory=lambda: Delay("none"))
    time_scale: float = 1.0
    places: int = 1
    queue: int = 100
    faults: Faults = field(factory=Faults)
    set_cookie: bool = False
    own_hospital_only: bool = False
    offline_mode: str = "refuse"
    max_journal_entries: int = MAX_ENTRIES


class Wire(Protocol):
    """The connection that a request came by."""

    @property
    def gone(self) -> bool:
        """Whether nobody can be answered any more."""

    def done(self) -> Deferred[None]:
        """Fires when the request is answered or its connection is lost."""

    def send(self, answer: Answer) -> None:
        """The whole answer."""

    def cut_body(self, answer: Answer) -> None:
        """The whole head and half of the body; then the connection is closed."""

    def cut_head(self, answer: Answer) -> None:
        """Half of the head; then the connection is closed."""

    def reset(self) -> None:
        """Reset the connection."""


@frozen
class Visit:
    """A request on its way through the machine."""

    call: Call
    wire: Wire
    plan: Plan
    seq: int
    began: float


class Machine:
    """
    The whole of HOSP without its sockets.

    Arguments:
        seed: its records.
        settings: how it behaves.
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

    @property
    def late_commits(self) -> int:
        """How many writes are still to be stored, long after their connection was reset."""
        return len(self._late)

    def reset(self) -> None:
        """Back to the seed: records, journal, counts; no faults; late commits still to come are forgotten."""
        self.stop()
        self.store.restore()
        self.journal.clear()
        self.stats.clear()
        self.planner.clear()
        self.places.most_taken, self.places.most_waiting = self.places.taken, self.places.waiting

    def stop(self) -> None:
        """Forget the late commits still to come; stalled requests stay so until their connection ends."""
        for waiting in (self._late, self._stalled):
            for call in waiting.values():
                call.cancel()
            waiting.clear()

    async def serve(self, call: Call, wire: Wire) -> None:
        """One request, from its arrival to its answer or its accident."""
        route, staff = call.route, self.app.staff_of(call)
        claimed = staff["name"] if staff else call.credentials and call.credentials[0]
        self.stats.arrived(f"{call.effective_method} {route.template}", str(claimed or "nobody"))
        wire.done().addBoth(lambda _: self.stats.left())
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
        plan = self.planner.plan(call.effective_method, route.path)
        visit = Visit(call, wire, plan, entry.seq, self.clock.seconds())
        if plan.fault is not None:
            self.stats.by_fault[plan.fault] += 1
            self._note(visit, "fault", fault=plan.fault)
        await self._play(visit)

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
            # A client that hangs up stops nothing: Rails has the request and goes on with it.
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
                staff=outcome.staff,
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

    def _note(self, visit: Visit, kind: str, **details: object) -> None:
        staff = details.pop("staff", None) or self.app.staff_of(visit.call)
        call = visit.call
        self.journal.add(
            kind,
            request=visit.seq,
            method=call.effective_method,
            path=call.path,
            query=call.query,
            request_id=call.headers.get("x-request-id"),
            staff_id=staff["id"] if staff else None,  # type: ignore[index]
            staff_name=staff["name"] if staff else call.credentials and call.credentials[0],  # type: ignore[index]
            in_flight=self.stats.in_flight,
            **details,
        )

    def _sleep(self, seconds: float) -> Deferred[None]:
        slept: Deferred[None] = Deferred()
        if seconds > 0:
            self.clock.callLater(seconds, slept.callback, None)
        else:
            slept.callback(None)
        return slept

    def _later(
        self, waiting: dict[int, IDelayedCall], visit: Visit, seconds: float, do: Callable[[], object]
    ) -> None:
        def due() -> None:
            del waiting[visit.seq]
            do()

        waiting[visit.seq] = self.clock.callLater(seconds, due)

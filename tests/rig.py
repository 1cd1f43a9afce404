"""A chain with a small HOSP behind it, on a Clock: for tests of several processors together."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from hosp_standin.records import RESOURCES
from hospproxy.arrival.null_meter import NullMeter
from hospproxy.contract.document import load
from hospproxy.exchange.answers import ProxyResponses
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.guard.bodies import BodyCheck
from hospproxy.guard.identity import IdentityCheck
from hospproxy.guard.ownership import Ownership
from hospproxy.guard.validation import Validation
from hospproxy.http.messages import ABSENT, Client, Headers, Origin, Request, Response
from hospproxy.interfaces import IProcessor, Proceed
from hospproxy.keys.encryption import Seal
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.screening_notes import ScreeningNotes
from hospproxy.options.sections import RetrySettings, ScreeningSettings, WritesSettings
from hospproxy.outward.conditions import ConditionCheck
from hospproxy.outward.retry import Retry, RetryBudget
from hospproxy.outward.validators import tagged
from hospproxy.outward.writes import outcomes
from hospproxy.outward.writes.background import LateOutcomes
from hospproxy.outward.writes.entries import WriteEntries
from hospproxy.outward.writes.fate import WriteSender
from hospproxy.outward.writes.ledger_entries import LedgerEntries
from hospproxy.outward.writes.looks import WriteLooks
from hospproxy.outward.writes.overtaken import OutsideChanges
from hospproxy.outward.writes.presence import UpstreamClock, WorkingTime
from hospproxy.outward.writes.processor import Writes
from hospproxy.outward.writes.screening_ledger import ScreeningLedger
from hospproxy.outward.writes.seen_ids import SeenIds
from hospproxy.outward.writes.visible_records import VisibleRecords
from hospproxy.own_requests import OwnRequests
from hospproxy.process.slices import SliceQueue
from hospproxy.service.chain import Chain
from tests.outward.ledger.fakes import AtOnce, Disk
from tests.process_end import ProcessTime
from tests.stages import by_stage

CONTRACT = load()
EPOCH = 1_700_000_000.0
"""HOSP's wall clock when a Clock shows 0."""

STAFF1 = b"Basic c3RhZmYxOnBhc3N3b3JkMQ=="
STAFF2 = b"Basic c3RhZmYyOnBhc3N3b3JkMg=="


def stamp(seconds: float) -> str:
    """A moment of the Clock, as HOSP writes it in ``created_at``."""
    import datetime

    moment = datetime.datetime.fromtimestamp(EPOCH + seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def http_date(seconds: float) -> bytes:
    from email.utils import formatdate

    return formatdate(int(EPOCH + seconds), usegmt=True).encode()


Reply = Response | BaseException | None
Script = Callable[[Call], Reply]


@implementer(IProcessor)
class SmallHosp:
    """Stores records and responds at once, unless a fault is scripted for the next call.

    A fault is ("none" | "before" | "after" | "late:SECONDS", what the caller gets). "before": nothing is stored;
    "none": a normal response.

    :ivar hidden: (id of staff, id of patient): patients that it hides from a member of staff.
    :ivar stores: how it converts the fields of a record; by default as a Rails application does.
    :ivar clock_error: seconds by which its wall clock is ahead.
    :ivar padding: text that it adds to each result of a screening.
    """

    clock_error = 0.0
    padding = ""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.records: dict[str, list[dict[str, Any]]] = {
            "hospitals": [{"id": 1, "name": "Root"}],
            "staffs": [
                {"id": 1, "name": "staff1", "hospital_id": 1},
                {"id": 2, "name": "staff2", "hospital_id": 1},
            ],
            "patients": [{"id": 7, "name": "Juno", "hospital_id": 1, "birthdate": None}],
            "notes": [],
        }
        for rows in self.records.values():
            for row in rows:
                row |= {"created_at": stamp(-1000), "updated_at": stamp(-1000)}
        self.passwords = {"staff1": "password1", "staff2": "password2"}
        self.numbers = itertools.count(100)
        self.stores: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda resource, fields: RESOURCES[
            resource
        ].coerce(fields)
        self.hidden: set[tuple[int, int]] = set()
        self.calls: list[Call] = []
        self.faults: list[tuple[str, BaseException | int]] = []
        self.read_faults: list[BaseException | int] = []
        self.held: list[Deferred[None]] = []
        self.hold = False

    def seen(self, operation_id: str) -> list[Call]:
        return [call for call in self.calls if call.operation.id == operation_id]

    async def process(self, exchange: Exchange, _proceed: Proceed) -> Response:
        call = exchange.call
        assert call is not None
        exchange.trace.attempts += 1
        exchange.last_attempt.sent_at = self.clock.seconds()
        self.calls.append(call)
        if self.hold:
            waiter: Deferred[None] = Deferred()
            self.held.append(waiter)
            await waiter
        if call.operation.is_write and self.faults:
            when, what = self.faults.pop(0)
            if when == "none":
                return self.answer(call)
            if when == "after":
                self.answer(call)
            elif when.startswith("late:"):
                self.clock.callLater(float(when.removeprefix("late:")), self.answer, call)
            return self._fault(what)
        if not call.operation.is_write and self.read_faults:
            return self._fault(self.read_faults.pop(0))
        return self.answer(call)

    def _fault(self, what: BaseException | int) -> Response:
        if isinstance(what, BaseException):
            raise what
        return self.made(what, {"status": what, "error": "Internal Server Error"})

    def made(self, status: int, document: Any) -> Response:
        headers = Headers(
            (
                (b"Content-Type", b"application/json; charset=utf-8"),
                (b"Date", http_date(self.clock.seconds() + self.clock_error)),
            )
        )
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return Response(status, headers, body, Origin.UPSTREAM)

    def who(self, call: Call) -> dict[str, Any] | None:
        import base64

        if call.authorization is None:
            return None
        name, _, password = base64.b64decode(call.authorization.split()[1]).decode().partition(":")
        if self.passwords.get(name) != password:
            return None
        return next((row for row in self.records["staffs"] if row["name"] == name), None)

    def answer(self, call: Call) -> Response:
        operation = call.operation
        if operation.public:
            return self.made(200, b"<p>Server is online.</p>")
        who = self.who(call)
        if who is None:
            return Response(
                401,
                Headers(((b"Content-Type", b"text/plain"),)),
                b"HTTP Basic: Access denied.\n",
                Origin.UPSTREAM,
            )
        if operation.id == "getMe":
            return self.made(200, who)
        if operation.id == "screenPatient":
            return self.made(
                200,
                {
                    "overall": "clear",
                    "results": [f"{image}{self.padding}: fine" for image in call.document["images"]],
                },
            )
        assert operation.resource is not None
        rows = self.records[operation.resource]
        if operation.resource == "patients" and self.hidden:
            rows = [row for row in rows if (who["id"], row["id"]) not in self.hidden]
        return self._records(call, rows)

    def _records(self, call: Call, rows: list[dict[str, Any]]) -> Response:
        operation, now = call.operation, stamp(self.clock.seconds() + self.clock_error)
        document = {} if call.document is ABSENT else dict(call.document)
        password = document.pop("password", None)
        document = self.stores(str(operation.resource), document)
        if operation.action == "search":
            return self.made(200, [r for r in rows[::-1] if all(str(r.get(k)) == v for k, v in call.query)])
        if operation.action == "create":
            blank = dict.fromkeys(operation.fields - operation.write_only)
            row = {**blank, **document, "id": next(self.numbers), "created_at": now, "updated_at": now}
            rows.append(row)
            if password is not None:
                self.passwords[str(row["name"])] = password
            return self.made(201, row)
        row = next((row for row in rows if str(row["id"]) == call.path[0]), {})
        if not row:
            return self.made(404, {"status": 404, "error": "Not Found"})
        if operation.action == "delete":
            rows.remove(row)
            return self.made(200, b"<p>deleted</p>")
        if operation.action == "update":
            if "name" in document and row["name"] in self.passwords:
                self.passwords[document["name"]] = self.passwords.pop(row["name"])
            row.update(document, updated_at=now)
            if password is not None:
                self.passwords[row["name"]] = password
        return self.made(200, row)


class Rig:
    """The chain of writes and guards on a Clock. Parts can be left out or added by name."""

    def __init__(self, *, leave_out: Iterable[str] = (), put_in: Any = (), **options: Any) -> None:
        self.world = options.get("clock") or Clock()
        self.clock: Any = self.world
        self.time = options.get("time") or ProcessTime(self.world)
        self.hosp = options.get("hosp") or SmallHosp(self.clock)
        self.meter = NullMeter()
        self.answers = ProxyResponses(CONTRACT)
        # Not "or": an empty Accounts is false, and the writes would then report to another one.
        self.accounts = options.get("accounts", Accounts(self.time, max_remembered=100, remember_s=300))
        self.sightings = SeenIds(CONTRACT)
        self.shown = VisibleRecords(CONTRACT, b"w" * 32, self.time)
        self.upstream_clock = UpstreamClock()
        self.working_time = WorkingTime(0.0)
        self.own_requests = OwnRequests(self.time, self.wall)
        self.ask = self.own_requests.ask
        self.forgotten: list[Exchange] = []
        self.findings: list[tuple[str, str]] = []
        self.exchanges: list[Exchange] = []
        numbers = itertools.count(1)
        self.references = options.get("references") or (lambda: f"ref-{next(numbers)}")
        self.disk = options.get("disk") or Disk()
        self.worker = options.get("worker") or AtOnce()
        self.wall_error = options.get("wall_error", 0.0)
        self.ledger = self.disk.ledger(self.wall, self.worker, self.time.seconds)
        self.entries = WriteEntries(
            self.time,
            options.get("key", b"k" * 32),
            self.references,
            WritesSettings(max_open=options.get("max_open", 100)),
            former=options.get("former", ()),
        )
        keeping = LedgerEntries(
            self.ledger,
            options.get("seal") or Seal(b"s" * 32, options.get("key_id", "01234567")),
            self.entries.mac,
            CONTRACT,
            self.time,
            self.wall,
            self.entries.former_macs,
        )
        self.keeping = keeping
        self.claims: Any = options.get("claims", lambda _rig: None)(self)
        looking = WriteLooks(
            CONTRACT,
            self.ask,
            self.time,
            self.sightings,
            self.upstream_clock,
            self.working_time,
            self.meter,
            late_commit_s=25.0,
            look_s=28.0,
            claims=self.claims,
        )
        self.writes = Writes(
            self.time,
            self.entries,
            keeping,
            WriteSender(CONTRACT, self.answers, self.time, looking, self.sightings, self.meter),
            self.sightings,
            self.shown,
            LateOutcomes(forget=options.get("forget") or self.forgotten.append, record=self._finding),
            self.meter,
            window_s=120.0,
            claims=self.claims,
        )
        self.outside = OutsideChanges(
            CONTRACT, self.entries.settled_changes, self.writes.changed_outside, self.meter
        )
        self.screening = ScreeningNotes(
            CONTRACT,
            self.ask,
            ScreeningLedger(keeping),
            self.time,
            self.references,
            lambda: 0.5,
            self.meter,
            ScreeningSettings(max_pending=options.get("max_pending", 100)),
        )
        self.validation = Validation(CONTRACT, enforce=options.get("enforce", True), own=(outcomes.ROUTE,))
        processors: dict[str, Any] = {
            "record.audit": _Seeing(self.exchanges),
            "guard.validation": self.validation,
            "guard.identity": IdentityCheck(
                CONTRACT, self.accounts, self.ask, b"i" * 32, self.meter, self.screening.accepted
            ),
            "guard.bodies": BodyCheck(self.validation, self.time, SliceQueue(self.time)),
            "guard.ownership": Ownership(
                CONTRACT, self.ask, policy=options.get("policy", "assign"), enforce=options.get("own", True)
            ),
            "memory.screening": self.screening,
            "outward.writes": self.writes,
            "outward.conditions": ConditionCheck(CONTRACT, self.ask),
            "outward.retry": Retry(self.time, RetryBudget(0.2, 50), lambda: 0.5, self.meter, RetrySettings()),
            "outward.upstream": _Watching(self.hosp, self),
        }
        processors.update(put_in)
        self.chain = Chain(
            by_stage({name: one for name, one in processors.items() if name not in set(leave_out)}),
            own_requests=self.own_requests,
            answers=self.answers,
            clock=self.time,
            wall=self.wall,
            deadline_s=28.0,
            limit=self.validation.body_limit,
            meter=self.meter,
        )
        options.get("made", []).append(self)
        self.recovered = self.time.run(Deferred.fromCoroutine, self._recover())

    def wall(self) -> float:
        """The machine's wall clock, which may be wrong."""
        return EPOCH + self.time.seconds() + float(self.wall_error)

    async def _recover(self) -> None:
        for note in await self.writes.recover():
            self.screening.resume(note)

    def kill(self) -> None:
        """End the process between two instructions. None of its code runs later."""
        self.ledger._owner.leave()  # type: ignore[union-attr]
        self.worker.dead = True
        self.time.end()

    def crash(self, **options: Any) -> Rig:
        """Kill the process, and start the next one with the same HOSP and the same disk."""
        self.kill()
        return type(self)(
            disk=self.disk, clock=self.world, hosp=self.hosp, references=self.references, **options
        )

    def _finding(self, _exchange: Exchange, reference: str, found: str) -> Deferred[None]:
        self.findings.append((reference, found))
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def send(
        self,
        method: str,
        target: str,
        document: Any = ABSENT,
        *,
        auth: bytes | None = STAFF1,
        body: bytes | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> Deferred[Response]:
        path, _, query = target.partition("?")
        given = list(headers)
        if auth is not None:
            given.append((b"authorization", auth))
        if document is not ABSENT:
            body = json.dumps(document).encode()
            given.append((b"content-type", b"application/json"))
        return self.time.run(
            self.chain.handle,
            Request(
                method,
                path.encode(),
                query.encode() if query else None,
                (1, 1),
                Headers(tuple(given)),
                body,
                Client("127.0.0.1", "127.0.0.1", (), "https", "proxy.test", "request-1"),
            ),
        )

    def get(self, answer: Deferred[Any], *, seconds: float = 60.0) -> Any:
        """Advance the Clock until a Deferred has a result, and return it.

        :raise AssertionError: it has none within `seconds`.
        """
        outcome: list[Any] = []
        answer.addBoth(outcome.append)
        for _ in range(int(seconds * 20)):
            if outcome:
                break
            self.clock.advance(0.05)
        if not outcome:
            raise AssertionError(f"no answer within {seconds} s")
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]


@implementer(IProcessor)
class _Seeing:
    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = exchanges

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        self._exchanges.append(exchange)
        return await proceed(exchange)


@implementer(IProcessor)
class _Watching:
    """Passes HOSP's responses to what assembly.py connects to the upstream: sightings and HOSP's clock, for example."""

    def __init__(self, hosp: SmallHosp, rig: Rig) -> None:
        self._hosp = hosp
        self._rig = rig

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        sent = self._rig.clock.seconds()
        if self._rig.time.dead:
            return await Deferred()
        response = await self._hosp.process(exchange, proceed)
        now = self._rig.clock.seconds()
        assert exchange.call is not None
        self._rig.sightings.saw(exchange.call, response)
        self._rig.shown.saw(exchange.call, response, sent)
        self._rig.outside.saw(exchange.call, response, sent)
        self._rig.upstream_clock.learn(response.headers.get(b"date"), sent, now)
        self._rig.working_time.answered(now)
        if (noting := self._rig.outside.noting(exchange.call)) is not None:
            await noting
        return tagged(exchange.call.operation, response)


def later(clock: Clock, seconds: float, work: Callable[[], Any]) -> Deferred[Any]:
    """Run a function after so many seconds of the Clock."""
    return task.deferLater(clock, seconds, work)

"""The simulated HOSP on the network: takes requests, and responds or fails as its behaviour decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from hosp_standin import answers
from hosp_standin.answers import Answer
from hosp_standin.calls import Call, basic_credentials

from ..history import Committed, Credentials, History, InHand, Trouble
from .application import Application, Done, Records
from .behaviour import NOTHING_DONE, WAIT_S, Behaviour, Deed, HospPlan
from .request_reader import Incoming, Nonsense, RequestReader

PORT = 3000
START = 1_767_225_600.0
"""HOSP's wall clock when the world begins: 2026-01-01, seconds since 1970."""


@define(eq=False)
class Work:
    """One request that HOSP has in hand."""

    number: int
    call: Call
    deed: Deed
    received: float
    connection: Connection | None
    done: Done | None = None
    calls: list[IDelayedCall] = field(factory=list)


class Hosp:
    """HOSP as a server.

    :param reactor: of the host on which it runs.
    :param history: gets everything that it commits, and what it has in hand.
    :param plan: how it behaves.
    :param visible, passes_over: see `Application`.
    :param says: see `Premises`.
    :param wall_offset: error of its wall clock at the start, in seconds.
    """

    def __init__(
        self, reactor: Any, history: History, plan: HospPlan, *, visible: str = "all", marked: bool = False,
        stamps_differ: float = 0.0, wall_offset: float = 0.0, address: str = "10.0.0.1",
        passes_over: bool = False, says: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.reactor = reactor
        self.history = history
        self.behaviour = Behaviour(plan)
        self.offset = wall_offset
        self.address = address
        self.says = says
        records = Records(self.wall, stamps_differ=stamps_differ)
        self.application = Application(
            records, visible, marked, passes_over, reactor.seconds, self._credentials
        )
        self.connections: list[Connection] = []
        self.in_hand: dict[int, Work] = {}
        self.silent_until = 0.0
        self.answered = 0
        self._count = 0
        self._port: Any = None

    def wall(self) -> float:
        """HOSP's own clock, seconds since 1970."""
        return START + float(self.reactor.seconds()) + self.offset

    def begin(self) -> None:
        """Listen."""
        if self._port is None:
            factory = Factory()
            factory.buildProtocol = lambda _: Connection(self)  # type: ignore[method-assign,assignment]
            self._port = self.reactor.listenTCP(PORT, factory, interface=self.address)

    def go_away(self) -> None:
        """Go offline: drop everything in hand, except what is to be committed late."""
        if self._port is not None:
            self._port.stopListening()
            self._port = None
        for work in self.in_hand.values():
            if work.connection is not None:
                work.connection = None
                self._hand(work, "dropped")
        for connection in list(self.connections):
            connection.break_off()
        for work in list(self.in_hand.values()):
            if not work.deed.fault.startswith("late"):
                self._end(work)

    def import_record(self, resource: str, id_: int, fields: Mapping[str, object]) -> None:
        """Create a record before the world begins."""
        record = self.application.records.put(resource, id_, fields)
        self.application.versions[id_] = self.application.versions.get(id_, 0)
        now = self.reactor.seconds()
        self.history.add(Committed(now, "stored", resource, id_, None, record))
        if resource == "staffs":
            mark = self.application.mark_of(record)
            self._credentials(Credentials(now, str(fields["name"]), str(fields["password"]), id_, mark))

    def change(self, kind: str, resource: str, id_: int, fields: Mapping[str, object]) -> None:
        """Change a record without the proxy's knowledge."""
        commit = self.application.change(kind, resource, id_, fields)
        if commit is not None:
            self.history.add(commit)

    def take(self, connection: Connection, incoming: Incoming) -> None:
        """Begin to work on a request."""
        path, _, query = incoming.target.partition("?")
        call = Call(incoming.method, path, query, incoming.headers, incoming.body)
        name = (basic_credentials(incoming.headers.get("authorization", "")) or ("", ""))[0]
        now = self.reactor.seconds()
        deed = self.behaviour.decide(incoming.method, incoming.target, name, incoming.body, now)
        self._count += 1
        work = Work(self._count, call, deed, now, connection)
        self.in_hand[work.number] = work
        self._hand(work, "begins")
        self._plan_work(work, connection)

    def deserted(self, connection: Connection) -> None:
        """The other end has left: as in Rails, the work continues."""
        for work in self.in_hand.values():
            if work.connection is connection:
                work.connection = None
                self._hand(work, "deserted")

    def _plan_work(self, work: Work, connection: Connection) -> None:
        deed = work.deed
        later = self.reactor.callLater
        if deed.fault not in NOTHING_DONE:
            work.calls.append(later(deed.commit_s, self._commit, work))
        work.calls.append(later(deed.answer_s, self._answer, work, connection))

    def _commit(self, work: Work) -> None:
        work.done = self.application.carry_out(work.call)
        commit = work.done.commit
        if commit is not None:
            self.history.add(evolve(commit, received=work.received))
        if work.deed.commit_s > work.deed.answer_s:
            self._end(work)

    def _answer(self, work: Work, connection: Connection) -> None:
        now = self.reactor.seconds()
        if now < self.silent_until:
            work.calls.append(self.reactor.callLater(self.silent_until - now, self._answer, work, connection))
            return
        work.connection = None
        fault, late = work.deed.fault, work.deed.commit_s > work.deed.answer_s
        if late and connection.open:
            self._hand(work, "dropped")
        if fault in ("reset_before", "reset_after", "late_reset", "stall", "stall_stored"):
            if not late:
                self._end(work)
            connection.break_off()
            return
        broken = fault if fault in ("truncated", "cut_head", "bare_lf") else ""
        said = self._said(work)
        if not late:
            self._end(work, 0 if broken or not connection.open else said.status)
        connection.answer(work.call, said, broken)

    def _said(self, work: Work) -> Answer:
        match work.deed.fault:
            case "error_before" | "error_after":
                return self.application.error(work.call, 500)
            case "late_timeout":
                # What a gateway in front of HOSP sends; a 500 of Rails' own means that HOSP has finished.
                return self.application.error(work.call, 504)
            case "busy":
                return answers.page(503, "Busy", "Service Unavailable")
            case "bad_gateway":
                return answers.page(502, "Bad", "Bad Gateway")
            case "too_many":
                return answers.page(429, "Slow", "Too Many Requests")
            case "busy_wait":
                self._asked_to_wait(work)
                busy = answers.page(503, "Busy", "Service Unavailable")
                return evolve(busy, headers=(*busy.headers, ("Retry-After", str(WAIT_S))))
        assert work.done is not None
        self.answered += 1
        done = work.done.answer
        match work.deed.fault:
            case "unasked_304":
                return evolve(done, status=304, body=b"", content_type=None)
            case "unasked_206":
                return evolve(done, status=206, body=done.body[:20])
        return done

    def _asked_to_wait(self, work: Work) -> None:
        now = self.reactor.seconds()
        name = f"{work.call.method} {work.call.headers.get('x-request-id', '')}"
        self.history.add(Trouble(now, "asked to wait", name, now + WAIT_S))

    def _end(self, work: Work, status: int = 0) -> None:
        if self.in_hand.pop(work.number, None) is not None:
            for call in work.calls:
                if call.active():
                    call.cancel()
            self._hand(work, "ends", status)

    def _hand(self, work: Work, what: str, status: int = 0) -> None:
        call = work.call
        request_id = call.headers.get("x-request-id", "")
        target = call.path + (f"?{call.query}" if call.query else "")
        now = self.reactor.seconds()
        via = bool(call.headers.get("via"))
        self.history.add(InHand(now, work.number, what, call.method, target, request_id, via, status))

    def fields(self, usual: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Header fields of a response in this world."""
        fields = [(name, value) for name, value in usual if not (name == "Date" and "no_date" in self.says)]
        if "no_cache" in self.says:
            fields = [(name, value) for name, value in fields if name != "Cache-Control"]
            fields.append(("Cache-Control", "private, no-cache"))
        return [*fields, ("Accept-Ranges", "bytes")] if "ranges" in self.says else fields

    def _credentials(self, change: Credentials) -> None:
        self.history.add(change)


class Connection(Protocol):
    """One connection to HOSP. Responses are sent in the order of the requests."""

    def __init__(self, hosp: Hosp) -> None:
        self._hosp = hosp
        self._reader = RequestReader()
        self._waiting: list[Incoming] = []
        self._keeps = True
        self.open = False
        self.busy = False

    def connectionMade(self) -> None:
        self.open = True
        self._hosp.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            self._waiting += self._reader.feed(data)
        except (Nonsense, ValueError):
            self.break_off()
            return
        self._next()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self.open:
            self.open = False
            self._hosp.connections.remove(self)
            self._hosp.deserted(self)

    def break_off(self) -> None:
        """Reset the connection."""
        if self.open:
            self.open = False
            self._hosp.connections.remove(self)
            self._hosp.deserted(self)
            self.transport.abortConnection()  # type: ignore[union-attr]

    def answer(self, call: Call, answer: Answer, broken: str = "") -> None:
        """Send a response: whole, cut in the body or the head, or with bare line feeds in the head."""
        if not self.open:
            return
        raw, head = self._bytes(call, answer)
        if broken == "bare_lf":
            raw = raw[:head].replace(b"\r\n", b"\n") + raw[head:]
        elif broken:
            kept = head // 2 if broken == "cut_head" else head + (len(raw) - head) // 2
            self.transport.write(raw[:kept])  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self.transport.write(raw)  # type: ignore[union-attr]
        self.busy = False
        if self._keeps:
            self._next()
        else:
            self.transport.loseConnection()  # type: ignore[union-attr]

    def _next(self) -> None:
        if self.open and not self.busy and self._waiting:
            self.busy = True
            incoming = self._waiting.pop(0)
            self._keeps = incoming.keeps
            self._hosp.take(self, incoming)

    def _bytes(self, call: Call, answer: Answer) -> tuple[bytes, int]:
        full = answers.dressed(
            answer, call.method, call.headers, id_=answers.request_id(call.headers, "hosp"), runtime_s=0.1,
            wall=self._hosp.wall(),
        )  # fmt: skip
        lines = [
            f"HTTP/1.1 {full.status} {full.reason}",
            *(f"{name}: {value}" for name, value in self._hosp.fields(full.headers)),
        ]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        body = b"" if call.method == "HEAD" else full.body
        return head + body, len(head)

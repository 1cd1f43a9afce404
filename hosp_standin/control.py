"""The control port: shows what happened, and changes records without the proxy's knowledge.

It speaks JSON, asks for no credentials, and listens on loopback only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from attrs import asdict
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from .faults import BadFaults, Faults, Scripted
from .journal import KINDS
from .machine import Machine
from .records import RESOURCES, OutOfRange

Body = Mapping[str, object]


class Mistake(Exception):
    """A request that the control port cannot carry out; the message says why."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


class PowerSwitch(Protocol):
    """Takes the stand-in's port offline and back."""

    @property
    def offline(self) -> bool:
        """Whether it is offline now."""

    def set_offline(self, offline: bool, for_s: float | None = None) -> None:
        """Go offline or come back; with ``for_s`` come back automatically after so many real seconds."""


class Control:
    """The control port's functions, as plain calls.

    Arguments:
        machine: handles HOSP's requests.
        switch: of the stand-in that serves the machine.
    """

    def __init__(self, machine: Machine, switch: PowerSwitch) -> None:
        self._machine = machine
        self._switch = switch

    def journal(self, query: Mapping[str, str]) -> object:
        """Journal entries after ``since``, of one or several ``kind`` (comma-separated) and one ``resource``."""
        kinds = [kind for kind in query.get("kind", "").split(",") if kind]
        if unknown := set(kinds) - set(KINDS):
            raise Mistake(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
        limit = _natural(query["limit"], "limit") if "limit" in query else None
        since = _natural(query.get("since", "0"), "since")
        journal = self._machine.journal
        return {
            "entries": journal.entries(since, kinds, query.get("resource"), limit),
            "dropped": journal.dropped,
        }

    def stats(self) -> object:
        """Counters, and the current state."""
        stats, places = self._machine.stats, self._machine.places
        return {
            "requests": stats.requests,
            "by_route": stats.by_route,
            "by_status": stats.by_status,
            "by_fault": stats.by_fault,
            "by_staff": stats.by_staff,
            "in_flight": stats.in_flight,
            "max_in_flight": stats.max_in_flight,
            "working": places.taken,
            "max_working": places.most_taken,
            "queued": places.waiting,
            "max_queued": places.most_waiting,
            "late_commits": self._machine.late_commits,
            "offline": self._switch.offline,
        }

    def records(self, resource: str) -> object:
        """All records of a resource as stored, newest first."""
        if resource not in RESOURCES:
            raise Mistake(f"no such resource: {resource}", 404)
        return list(self._machine.store.newest_first(resource))

    def faults(self) -> object:
        """Faults in force, and scripted faults."""
        planner = self._machine.planner
        return {**asdict(planner.faults), "script": [asdict(each) for each in planner.script]}

    def set_faults(self, body: Body) -> object:
        """Replace all fault rates; rates that `body` does not name become 0. Scripted faults stay."""
        try:
            self._machine.planner.faults = Faults.from_mapping(body)
        except BadFaults as problem:
            raise Mistake(str(problem))
        return self.faults()

    def script(self, body: Body) -> object:
        """Add faults for the next matching requests."""
        given = body.get("faults")
        if not isinstance(given, list) or not all(isinstance(each, dict | str | None) for each in given):
            raise Mistake("faults: a list of names or objects was expected")
        try:
            scripted = [
                Scripted.from_mapping(each if isinstance(each, dict) else {"fault": each}) for each in given
            ]
        except BadFaults as problem:
            raise Mistake(str(problem))
        self._machine.planner.script.extend(scripted)
        return self.faults()

    def offline(self, body: Body) -> object:
        """Go offline or come back. With ``for_s`` come back automatically after so many real seconds."""
        away, for_s = body.get("offline"), body.get("for_s")
        if not isinstance(away, bool):
            raise Mistake("offline: true or false was expected")
        if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, int | float) or for_s < 0):
            raise Mistake("for_s: seconds were expected")
        self._switch.set_offline(away, for_s)
        return {"offline": away}

    def set_cookie(self, body: Body) -> object:
        """Switch the Set-Cookie header of every response on or off."""
        wanted = body.get("set_cookie")
        if not isinstance(wanted, bool):
            raise Mistake("set_cookie: true or false was expected")
        self._machine.set_cookie = wanted
        return {"set_cookie": wanted}

    def change(self, body: Body) -> object:
        """Create, change or delete a record directly, as if somebody bypassed the proxy."""
        resource, id_, store = body.get("resource"), body.get("id"), self._machine.store
        if not isinstance(resource, str) or resource not in RESOURCES:
            raise Mistake(f"resource: one of {', '.join(RESOURCES)} was expected")
        create, fields = body.get("create"), body.get("fields")
        try:
            if isinstance(create, dict):
                kind, record = "stored", store.create(resource, create)
            elif not isinstance(id_, int):
                raise Mistake("id: a number was expected, or create: an object")
            elif body.get("delete") is True:
                kind, record = "deleted", store.delete(resource, id_)  # type: ignore[assignment]
            elif isinstance(fields, dict):
                kind, record = "updated", store.update(resource, id_, fields)  # type: ignore[assignment]
            else:
                raise Mistake("fields: an object was expected, or delete: true")
        except OutOfRange as problem:
            raise Mistake(f"out of range: {problem}")
        if record is None:
            raise Mistake(f"no such record: {resource} {id_}", 404)
        self._machine.journal.add(
            kind,
            resource=resource,
            id=record["id"],
            fields=record,
            in_flight=self._machine.stats.in_flight,
        )
        return record

    def reset(self, _: Body) -> object:
        """Return to the seed, without faults, online."""
        self._machine.reset()
        self._switch.set_offline(False)
        return {}


class ControlResource(Resource):
    """Serves `Control` over HTTP."""

    isLeaf = True  # noqa: N815 - twisted.web's own name

    def __init__(self, control: Control) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._control = control
        self._posts: dict[str, Callable[[Body], object]] = {
            "/faults": control.set_faults,
            "/script": control.script,
            "/offline": control.offline,
            "/set-cookie": control.set_cookie,
            "/change": control.change,
            "/reset": control.reset,
        }

    def render(self, request: IRequest) -> bytes:
        """Handle one request."""
        try:
            value = self._answer(request)
        except Mistake as mistake:
            request.setResponseCode(mistake.status)
            value = {"error": str(mistake)}
        request.setHeader(b"content-type", b"application/json")
        return msgspec.json.encode(value) + b"\n"

    def _answer(self, request: IRequest) -> object:
        path = request.path.decode("utf-8", "replace").rstrip("/")
        if request.method == b"POST" and path in self._posts:
            return self._posts[path](_body_of(request))
        if request.method in (b"GET", b"HEAD"):
            if path.startswith("/records/"):
                return self._control.records(path.removeprefix("/records/"))
            match path:
                case "/journal":
                    return self._control.journal(_query_of(request))
                case "/stats":
                    return self._control.stats()
                case "/faults":
                    return self._control.faults()
        raise Mistake(f"no such thing: {request.method.decode('latin-1')} {path}", 404)


def _body_of(request: IRequest) -> Body:
    request.content.seek(0)
    raw = request.content.read()
    try:
        body = msgspec.json.decode(raw) if raw.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Mistake(f"not JSON: {problem}")
    if not isinstance(body, dict):
        raise Mistake("a JSON object was expected")
    return body


def _query_of(request: IRequest) -> dict[str, str]:
    return {name.decode("latin-1"): values[-1].decode("latin-1") for name, values in request.args.items()}


def _natural(text: str, name: str) -> int:
    if not text.isdecimal():
        raise Mistake(f"{name}: a number was expected, not {text!r}")
    return int(text)

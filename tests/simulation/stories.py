"""Small synthetic histories for tests of the checker's rules."""

from __future__ import annotations

from typing import Any

from simulation.checker import Truth, Violation, check
from simulation.history import (
    Asked,
    Broke,
    Committed,
    Credentials,
    Event,
    History,
    InHand,
    Life,
    Measured,
    Premises,
    Recorded,
    Told,
    Trouble,
    Unhandled,
)

STAMP = "2026-01-01T00:00:00.000Z"


def note(id_: int = 1, title: str | None = "A", staff: int = 1, patient: int = 1) -> dict[str, Any]:
    return {
        "id": id_, "title": title, "body": "x", "patient_id": patient, "staff_id": staff,
        "created_at": STAMP, "updated_at": STAMP,
    }  # fmt: skip


def shown(state: dict[str, Any], resource: str = "notes", **more: Any) -> dict[str, Any]:
    return {**state, "url": f"http://hosp.example/{resource}/{state['id']}.json", **more}


class Story:
    """Builds a history; times are given by the test."""

    def __init__(self, **premises: Any) -> None:
        self.history = History()
        self.intents = True
        self.history.add(Premises(**premises))
        for id_, name in ((1, "ann"), (2, "bob")):
            self.add(Credentials(0.0, name, f"{name}-1", id_, f"{id_}.0"))
        self.stored(0.0, note(), staff=None)
        self._last = 0

    def add(self, event: Event) -> None:
        self.history.add(event)

    def ask(self, at: float, method: str, target: str, body: Any = None, **more: Any) -> int:
        self._last += 1
        name = more.pop("name", "ann")
        fields = {
            "intent": f"i{self._last}", "person": name, "name": name, "password": f"{name}-1",
            "headers": (("X-Request-Id", f"sim-{self._last}"),), **more,
        }  # fmt: skip
        self.add(Asked(at, self._last, method=method, target=target, body=body, **fields))
        return self._last

    def tell(
        self, at: float, op: int, status: int, body: Any = None, cache: str = "", record: bool = True
    ) -> None:
        headers = {"x-request-id": f"sim-{op}", "cache-status": f"hospproxy; {cache}" if cache else ""}
        if status in (429, 503):
            headers["retry-after"] = "1"
        self.add(Told(at, op, status, headers, body))
        if record:
            self.record(op, status=status)

    def breaks(self, at: float, op: int, why: str = "reset") -> None:
        self.add(Broke(at, op, why))

    def record(self, op: int, **fields: Any) -> None:
        asked = next(event for event in self.history.of(Asked) if event.op == op)
        number = sum(1 for line in self.history.of(Recorded) if "w0" in line.file) + 1
        staff = {"ann": 1, "bob": 2}.get(asked.name)
        pieces = asked.target.partition("?")[0].strip("/").split("/")
        last = [event for event in self.history.of(Told) if event.op == op][-1:]
        body = last[0].body if last and isinstance(last[0].body, dict) else {}
        status = fields.get("status")
        doubt = "outcome" in body and status != 200
        path = asked.target.partition("?")[0]
        default = {
            "method": asked.method,
            "route": "/".join("{id}" if piece.isdigit() else piece for piece in path.split("/")),
            "kind": "request", "request_id": f"sim-{op}", "seq": number, "client_gone": False,
            "who": {"id": staff, "certainty": "verified"},
            "outcome": "unknown" if doubt else "success" if status and status < 400 else "failed",
            "record_id": pieces[1] if len(pieces) == 2 else body.get("id"),
            "patient_id": pieces[1] if pieces[0] == "patients" and len(pieces) > 1 else body.get("patient_id"),
        }  # fmt: skip
        self.add(Recorded(999.0, "m0", "audit-w0-1.jsonl", number, {**default, **fields}))

    def stored(self, at: float, state: dict[str, Any], op: int | None = None, staff: int | None = 1) -> None:
        sent = {"title": state["title"], "body": "x", "patient_id": state["patient_id"]}
        self._commit(at, "stored", state["id"], None, state, op, staff, sent)

    def updated(
        self,
        at: float,
        before: dict[str, Any],
        after: dict[str, Any],
        op: int | None = None,
        staff: int | None = 1,
    ) -> None:
        sent = {name: after[name] for name in after if after[name] != before[name]}
        self._commit(at, "updated", after["id"], before, after, op, staff, sent)

    def deleted(
        self, at: float, before: dict[str, Any], op: int | None = None, staff: int | None = 1
    ) -> None:
        self._commit(at, "deleted", before["id"], before, None, op, staff, {})

    def _commit(
        self,
        at: float,
        kind: str,
        id_: int,
        before: Any,
        after: Any,
        op: int | None,
        staff: int | None,
        sent: Any,
    ) -> None:
        request = f"sim-{op}" if op else ""
        self.add(
            Committed(at, kind, "notes", id_, before, after, staff if op else None, "", request, sent, at)
        )
        if op and self.intents:
            self.add(Recorded(at, "m0", "audit-w1-1.jsonl", 1, {"kind": "intent", "request_id": request}))

    def hand(self, number: int, begins: float, ends: float, deserted: float | None = None) -> None:
        self.add(InHand(begins, number, "begins", "GET", f"/{number}"))
        if deserted is not None:
            self.add(InHand(deserted, number, "deserted"))
        self.add(InHand(ends, number, "ends"))

    def rules(self) -> set[str]:
        return {violation.rule for violation in self.violations()}

    def violations(self) -> list[Violation]:
        return check(self.history)


__all__ = ["Life", "Measured", "Story", "Trouble", "Truth", "Unhandled", "note", "shown"]

"""What HOSP's Rails application does with one request: records, filters, screenings, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from hosp_standin import answers, params
from hosp_standin.answers import Answer
from hosp_standin.calls import Call, Route
from hosp_standin.records import RESOURCES, OutOfRange, Record, Store, timestamp, to_integer

from ..history import Committed, Credentials

FINDINGS = ("no abnormality detected", "suspected fracture", "soft tissue swelling", "foreign body")


class Refused(Exception):
    """Ends the request with this status."""

    def __init__(self, status: int, answer: Answer | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


@frozen
class Done:
    """The response, and what was changed (None: nothing)."""

    answer: Answer
    commit: Committed | None = None


class Records(Store):
    """HOSP's tables, with imported records far above the sequence and timestamps that differ.

    :param wall: HOSP's own clock, seconds since 1970.
    :param stamps_differ: a new record is stamped as updated so many seconds after it was created; True: 3 ms.
    """

    def __init__(self, wall: Callable[[], float], *, stamps_differ: float = 0.0) -> None:
        super().__init__({}, wall)
        self._stamps_differ = 0.003 if stamps_differ is True else stamps_differ

    def newest_first(self, resource: str, column: str | None = None, among: Any = ()) -> Any:
        """All records, or those with such a value, by falling id."""
        rows = sorted(self._records[resource].values(), key=lambda row: -int(str(row["id"])))
        return (row for row in rows if column is None or row[column] in among)

    def create(self, resource: str, fields: Mapping[str, object]) -> Record:
        """Store a new record; imported ids are skipped."""
        while self._last_id[resource] + 1 in self._records[resource]:
            self._last_id[resource] += 1
        record = super().create(resource, fields)
        if self._stamps_differ:
            record = {**record, "updated_at": timestamp(self._wall() + self._stamps_differ)}
            self._records[resource][int(str(record["id"]))] = record
        return record

    def put(self, resource: str, id_: int, fields: Mapping[str, object]) -> Record:
        """Import a record under an id of its own; the sequence does not change."""
        values = RESOURCES[resource].coerce(fields)
        self._take_password(resource, id_, values)
        now = timestamp(self._wall() - 86400)
        columns = {name: values.get(name) for name in RESOURCES[resource].columns if name != "password"}
        record = {"id": id_, **columns, "created_at": now, "updated_at": now}
        self._records[resource][id_] = record
        return record

    def go_on_from(self, resource: str, id_: int) -> None:
        """Set the sequence: its next id is above this one."""
        self._last_id[resource] = max(self._last_id[resource], id_)

    def password(self, id_: int) -> str | None:
        """The password of a member of staff, None once deleted."""
        return self._passwords.get(id_)


@frozen
class Application:
    """HOSP's rules on its records.

    :param visible: ``all``, or ``own``: staff reach only what belongs to their own hospital.
    :param marked: each record in a response says for whom it was made, as ``made_for``.
    :param passes_over: filters other than `hospital_id` of patients and `patient_id` of notes do nothing.
    :param notice: called when credentials change.
    """

    records: Records
    visible: str = "all"
    marked: bool = False
    passes_over: bool = False
    now: Callable[[], float] = lambda: 0.0
    notice: Callable[[Credentials], None] = lambda _: None
    versions: dict[int, int] = field(factory=dict)

    def carry_out(self, call: Call) -> Done:
        """Carry out a whole request at once, in Rails' order: route, parameters, credentials, action."""
        try:
            if call.route.action == "none":
                raise Refused(404)
            if call.route.action == "root":
                return Done(answers.page(200, "HOSP", "Server is online."))
            query, body = self._parameters(call)
            staff = self._authenticated(call)
            return self._act(call, staff, query, body)
        except Refused as refused:
            return Done(refused.answer or self.error(call, refused.status))

    def error(self, call: Call, status: int) -> Answer:
        """Error response in the format that the request asks for."""
        return answers.error(status, call.accept, json_suffix=call.route.json_suffix)

    def mark_of(self, staff: Record) -> str:
        """Identifies credentials: the member of staff, and the number of the password."""
        id_ = int(str(staff["id"]))
        return f"{id_}.{self.versions.get(id_, 0)}"

    def may_see(self, name: str, record: Record, staff: Record) -> bool:
        """Whether this member of staff may see a record."""
        if self.visible == "all":
            return True
        if name == "patients":
            return record.get("hospital_id") == staff["hospital_id"]
        if name == "notes":
            patient = self.records.get("patients", int(str(record.get("patient_id") or 0)))
            return patient is not None and patient["hospital_id"] == staff["hospital_id"]
        return True

    def change(self, kind: str, name: str, id_: int, fields: Mapping[str, object]) -> Committed | None:
        """Change a record without the proxy's knowledge: ``create``, ``update`` or ``delete``."""
        if kind == "create":
            return self._stored(name, fields, None, "")
        return self._changed(kind, name, id_, fields, None, "")

    def _parameters(self, call: Call) -> tuple[params.Params, params.Params]:
        try:
            query = params.parse_pairs(call.query.encode("latin-1", "replace"))
            content_type = call.headers.get("content-type", "")
            if not content_type and call.effective_method in ("GET", "HEAD", "DELETE"):
                return query, {}
            return query, params.parse_body(content_type, call.body)
        except params.MalformedBody:
            raise Refused(400, Answer(400))
        except params.BadParameters:
            raise Refused(400)

    def _authenticated(self, call: Call) -> Record:
        staff = self.records.authenticate(*call.credentials) if call.credentials else None
        if staff is None:
            raise Refused(401, answers.access_denied())
        return staff

    def _act(self, call: Call, staff: Record, query: params.Params, body: params.Params) -> Done:
        route = call.route
        match route.action:
            case "index":
                return Done(self._index(call, staff, query))
            case "me":
                return Done(self._shown(call, "staffs", staff, staff))
            case "show":
                return Done(self._shown(call, route.resource, self._member(route, staff), staff))
            case "screen":
                return self._screened(call, staff, self._member(route, staff), body)
            case "destroy":
                self._member(route, staff)
                gone = self._changed("delete", route.resource, route.id, {}, staff, self._request_id(call))
                return Done(answers.page(200, "Deleted", f"{route.resource} {route.id} was deleted."), gone)
        try:
            return self._write(call, staff, params.fields_for(RESOURCES[route.resource], query, body))
        except params.BadParameters:
            raise Refused(400)
        except (params.BrokenParameters, OutOfRange):
            raise Refused(500)

    def _index(self, call: Call, staff: Record, query: params.Params) -> Answer:
        name = call.route.resource
        rows = [row for row in self.records.newest_first(name) if self.may_see(name, row, staff)]
        for column, value in query.items():
            if self.passes_over and column != RESOURCES[name].filter:
                continue
            if column in RESOURCES[name].columns and column != "password" and value not in ("", None):
                wanted = RESOURCES[name].coerce({column: value})[column]
                rows = [row for row in rows if row[column] == wanted]
        base = answers.base_url(call.headers)
        return answers.json_answer(200, [self._dressed(base, name, row, staff) for row in rows])

    def _member(self, route: Route, staff: Record) -> Record:
        record = self.records.get(route.resource, route.id)
        if record is None or not self.may_see(route.resource, record, staff):
            raise Refused(404)
        return record

    def _dressed(self, base: str, name: str, record: Record, staff: Record) -> dict[str, object]:
        value = answers.shown(base, name, record)
        return {**value, "made_for": self.mark_of(staff)} if self.marked else value

    def _shown(self, call: Call, name: str, record: Record, staff: Record, status: int = 200) -> Answer:
        value = self._dressed(answers.base_url(call.headers), name, record, staff)
        location = (("Location", str(value["url"]).removesuffix(".json")),) if status == 201 else ()
        return answers.json_answer(status, value, location)

    def _screened(self, call: Call, staff: Record, patient: Record, body: params.Params) -> Done:
        images = body.get("images")
        if not isinstance(images, list):
            raise Refused(422)
        results = [f"{FINDINGS[len(str(image)) % len(FINDINGS)]} in {image}" for image in images]
        result = {"overall": f"{len(results)} images screened", "results": results}
        commit = Committed(
            self.now(), "screened", "patients", int(str(patient["id"])), None, result,
            int(str(staff["id"])), self.mark_of(staff), self._request_id(call), {"images": images},
        )  # fmt: skip
        return Done(answers.json_answer(200, result), commit)

    def _write(self, call: Call, staff: Record, fields: params.Params) -> Done:
        name = call.route.resource
        if call.route.action == "create":
            if not self.may_see(name, RESOURCES[name].coerce(fields), staff):
                raise Refused(404)
            commit = self._stored(name, fields, staff, self._request_id(call))
            assert commit.after is not None
            return Done(self._shown(call, name, commit.after, staff, 201), commit)
        # As in Rails: it is looked up among the visible records, and may be moved out of them.
        self._member(call.route, staff)
        changed = self._changed("update", name, call.route.id, fields, staff, self._request_id(call))
        assert changed is not None and changed.after is not None
        return Done(self._shown(call, name, changed.after, staff), changed)

    def _stored(
        self, name: str, fields: Mapping[str, object], staff: Record | None, request: str
    ) -> Committed:
        record = self.records.create(name, fields)
        id_ = int(str(record["id"]))
        self._credentials_of(name, None, None, id_, behind=staff is None)
        return self._commit("stored", name, id_, None, record, staff, request, fields)

    def _changed(
        self, kind: str, name: str, id_: int, fields: Mapping[str, object], staff: Record | None, request: str
    ) -> Committed | None:
        before = self.records.get(name, id_)
        if before is None:
            return None
        mark = self.mark_of(staff) if staff else ""
        password = self.records.password(id_)
        after = self.records.delete(name, id_) if kind == "delete" else self.records.update(name, id_, fields)
        self._credentials_of(name, before, password, id_, behind=staff is None)
        done = "deleted" if kind == "delete" else "updated"
        state = None if kind == "delete" else after
        return self._commit(done, name, id_, before, state, staff, request, fields, mark)

    def _commit(
        self, kind: str, name: str, id_: int, before: Record | None, after: Record | None, staff: Record | None,
        request: str, sent: Any, mark: str | None = None,
    ) -> Committed:  # fmt: skip
        sent = {column: value for column, value in sent.items() if column != "password"}
        whose = None if staff is None else int(str(staff["id"]))
        mark = mark if mark is not None else (self.mark_of(staff) if staff else "")
        return Committed(self.now(), kind, name, id_, before, after, whose, mark, request, sent)

    def _credentials_of(
        self, name: str, before: Record | None, password: str | None, id_: int, *, behind: bool
    ) -> None:
        """Report which credentials this change of a member of staff makes valid, and which invalid."""
        if name != "staffs":
            return
        after, new = self.records.get(name, id_), self.records.password(id_)
        old = (str(before["name"]), password) if before and password else None
        now = (str(after["name"]), new) if after and new else None
        if old == now:
            return
        self.versions[id_] = self.versions.get(id_, -1) + 1
        if old:
            self.notice(Credentials(self.now(), *old, None, behind=behind))
        if after and now:
            self.notice(Credentials(self.now(), *now, id_, self.mark_of(after), behind=behind))

    def _request_id(self, call: Call) -> str:
        return call.headers.get("x-request-id", "")


def body_of(answer: Answer) -> Any:
    """The decoded body of a response, for tests."""
    return json.loads(answer.body)


__all__ = ["Application", "Done", "Records", "body_of", "to_integer"]

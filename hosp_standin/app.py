"""What HOSP's Rails application does with one request: authenticate, authorise, and carry it out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from attrs import frozen

from . import answers, params
from .answers import Answer
from .calls import Call, Route
from .records import RESOURCES, OutOfRange, Record, Store, to_integer

_FINDINGS = (
    "no abnormality detected",
    "suspected fracture",
    "soft tissue swelling",
    "enlarged heart",
    "foreign body",
    "image quality too low to judge",
)


class Refused(Exception):
    """Ends the request with this status and Rails' error body (None: with the given response)."""

    def __init__(self, status: int, answer: Answer | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


@frozen
class Outcome:
    """The response, and what was done for whom: kind is ``stored``, ``updated``, ``deleted``, ``screened`` or None."""

    answer: Answer
    staff: Record | None = None
    kind: str | None = None
    resource: str | None = None
    id: int | None = None
    fields: Mapping[str, object] | None = None


class Application:
    """HOSP's application on a store. `carry_out` handles one whole request, without waiting and without faults.

    Arguments:
        store: the records.
        own_hospital_only: staff see and reach only records of their own hospital.
    """

    def __init__(self, store: Store, own_hospital_only: bool = False) -> None:
        self.store = store
        self.own_hospital_only = own_hospital_only

    def carry_out(self, call: Call) -> Outcome:
        """Carry out a request, in Rails' order: route, parameters, credentials, action."""
        staff: Record | None = None
        try:
            if call.route.action == "none":
                raise Refused(404)
            if call.route.action == "root":
                return Outcome(answers.page(200, "HOSP", "Server is online."))
            query, body = self._parameters(call)
            staff = self._authenticated(call)
            return self._act(call, staff, query, body)
        except Refused as refused:
            answer = refused.answer or self.error(call, refused.status)
            return Outcome(answer, staff)

    def error(self, call: Call, status: int) -> Answer:
        """Error response in the format that the request asks for."""
        return answers.error(status, call.accept, json_suffix=call.route.json_suffix)

    def staff_of(self, call: Call) -> Record | None:
        """The member of staff whose credentials a request carries, if they are right."""
        return self.store.authenticate(*call.credentials) if call.credentials else None

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
        staff = self.staff_of(call)
        if staff is None:
            raise Refused(401, answers.access_denied())
        return staff

    def _act(self, call: Call, staff: Record, query: params.Params, body: params.Params) -> Outcome:
        route = call.route
        match route.action:
            case "index":
                return Outcome(self._index(call, staff, query), staff)
            case "me":
                return Outcome(self._shown(call, "staffs", staff), staff)
            case "show":
                return Outcome(self._shown(call, route.resource, self._member(route, staff)), staff)
            case "screen":
                record = self._member(route, staff)
                result = screening(query.get("images", body.get("images")))
                answer = answers.json_answer(200, result)
                return Outcome(answer, staff, "screened", route.resource, to_integer(record["id"]), result)
            case "destroy":
                self._member(route, staff)
                gone = self.store.delete(route.resource, route.id)
                title = RESOURCES[route.resource].singular.capitalize()
                answer = answers.page(200, title, f"{title} {route.id} was deleted.")
                return Outcome(answer, staff, "deleted", route.resource, route.id, gone)
        try:
            return self._write(call, staff, params.fields_for(RESOURCES[route.resource], query, body))
        except params.BadParameters:
            raise Refused(400)
        except (params.BrokenParameters, OutOfRange):
            raise Refused(500)

    def _write(self, call: Call, staff: Record, fields: params.Params) -> Outcome:
        name, route = call.route.resource, call.route
        if route.action == "update":
            before = self._member(route, staff)
            record = self.store.update(name, route.id, fields) or before
            return Outcome(self._shown(call, name, record), staff, "updated", name, route.id, record)
        if name == "staffs" and not fields.get("password"):
            raise Refused(422, answers.json_answer(422, {"password": ["can't be blank"]}))
        if not self._may_reach(name, RESOURCES[name].coerce(fields), staff, creating=True):
            raise Refused(404)
        record = self.store.create(name, fields)
        return Outcome(
            self._shown(call, name, record, 201), staff, "stored", name, to_integer(record["id"]), record
        )

    def _index(self, call: Call, staff: Record, query: params.Params) -> Answer:
        name, base = call.route.resource, answers.base_url(call.headers)
        column = RESOURCES[name].filter
        wanted = query.get(column) if column else None
        if isinstance(wanted, dict):
            raise Refused(500)
        if not wanted:
            column = None
        try:
            among = {to_integer(value) for value in (wanted if isinstance(wanted, list) else [wanted])}
        except OutOfRange:
            return answers.json_answer(200, [])
        records = self.store.newest_first(name, column, among)
        seen = [answers.shown(base, name, each) for each in records if self._may_reach(name, each, staff)]
        return answers.json_answer(200, seen)

    def _member(self, route: Route, staff: Record) -> Record:
        record = self.store.get(route.resource, route.id)
        if record is None or not self._may_reach(route.resource, record, staff):
            raise Refused(404)
        return record

    def _shown(self, call: Call, name: str, record: Record, status: int = 200) -> Answer:
        value = answers.shown(answers.base_url(call.headers), name, record)
        location = str(value["url"]).removesuffix(".json")
        return answers.json_answer(status, value, (("Location", location),) if status == 201 else ())

    def _may_reach(self, name: str, record: Record, staff: Record, *, creating: bool = False) -> bool:
        if not self.own_hospital_only:
            return True
        match name:
            case "hospitals":
                return creating or record["id"] == staff["hospital_id"]
            case "patients":
                return record.get("hospital_id") == staff["hospital_id"]
            case "notes":
                patient_id = record.get("patient_id")
                patient = self.store.get("patients", patient_id) if isinstance(patient_id, int) else None
                return patient is not None and patient["hospital_id"] == staff["hospital_id"]
        return True


def screening(images: object) -> dict[str, object]:
    """Screening result for an array of images: one text each, in order. Equal images give equal results.

    Raises:
        Refused: with 422, if `images` is not an array.
    """
    if not isinstance(images, list):
        raise Refused(422)
    results = [_finding(image) for image in images]
    odd = sum(not result.startswith(_FINDINGS[0]) for result in results)
    overall = f"{odd} of {len(results)} images need attention" if odd else "no abnormality detected"
    return {"overall": overall if results else "no images", "results": results}


def _finding(image: object) -> str:
    text = image if isinstance(image, str) else json.dumps(image, sort_keys=True)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return f"{_FINDINGS[digest[0] % len(_FINDINGS)]} ({50 + digest[1] % 50} %)"

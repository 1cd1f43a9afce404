"""What the Rails application behind HOSP makes of one request: routes, credentials, and the deed itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import unquote

from attrs import define, frozen

from . import answers, params
from .answers import Answer
from .records import RESOURCES, OutOfRange, Record, Store, to_integer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_FINDINGS = (
    "no abnormality detected",
    "suspected fracture",
    "soft tissue swelling",
    "enlarged heart",
    "foreign body",
    "image quality too low to judge",
)


class Refused(Exception):
    """The request ends with this status and Rails' error body (None: with the answer given)."""

    def __init__(self, status: int, answer: Answer | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


@frozen
class Route:
    """Where a request leads: an action on a resource, for the paths of members on one record."""

    action: str
    resource: str = ""
    id: int = 0
    path: str = "/"
    json_suffix: bool = False

    @property
    def template(self) -> str:
        """The path with ``:id`` for the number, for counting."""
        return re.sub(r"/\d[^/]*", "/:id", self.path) if self.action != "none" else "(none)"


@define(slots=False)
class Call:
    """A request as HOSP received it. `headers` have names in lower case; of doubled ones, values are joined."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def accept(self) -> str:
        """The Accept header, empty if there is none."""
        return self.headers.get("accept", "")

    @cached_property
    def effective_method(self) -> str:
        """The method after Rack::MethodOverride: a POST may say that it means another."""
        if self.method != "POST":
            return self.method
        wanted = self.headers.get("x-http-method-override", "")
        content_type = self.headers.get("content-type", "")
        if not wanted and params.is_form(content_type):
            try:
                wanted = str(params.parse_body(content_type, self.body).get("_method", ""))
            except params.BadParameters:
                wanted = ""
        wanted = wanted.strip().upper()
        return wanted if wanted in _METHODS else self.method

    @cached_property
    def route(self) -> Route:
        """Where this leads; action ``none`` if nowhere."""
        return find_route(self.effective_method, self.path)

    @cached_property
    def credentials(self) -> tuple[str, str] | None:
        """Name and password of the Authorization header, read as leniently as Rails does."""
        return basic_credentials(self.headers.get("authorization", ""))


@frozen
class Outcome:
    """The answer, and what was done for whom: kind is ``stored``, ``updated``, ``deleted``, ``screened`` or None."""

    answer: Answer
    staff: Record | None = None
    kind: str | None = None
    resource: str | None = None
    id: int | None = None
    fields: Mapping[str, object] | None = None


def find_route(method: str, path: str) -> Route:
    """
    The route of a path, as Rails' router reads it: doubled and trailing slashes and ``.json`` make no difference.

    A known path with another method has no route: Rails answers that with 404.
    """
    pieces = [unquote(piece) for piece in path.split("/") if piece]
    json_suffix = bool(pieces) and pieces[-1].endswith(".json")
    if json_suffix:
        pieces[-1] = pieces[-1].removesuffix(".json")
    read, change = method in ("GET", "HEAD"), method in ("PATCH", "PUT")
    action, resource, id_ = "none", pieces[0] if pieces else "", 0
    if resource and resource not in RESOURCES:
        return Route("none", path="/" + "/".join(pieces), json_suffix=json_suffix)
    match pieces:
        case []:
            action = "root" if read else "none"
        case [_]:
            action = "index" if read else "create" if method == "POST" else "none"
        case ["staffs", "me"] if read:
            action = "me"
        case [_, given]:
            id_ = _id(given)
            action = "show" if read else "update" if change else "destroy" if method == "DELETE" else "none"
        case ["patients", given, "screen"] if method == "POST":
            id_, action = _id(given), "screen"
    return Route(action, resource, id_, "/" + "/".join(pieces), json_suffix)


def basic_credentials(header: str) -> tuple[str, str] | None:
    """Name and password, or None: any case, extra spaces, missing padding and stray characters are accepted."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    text = _NOT_BASE64.sub("", rest.partition("=")[0])
    if len(text) % 4 == 1:
        text = text[:-1]
    decoded = base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
    name, colon, password = decoded.partition(":")
    return (name, password) if colon else None


class Application:
    """
    HOSP's application on a store. `carry_out` is one whole request, without waiting and without faults.

    Arguments:
        store: the records.
        own_hospital_only: staff see and reach only what belongs to their own hospital.
    """

    def __init__(self, store: Store, own_hospital_only: bool = False) -> None:
        self.store = store
        self.own_hospital_only = own_hospital_only

    def carry_out(self, call: Call) -> Outcome:
        """Do what the request asks. Order as in Rails: route, parameters, credentials, the deed."""
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
        """An error in the form that the request asks for."""
        return answers.error(status, call.accept, json_suffix=call.route.json_suffix)

    def staff_of(self, call: Call) -> Record | None:
        """Whose credentials a request carries, if they are right."""
        return self.store.authenticate(*call.credentials) if call.credentials else None

    def _parameters(self, call: Call) -> tuple[params.Params, params.Params]:
        try:
            query = params.parse_pairs(call.query.encode("latin-1", "replace"))
            return query, params.parse_body(call.headers.get("content-type", ""), call.body)
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
            self._member(route, staff)
            record = self.store.update(name, route.id, fields)
            if record is None:
                raise Refused(404)
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
    """
    The result for an array of images: always the same for the same images, one text an image, in their order.

    Raises:
        Refused: with 422, if it is no array.
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


def _id(text: str) -> int:
    try:
        return to_integer(text) or 0
    except OutOfRange:
        return 0

"""A request as HOSP's Rails application reads it: method, route, credentials."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import unquote

from attrs import define, frozen

from . import params
from .records import RESOURCES, OutOfRange, to_integer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


@frozen
class Route:
    """Where a request leads: an action on a resource, and for member paths on one record."""

    action: str
    resource: str = ""
    id: int = 0
    path: str = "/"
    json_suffix: bool = False

    @property
    def template(self) -> str:
        """Path with ``:id`` in place of the number, for counting by a bounded set of names."""
        match self.action:
            case "none":
                return "(none)"
            case "root":
                return "/"
            case "index" | "create":
                return f"/{self.resource}"
            case "me":
                return "/staffs/me"
            case "screen":
                return "/patients/:id/screen"
        return f"/{self.resource}/:id"


@define(slots=False)
class Call:
    """A request as HOSP received it. `headers` have names in lower case; values of repeated headers are joined."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def accept(self) -> str:
        """Value of the Accept header, empty if there is none."""
        return self.headers.get("accept", "")

    @cached_property
    def effective_method(self) -> str:
        """Method after Rack::MethodOverride: a POST may ask for another method."""
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
        """Route of the request; its action is ``none`` if there is no such route."""
        return find_route(self.effective_method, self.path)

    @cached_property
    def credentials(self) -> tuple[str, str] | None:
        """Name and password of the Authorization header, parsed as leniently as Rails does."""
        return basic_credentials(self.headers.get("authorization", ""))


def find_route(method: str, path: str) -> Route:
    """Find the route of a path as Rails' router does: it ignores doubled and trailing slashes and ``.json``.

    A known path with another method has no route: Rails responds with 404.
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
    """Parse Basic credentials, in any case, with extra spaces, missing padding or stray characters; else None."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    text = _NOT_BASE64.sub("", rest.partition("=")[0])
    if len(text) % 4 == 1:
        text = text[:-1]
    decoded = base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
    name, colon, password = decoded.partition(":")
    return (name, password) if colon else None


def _id(text: str) -> int:
    try:
        return to_integer(text) or 0
    except OutOfRange:
        return 0

"""The paths of the audit page. Pure."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from attrs import frozen

_TEXT = 200


@frozen(slots=True)
class PageRoute:
    """A path that matches one of the audit page's routes.

    :param template: as records name it.
    :param action: as records name it: "search", "read" or "export".
    :param values: of the template's parameters, in order.
    """

    template: str
    action: str
    values: tuple[str, ...] = ()


SEARCH = "/audit"
TROUBLE = "/audit/trouble"
PATIENT = "/audit/patients/{id}"
DISCLOSURES = "/audit/patients/{id}/disclosures"
RECORD = "/audit/records/{trail}/{journal}/{seq}"
EXPORTS = {"/audit/export.csv": "csv", "/audit/export.jsonl": "jsonl", "/audit/export.fhir.ndjson": "fhir"}

_ACTIONS = {
    SEARCH: "search",
    TROUBLE: "search",
    PATIENT: "search",
    DISCLOSURES: "search",
    RECORD: "read",
    **dict.fromkeys(EXPORTS, "export"),
}
_SPLIT = [(template, tuple(template.split("/")[1:])) for template in _ACTIONS]


def is_below(path: bytes) -> bool:
    """Whether the audit page serves a path."""
    return path == b"/audit" or path.startswith(b"/audit/")


def find(path: bytes) -> PageRoute | None:
    """Match a path; None if the audit page has no such path."""
    pieces = path.split(b"/")[1:]
    for template, steps in _SPLIT:
        if len(steps) == len(pieces):
            values = _match(steps, pieces)
            if values is not None:
                return PageRoute(template, _ACTIONS[template], values)
    return None


def _match(steps: tuple[str, ...], pieces: list[bytes]) -> tuple[str, ...] | None:
    values = []
    for step, piece in zip(steps, pieces, strict=True):
        if not step.startswith("{"):
            if step.encode() != piece:
                return None
            continue
        try:
            value = (
                unquote_to_bytes(piece).decode().replace("\0", "\ufffd")
            )  # as records store it: see matching.text
        except UnicodeDecodeError:
            return None
        if not 0 < len(value) <= _TEXT:
            return None
        values.append(value)
    return tuple(values)


def path(template: str, *values: object) -> str:
    """Fill a template; return the path.

    :param values: of the template's parameters, in order.
    """
    given = iter(values)

    def filled(step: str) -> str:
        return quote(str(next(given)), safe="", errors="replace") if step.startswith("{") else step

    return "/".join(filled(step) for step in template.split("/"))

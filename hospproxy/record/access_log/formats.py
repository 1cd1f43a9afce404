"""The formats of the access log: an entry becomes one line, without its line feed. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from ..trail.record_line import encode_record
from .entry import GONE, Entry
from .escaping import text, url, word

FORMATS: Final = ("alb", "combined", "json")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PORTS: Final = {"https": 443, "http": 80}
_NO_ERROR: Final = frozenset({"success", "client error"})

MakeLine = Callable[[Entry, str], bytes]
"""Makes a line of an entry, and the id of the trail that its record comes from."""


def maker_of(format: str, name: str, target: str) -> MakeLine:
    """What makes the lines of a format.

    :param format: one of ``FORMATS``.
    :param name: of this proxy, as a load balancer has one.
    :param target: host and port of HOSP.
    """
    if format == "alb":
        return AlbLines(name, target)
    return combined_line if format == "combined" else json_line


def balancer_id(trail: str) -> str:
    """The 16 hexadecimal digits that tell machines of one name apart."""
    digits = "".join(each for each in trail.lower() if each in "0123456789abcdef")
    return (digits + "0" * 16)[:16]


@frozen(slots=True)
class AlbLines:
    """Entries of an Application Load Balancer's access log, with all fields that AWS documents.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
    """

    name: str
    target: str

    def __call__(self, entry: Entry, trail: str) -> bytes:
        """Make the line, with every field in its place."""
        asked = entry.attempts > 0
        target = word(self.target) if asked else "-"
        target_status = entry.status if entry.answered_by == "upstream" and asked else None
        before_ms = entry.duration_ms if entry.waited_ms is None else min(entry.waited_ms, entry.duration_ms)
        reason = "-" if entry.outcome in _NO_ERROR else text(entry.outcome.replace(" ", "-"))
        fields = (
            entry.scheme if entry.scheme in _PORTS else "https",
            _moment(entry.answered),
            f"app/{word(self.name)}/{balancer_id(trail)}",
            f"{word(entry.client)}:0",
            target,
            f"{before_ms / 1000:.4f}",
            f"{(entry.duration_ms - before_ms) / 1000:.4f}",
            "0.000",
            _number(entry.status),
            _number(target_status),
            _bytes(entry.received),
            _bytes(entry.sent),
            f'"{word(entry.method)} {_url(entry)} {_version(entry)}"',
            f'"{text(entry.user_agent)}"',
            "-",  # ssl_cipher and ssl_protocol: the record does not say them
            "-",
            "-",  # target_group_arn
            f'"{text(entry.request_id)}"',
            f'"{text(_without_port(entry.host))}"',
            '"-"',  # chosen_cert_arn
            "-",  # matched_rule_priority
            _moment(entry.arrived),
            f'"{"forward" if asked else "fixed-response"}"',
            '"-"',  # redirect_url
            f'"{reason}"',
            f'"{target}"',
            f'"{_number(target_status)}"',
            '"-"',  # classification, classification_reason
            '"-"',
            "-",  # conn_trace_id
            '"-"',  # transformed_host, transformed_uri, request_transform_status
            '"-"',
            '"-"',
        )
        return " ".join(fields).encode("ascii")


def combined_line(entry: Entry, trail: str) -> bytes:  # noqa: ARG001 - it has no place in this format
    """The combined format of Apache and nginx. The fields for a user's name and a referrer are always empty."""
    at = entry.arrived.astimezone(UTC)
    day = f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year:04}:{at:%H:%M:%S} +0000"
    path = _path(entry)
    request = f"{word(entry.method)} {path} {_version(entry)}"
    sent = "-" if entry.sent is None else entry.sent
    line = (
        f'{word(entry.client)} - - [{day}] "{request}" {_number(entry.status)} {sent} "-"'
        f' "{text(entry.user_agent)}"'
    )
    return line.encode("ascii")


def json_line(entry: Entry, trail: str) -> bytes:
    """A JSON object with the names of the audit record, without who asked and whom it concerned."""
    return encode_record(
        {
            "kind": "request",
            "time": _moment(entry.arrived),
            "duration_ms": entry.duration_ms,
            "request_id": entry.request_id,
            "machine": balancer_id(trail),
            "client": {"address": entry.client, "scheme": entry.scheme},
            "method": entry.method,
            "route": entry.path,
            "outcome": entry.outcome,
            "status": entry.status,
            "answered_by": entry.answered_by,
            "cache": entry.cache,
            "attempts": entry.attempts,
            "client_gone": entry.status == GONE,
            "http": {
                "version": entry.version or None,
                "host": entry.host,
                "user_agent": entry.user_agent,
                "query": entry.query,
                "received": entry.received,
                "sent": entry.sent,
                "waited_ms": entry.waited_ms,
            },
        }
    )


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _bytes(value: int | None) -> str:
    return "-1" if value is None else str(value)


def _version(entry: Entry) -> str:
    return f"HTTP/{word(entry.version)}" if entry.version and entry.method else "-"


def _path(entry: Entry) -> str:
    return url(entry.path) if entry.query is None else f"{url(entry.path)}?{url(entry.query)}"


def _url(entry: Entry) -> str:
    host = url(entry.host or "-")
    if _without_port(host) == host:
        host = f"{host}:{_PORTS.get(entry.scheme, 443)}"
    return f"{url(entry.scheme)}://{host}{_path(entry)}"


def _without_port(host: str | None) -> str:
    """The name in a Host field. An IPv6 address stands in brackets there."""
    name, colon, port = (host or "").rpartition(":")
    return name if colon and port.isdigit() else host or ""

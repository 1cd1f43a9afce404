"""Makes audit records: an exchange and its response, or its failure, become one mapping.

docs/audit.md explains each field. Pure. A record never holds a password, an Authorization header, a body, or a
raw path or query: only what the contract names.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError

from ..contract.contract import Operation, Resource, Route
from ..exchange.call_ids import field_of_answer, patient_of
from ..exchange.exchange import Exchange
from ..guard.credentials import parse_basic
from ..guard.paths import canonical_id
from ..http.errors import ProxyError
from ..http.messages import ABSENT, ClientCertificate, IdentityCertainty, Origin, Response
from .http_facts import HttpFacts
from .path_names import PathNames, named

VERSION = 1
"""Version of the record format. Within a version, fields are only ever added."""

_TEXT = 200
_MOST = 50
"""Characters of any text that a client can choose (_TEXT), and members of any list (_MOST): records stay small."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Record = dict[str, Any]
Answer = Response | Exception | None
"""The result of an exchange; None while there is none (an intent)."""


def _method(method: str) -> str | None:
    """The method, or "unknown" if it is not served.

    Such a "method" may be text of a note: the rest of a body that was longer than its declared length.
    """
    if not method:
        return None
    return method if method in _METHODS else "unknown"


def timestamp(seconds: float) -> str:
    """RFC 3339, UTC, with milliseconds.

    :param seconds: since the epoch.
    """
    return _millisecond(round(seconds * 1_000_000) // 1000)


@lru_cache(maxsize=4)
def _millisecond(number: int) -> str:
    whole, milli = divmod(number, 1000)
    return f"{_second(whole)}.{milli:03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """Without fraction and zone: the same for all records of a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text(value: str | None) -> str | None:
    return value[:_TEXT] if value else None


def _certificate(shown: ClientCertificate | None) -> Record | None:
    if shown is None:
        return None
    names = [name[:_TEXT] for name in shown.names[:_MOST]]
    return {"subject": shown.subject[:_TEXT], "names": names, "sha256": shown.sha256}


@frozen(slots=True)
class Describer:
    """Makes the audit records of exchanges.

    :param key: of the HMAC that replaces an unproved name. People type passwords into name fields; the HMAC
        still shows that the same name was tried twice, and an owner of the key can test whether it was a given
        name.
    :param resources: of the contract: where the response to a create holds the new id.
    :param accepted: whether HOSP has ever accepted credentials of this name; if so, the name is written as it
        is.
    :param routes: of the contract: for requests that were refused before they were parsed.
    :param http: makes what an access log needs besides; None: no access log is written.
    """

    key: bytes = field(repr=False)
    resources: Mapping[str, Resource] = field(factory=dict)
    accepted: Callable[[str], bool] = lambda _: False
    routes: tuple[Route, ...] = ()
    http: HttpFacts | None = None

    def request(self, exchange: Exchange, answer: Answer, duration_s: float) -> Record:
        """The record of a finished exchange.

        :param duration_s: seconds since it arrived.
        """
        record = self._record("own" if exchange.own else "request", exchange, answer, duration_s)
        if self.http is not None and not exchange.own:
            record["http"] = self.http.of(exchange, answer, duration_s)
        return record

    def intent(self, exchange: Exchange, duration_s: float) -> Record:
        """The record of a write that is about to be sent."""
        return self._record("intent", exchange, None, duration_s)

    def finding(self, exchange: Exchange, reference: str, finding: str, duration_s: float) -> Record:
        """The record of what became known after the response; it has the first record's request id.

        :param reference: the first record's reference.
        :param finding: the outcome as it is known now ("found", "not carried out", …).
        """
        record = self._record("finding", exchange, None, duration_s)
        record.update(outcome=_text(finding), reference=_text(reference))
        return record

    def _record(self, kind: str, exchange: Exchange, answer: Answer, duration_s: float) -> Record:
        trace, call = exchange.trace, exchange.trace.call
        client = exchange.request.client
        path = named(self.routes, exchange.request) if call is None else None
        operation = call.operation if call is not None else path.operation if path is not None else None
        who = self._who(exchange)
        return {
            "v": VERSION,
            "kind": kind,
            "time": timestamp(exchange.wall),
            "duration_ms": round(max(duration_s, 0.0) * 1000, 1),
            "request_id": _text(client.request_id),
            "who": {"id": None, "name": None, "certainty": "proxy"} if exchange.own else who,
            "own": _text(exchange.own),
            "on_behalf_of": {"request_id": _text(exchange.on_behalf_of), **who} if exchange.own else None,
            "client": {
                "address": _text(client.address),
                "peer": _text(client.peer),
                "chain": [proxy[:_TEXT] for proxy in client.chain[:_MOST]],
                "scheme": client.scheme[:_TEXT],
                "certificate": _certificate(client.certificate),
            },
            "method": _method(exchange.request.method),
            "route": operation.template
            if operation is not None
            else path.route
            if path is not None
            else "unknown",
            "action": _action(exchange, operation, answer),
            "resource": operation.resource
            if operation is not None
            else path.resource
            if path is not None
            else None,
            "record_id": _text(
                self._record_id(exchange, operation, answer) or (path.record_id if path else None)
            ),
            "patient_id": _text(trace.patient or _patient(exchange, path, answer)),
            "patient_before": _text(trace.patient_before),
            "disclosed": None,
            "outcome": "intended" if answer is None else outcome_of(exchange, answer),
            "status": status_of(answer),
            "answered_by": answer.origin.value if isinstance(answer, Response) else None,
            "cache": _text(trace.cache_status),
            "attempts": trace.attempts,
            "looks": trace.looks,
            "rule_hits": [hit[:_TEXT] for hit in trace.rule_hits[:_MOST]],
            "break_glass": _text(trace.break_glass),
            "reference": _text(trace.reference or getattr(answer, "reference", None)),
            "client_gone": exchange.presence.gone or isinstance(answer, CancelledError),
        }

    def _who(self, exchange: Exchange) -> Record:
        identity, claimed = exchange.trace.identity, _claimed(exchange)
        who: Record = {"id": None, "name": None, "certainty": exchange.trace.certainty.value}
        if identity is not None:
            who.update(id=identity.id, name=_text(identity.name))
        elif claimed is not None:
            who["certainty"] = IdentityCertainty.CLAIMED.value
            if self.accepted(claimed):
                who["name"] = _text(claimed)
            who["name_hmac"] = self.pseudonym(claimed)
        return who

    def pseudonym(self, name: str) -> str:
        """HMAC-SHA-256 of a claimed name, in hex."""
        return hmac.new(self.key, name.encode("utf-8", "surrogatepass"), sha256).hexdigest()

    def _record_id(self, exchange: Exchange, operation: Operation | None, answer: Answer) -> str | None:
        trace = exchange.trace
        if trace.record_id is not None or trace.call is None or operation is None:
            return trace.record_id
        resource = self.resources.get(operation.resource or "")
        if operation.action == "create" and resource is not None:
            return field_of_answer(answer, resource.id)
        return trace.call.record_id


def _claimed(exchange: Exchange) -> str | None:
    """The name in a request's credentials, even if it was refused before they were checked."""
    if exchange.trace.claimed_name is not None or exchange.own:
        return exchange.trace.claimed_name
    credentials = parse_basic(exchange.request.headers.get(b"authorization"))
    return credentials.name if credentials is not None else None


def _is_refusal(answer: Answer) -> bool:
    """Whether the proxy itself refused the request."""
    status = status_of(answer)
    by_us = not isinstance(answer, Response) or answer.origin is Origin.PROXY
    return by_us and status is not None and 400 <= status < 500


def _patient(exchange: Exchange, path: PathNames | None, answer: Answer) -> str | None:
    """The patient that a request concerned, as far as it was processed."""
    if path is not None:
        return path.patient
    call = exchange.trace.call
    place = call.operation.patient if call is not None else None
    if call is None or place is None or not _is_refusal(answer):
        return patient_of(call, answer)
    if call.document is ABSENT and isinstance(exchange.trace.sent, Mapping):
        call = evolve(call, document=exchange.trace.sent)
    found = patient_of(call, answer)
    if found is None or place.where == "path":
        return found
    # Query and document may be the reason of the refusal and may hold any text: accept only a number as an id.
    return found if canonical_id(found) is not None else None


def _action(exchange: Exchange, operation: Operation | None, answer: Answer) -> str | None:
    """The action; for a 401 with credentials "log-in failure", since the request got no further."""
    if status_of(answer) == 401 and exchange.request.headers.get(b"authorization") and not exchange.own:
        return "log-in failure"
    return operation.action if operation is not None else None


def status_of(answer: Answer) -> int | None:
    """The status that the client gets; None if it gets none."""
    if isinstance(answer, (Response, ProxyError)):
        return answer.status
    if answer is None or isinstance(answer, CancelledError):
        return None
    return 500


def outcome_of(exchange: Exchange, answer: Response | Exception) -> str:
    """The outcome of a request, as its audit record and the filters name it.

    An outcome that a processor has set takes precedence; a client that left before the response precedes that.
    """
    if isinstance(answer, CancelledError):
        return "client gone"
    if exchange.trace.outcome:
        return exchange.trace.outcome[:_TEXT]
    if isinstance(answer, ProxyError):
        return answer.outcome
    if not isinstance(answer, Response):
        return "error"
    if answer.status < 400:
        return "success"
    if answer.status >= 500:
        return "failed"
    return "refused" if answer.origin is Origin.PROXY else "client error"


def gap(wall: Callable[[], float]) -> Callable[[int, str], Record]:
    """Makes the function for gap records, which state how many records were lost.

    :param wall: seconds since the epoch.
    """

    def describe_gap(lost: int, reason: str) -> Record:
        return {
            "v": VERSION,
            "kind": "gap",
            "time": timestamp(wall()),
            "lost": lost,
            "reason": reason[:_TEXT],
        }

    return describe_gap

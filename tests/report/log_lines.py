"""Log lines for tests: what each format writes of a request, and the same figures by other means than the report's."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from attrs import frozen

TAIL = (
    ' "Mozilla/5.0 (X11; Linux x86_64)" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2'
    " arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/hosp/73e2d6bc24d8a067"
    ' "Root=1-58337364-23a8c76965a2ef7629b185e3" "hosp.example" "session-reused" 0 2026-11-20T22:22:48.364000Z'
    ' "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90 "-" "-" "-"'
)
FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent)"
    " cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken"
    " x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status"
    " fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len"
    " sc-range-start sc-range-end"
)
CLOUDFRONT_HEAD = f"#Version: 1.0\n#Fields: {FIELDS}\n"


@frozen
class Request:
    """One request, whatever log it is in; a status of None means that the client left before a response."""

    moment: datetime
    client: str
    method: str
    path: str
    status: int | None
    ms: int

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 500


def random_requests(seed: int, count: int) -> list[Request]:
    """Requests of some hours, with a surge."""
    chance = Random(seed)
    start = datetime(2026, 11, 20, 22)
    made = []
    for number in range(count):
        surge = number % 5 == 0
        at = (
            timedelta(minutes=200 + chance.random() * 2)
            if surge
            else timedelta(minutes=chance.random() * 300)
        )
        moment = start + at
        made.append(
            Request(
                moment.replace(microsecond=0),
                f"192.0.2.{chance.randrange(9)}",
                chance.choice(("GET", "GET", "POST", "DELETE")),
                chance.choice(("/patients/{}", "/patients/{}/notes/7", "/hospitals", "/staff/{}")).format(
                    chance.randrange(500)
                ),
                chance.choice((200, 200, 200, 201, 404, 422, 500, 503, None)),
                int(chance.expovariate(1 / 700)),
            )
        )
    return made


def alb_line(request: Request, *, request_line: str | None = None, tail: str = TAIL) -> str:
    """An entry of an Application Load Balancer's access log."""
    line = request_line or f"{request.method} https://hosp.example:443{request.path}?q=1 HTTP/1.1"
    status = 460 if request.status is None else request.status
    return (
        f"https {request.moment.isoformat()}.000000Z app/hosp/50dc6c495c0c9188 {request.client}:2817 10.0.0.1:80"
        f' 0.000 {request.ms / 1000:.3f} 0.000 {status} {"-" if status == 460 else status} 34 366 "{line}"{tail}'
    )


def cloudfront_line(request: Request) -> str:
    """An entry of a CloudFront standard log."""
    values = dict.fromkeys(FIELDS.split(), "-") | {
        "date": request.moment.strftime("%Y-%m-%d"),
        "time": request.moment.strftime("%H:%M:%S"),
        "sc-bytes": "366",
        "c-ip": request.client,
        "cs-method": request.method,
        "cs-uri-stem": request.path,
        "sc-status": "000" if request.status is None else str(request.status),
        "cs(User-Agent)": "Mozilla/5.0%20(X11)",
        "time-taken": f"{request.ms / 1000:.3f}",
    }
    return "\t".join(values.values())


def journal_line(request: Request, **more: object) -> str:
    """A record of the audit journal, in which the path is a route already."""
    record: dict[str, object] = {
        "v": 1,
        "kind": "request",
        "time": f"{(request.moment - timedelta(milliseconds=request.ms)).isoformat(timespec='milliseconds')}Z",
        "duration_ms": float(request.ms),
        "client": {"address": request.client, "peer": "10.0.0.1", "chain": [], "scheme": "https"},
        "method": request.method,
        "route": re.sub(r"/\d+", "/{id}", request.path),
        "status": request.status,
        "client_gone": request.status is None,
        "seq": 1,
        "prev": "0" * 64,
    }
    return json.dumps(record | more, separators=(",", ":"))


def durations(requests: Sequence[Request]) -> dict[str, float]:
    """Percentiles by nearest rank."""
    found = sorted(each.ms for each in requests)
    ranks = {f"p{share}_ms": float(found[math.ceil(share * len(found) / 100) - 1]) for share in (50, 95, 99)}
    return ranks | {"max_ms": float(found[-1])}


def counts(requests: Iterable[Request]) -> dict[str, Any]:
    """How many requests, and how they ended."""
    listed = list(requests)
    failed = sum(each.failed for each in listed)
    refused = sum(each.status is not None and 400 <= each.status < 500 for each in listed)
    success = round((len(listed) - failed) / len(listed), 6)
    return {"requests": len(listed), "failed": failed, "refused": refused, "success": success}


def expected(requests: Sequence[Request], left_as: int | None) -> dict[str, Any]:
    """The tables of the report as JSON.

    :param left_as: the status that the format gives to a request whose client left.
    """
    routes, hours, clients = defaultdict(list), defaultdict(list), defaultdict(list)
    errors: Counter[tuple[str, str, int | None]] = Counter()
    for each in requests:
        route = re.sub(r"/\d+", "/{id}", each.path)
        routes[each.method, route].append(each)
        hours[each.moment.replace(minute=0, second=0)].append(each)
        clients[each.client].append(each)
        if each.status is None or each.status >= 400:
            errors[each.method, route, left_as if each.status is None else each.status] += 1
    return {
        "totals": counts(requests) | durations(requests),
        "routes": {key: counts(of) | durations(of) for key, of in routes.items()},
        "steps": {f"{key.isoformat()}Z": counts(of) | durations(of) for key, of in hours.items()},
        "clients": {key: counts(of) for key, of in clients.items()},
        "errors": dict(errors),
        "slowest": sorted((float(each.ms) for each in requests), reverse=True)[:200],
        "first": f"{min(each.moment for each in requests).isoformat()}Z",
        "last": f"{max(each.moment for each in requests).isoformat()}Z",
    }

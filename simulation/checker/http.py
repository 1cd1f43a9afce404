"""Rules of docs/clients.md and docs/cache.md on HTTP: statuses, fields, conditions, bodies, requests to HOSP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from ..history import InHand, Told, Trouble
from .truth import NOT_OF_THE_RECORD, Op, Truth, Violation

MOST_ERRORS = 10
MOST_VALUES = 20_000
UNKNOWN_BODY_BYTES = 64 << 10
"""A longer body is read only once HOSP has accepted its credentials."""
WAITED_S = 15.0
"""The longest that a read may go on after HOSP's last attempt for it has ended."""
START = 1_700_000_000.0
"""What the clocks of machines show when a world begins: seconds since 1970."""


def _answered(truth: Truth) -> Iterator[tuple[Op, Told]]:
    for op in truth.ops.values():
        if op.told is not None:
            yield op, op.told


def _broken(name: str, op: Op, text: str) -> Violation:
    what = f"{op.asked.method} {op.asked.target} of {op.asked.intent} {text}"
    return Violation(f"http.{name}", op.over, what, (op.asked.op,))


def retry_after(truth: Truth) -> Iterator[Violation]:
    """Every 429 and 503 has a Retry-After."""
    for op, told in _answered(truth):
        if told.status in (429, 503) and "retry-after" not in told.headers:
            yield _broken("retry_after", op, f"was told {told.status} without Retry-After")


def unasked(truth: Truth) -> Iterator[Violation]:
    """No 304 without a condition, no 206 and no ranges."""
    for op, told in _answered(truth):
        asked = {name.lower() for name, _ in op.asked.headers}
        if told.status == 206 or (told.status == 304 and "if-none-match" not in asked):
            yield _broken("unasked", op, f"was told {told.status}, and has not asked for it")
        if "accept-ranges" in told.headers or "content-range" in told.headers:
            yield _broken("ranges", op, "was offered ranges")


def condition_ignored(truth: Truth) -> Iterator[Violation]:
    """A write with If-Match is carried out only on the version that its author has read; a weak tag never matches."""
    read: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for op, told in _answered(truth):
        if op.record is not None and told.status == 200 and isinstance(told.body, dict):
            read[op.asked.target, told.headers.get("etag", "")].append(told.body)
    for op in truth.writes:
        tag = next((value for name, value in op.asked.headers if name == "If-Match"), None)
        for commit in truth.commits_of.get(op.asked.request_id, []) if tag else []:
            known = [
                {name: value for name, value in body.items() if name not in NOT_OF_THE_RECORD}
                for body in read[op.asked.target, str(tag)]
            ]
            past = truth.troubled(op.asked.at - 0.1, commit.at, "behind")
            if commit.before is not None and dict(commit.before) not in known and not past:
                yield _broken("condition", op, f"was carried out, and the record was not as {tag} names it")


def condition_not_judged(truth: Truth) -> Iterator[Violation]:
    """A write whose condition could not be judged is not sent and gets 503, so that its client may retry.

    A write that counts as the retry of an equal write gets the outcome of that write. If the network fails, nobody
    knows whether a write was sent. If HOSP did not even say who is calling, the condition was not reached.
    """
    reached = _asked_at_hosp(truth)
    for op in truth.writes:
        told = op.told
        if not any(name == "If-Match" for name, _ in op.asked.headers) or told is None:
            continue
        same = truth.earlier_equals(op) if told.outcome == "unknown" else [op]
        asked = [
            each for other in same for each in reached.get(other.asked.request_id, []) if each.method != "GET"
        ]
        lost = told.outcome == "unknown" and truth.troubled(op.asked.at - 1.0, op.over, *_HOLDS_UP)
        whose = {each.target for each in reached.get(op.asked.request_id, [])} == {"/staffs/me"}
        if not asked and not lost and not whose and told.status in (500, 502, 504):
            yield _broken("not_judged", op, f"was told {told.status}, and was never sent: that is a 503")


def no_cache(truth: Truth) -> Iterator[Violation]:
    """A response that HOSP marks as no-cache is never served from the cache."""
    if "no_cache" not in truth.history.premises.says:
        return
    for op, told in _answered(truth):
        if op.asked.method == "GET" and told.status == 200 and "; hit" in told.cache:
            yield _broken(
                "no_cache", op, f"was answered from memory ({told.cache}) in spite of HOSP's no-cache"
            )


def cache_status(truth: Truth) -> Iterator[Violation]:
    """Cache-Status says that a request was forwarded only if it was, and that it is stale only if it is."""
    reached = _asked_at_hosp(truth)
    for op, told in _answered(truth):
        forwarded = "fwd=" in told.cache and "collapsed" not in told.cache
        if op.writes and op.success and forwarded and op.asked.request_id not in reached:
            yield _broken("forwarded", op, f"was never sent to HOSP, and says {told.cache}")
        age = int(told.headers.get("age", "0") or 0)
        stale = "ttl=0" in told.cache or "ttl=-" in told.cache
        # An entry that was read back from disk was dated by the machine's clock, and is never fresh: the process that
        # keeps it missed the writes before its start.
        dated = truth.troubled(0.0, op.over, "clock proxy") or any(truth.deaths(op.over - age - 1.0, op.over))
        if "; hit" in told.cache and stale and "invalidated" not in told.cache and age < 30 and not dated:
            yield _broken("ttl", op, f"is {age} s old, and says {told.cache}")


def dated(truth: Truth) -> Iterator[Violation]:
    """If HOSP sends no Date, Date is the time of HOSP's response, for cached responses too."""
    if "no_date" not in truth.history.premises.says or truth.troubled(0.0, truth.history.end, "clock"):
        return
    for op, told in _answered(truth):
        if told.status != 200 or op.asked.method != "GET" or "age" not in told.headers:
            continue
        date = (
            parsedate_to_datetime(told.headers["date"]).timestamp() - START if "date" in told.headers else 0.0
        )
        received = told.at - int(told.headers["age"])
        if not -30.0 < date - received < 3.0:
            yield _broken("date", op, f"has the date {date:.0f} s, and HOSP answered at {received:.0f} s")


def mistakes(truth: Truth) -> Iterator[Violation]:
    """At most ten errors are listed; a body with too many values is refused."""
    for op, told in _answered(truth):
        errors = told.body.get("errors") if told.status == 422 and isinstance(told.body, dict) else None
        if isinstance(errors, list) and len(errors) > MOST_ERRORS:
            yield _broken("errors", op, f"was told {len(errors)} mistakes")
        if _values(op.asked.body) > MOST_VALUES and told.status < 400:
            yield _broken("values", op, f"has {_values(op.asked.body)} values, and was told {told.status}")


def _values(body: Any) -> int:
    if isinstance(body, (list, dict)):
        return 1 + sum(_values(each) for each in (body.values() if isinstance(body, dict) else body))
    return 1


def body_of_anybody(truth: Truth) -> Iterator[Violation]:
    """Wrong credentials are refused before the body is read: no 100, and no wait for a large body."""
    for op, told in _answered(truth):
        never = not truth.credentials.get((op.asked.name, op.asked.password))
        if never and ":interim" in told.headers:
            yield _broken("continued", op, "was told 100 (Continue) with wrong credentials")
        if never and told.status == 408 and len(str(op.asked.body)) > UNKNOWN_BODY_BYTES:
            yield _broken(
                "body_first", op, "was told 408: its body was waited for, though the credentials are wrong"
            )


def asked_too_soon(truth: Truth) -> Iterator[Violation]:
    """A client's request is not sent to HOSP again before the time that HOSP gave in Retry-After.

    Looks for a lost write are requests of their own, sent when the client's deadline requires it.
    """
    reached = _asked_at_hosp(truth)
    for trouble in truth.history.of(Trouble):
        method, _, request_id = trouble.where.partition(" ")
        op = truth.by_request.get(request_id)
        if trouble.kind == "asked to wait" and op is not None and op.asked.method == method:
            for each in reached.get(request_id, []):
                if each.method == method and trouble.at < each.at < trouble.until - 0.05:
                    text = f"HOSP named {trouble.until:.3f} for {trouble.where}, and was asked again at {each.at:.3f}"
                    yield Violation("http.asked_too_soon", each.at, text)


def via(truth: Truth) -> Iterator[Violation]:
    """Forwarded requests to HOSP have a Via."""
    for each in truth.history.of(InHand):
        op = truth.by_request.get(each.request_id)
        # The proxy's own requests, later or after a restart, are not forwarded and have no Via.
        forwarded = op is not None and op.asked.at <= each.at <= op.over
        if op is not None and any(True for _ in truth.deaths(op.asked.at, each.at)):
            continue
        if each.what == "begins" and each.target != "/" and not each.via and forwarded:
            yield Violation("http.via", each.at, f"HOSP got {each.method} {each.target} without Via")
            return


def waited_for_nothing(truth: Truth) -> Iterator[Violation]:
    """A read that ends in 502 or 504 ends soon after the last attempt for it has ended at HOSP.

    A read that waits in the proxy's own queue (503) may wait until its deadline.
    """
    ended: dict[str, float] = defaultdict(float)
    for each in truth.history.of(InHand):
        if each.what in ("ends", "dropped", "deserted"):
            ended[each.request_id] = max(ended[each.request_id], each.at)
    for op in truth.ops.values():
        last = ended.get(op.asked.request_id)
        if op.asked.method != "GET" or op.told is None or op.told.status not in (502, 504) or last is None:
            continue
        if op.over - last > WAITED_S and not truth.troubled(op.asked.at, op.over, *_HOLDS_UP):
            yield _broken(
                "waited",
                op,
                f"was told {op.told.status} at {op.over:.3f}, HOSP had ended with it at {last:.3f}",
            )


_HOLDS_UP = ("delay", "split", "disk", "power", "kill", "restart", "hosp", "redis", "reset")


def _asked_at_hosp(truth: Truth) -> Mapping[str, list[InHand]]:
    """The requests that HOSP began to work on, by request id."""
    found: dict[str, list[InHand]] = defaultdict(list)
    for each in truth.history.of(InHand):
        if each.what == "begins" and each.request_id:
            found[each.request_id].append(each)
    return found


RULES = (
    retry_after, unasked, condition_ignored, condition_not_judged, no_cache, cache_status, dated, mistakes,
    body_of_anybody, asked_too_soon, via, waited_for_nothing,
)  # fmt: skip

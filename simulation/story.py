"""Prints a violation for people: the requests, responses, commits and faults around it, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from .checker import Truth, Violation
from .history import Asked, Broke, Committed, Event, History, Life, Told, Trouble


def tell(history: History, violation: Violation) -> str:
    """Describe a violation with its context."""
    truth = Truth(history)
    ops = {number: truth.ops[number] for number in violation.ops if number in truth.ops}
    intents = {op.asked.intent.split("/")[0] for op in ops.values()}
    records = {commit for op in ops.values() for commit in _records(truth, op.asked)}
    lines = [f"{violation.rule}: {violation.text}", ""]
    for event in history.events:
        if _belongs(event, intents, records, truth) and event.at > 0.0:
            lines += _line(event)
    return "\n".join(lines)


def _records(truth: Truth, asked: Asked) -> Iterator[tuple[str, int]]:
    op = truth.ops[asked.op]
    if op.record is not None:
        yield op.record
    for commit in truth.commits_of.get(asked.request_id, []):
        yield commit.resource, commit.id


def _belongs(event: Event, intents: set[str], records: set[tuple[str, int]], truth: Truth) -> bool:
    match event:
        case Trouble() | Life():
            return True
        case Asked():
            record = truth.ops[event.op].record
            return event.intent.split("/")[0] in intents or (event.method != "GET" and record in records)
        case Told() | Broke():
            return event.op in truth.ops and _belongs(truth.ops[event.op].asked, intents, records, truth)
        case Committed():
            return (event.resource, event.id) in records
    return False


def _line(event: Event) -> list[str]:
    at = f"{event.at:9.3f}"
    match event:
        case Asked():
            key = f" key {event.key}" if event.key else ""
            what = f"{event.method} {event.target} {str(event.body or '')[:160]}{key}"
            return [f"{at}  {event.name} asks #{event.op} ({event.intent}): {what}"]
        case Told():
            return [f"{at}  #{event.op} is told {event.status} {event.cache} {str(event.body)[:160]}"]
        case Broke():
            return [f"{at}  #{event.op} breaks: {event.why}"]
        case Committed():
            who = "behind the proxy's back" if event.staff is None else f"for {event.request_id}"
            what = f"{event.resource} {event.id} {event.kind} {who}"
            return [f"{at}  HOSP: {what}, received at {event.received:.3f}: {str(event.sent)[:160]}"]
        case Trouble():
            return [f"{at}  fault: {event.kind} {event.where} until {event.until:.3f}"]
        case Life():
            return [f"{at}  {event.machine}: process {event.what}"]
    return []

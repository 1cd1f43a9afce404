"""Records for tests of alerts, and the parts around a noticer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from hospproxy.http.errors import RecordFailed
from hospproxy.interfaces import IJournal, IMeter
from hospproxy.record.alerts.alert import Alert
from hospproxy.record.alerts.facts import RecordFacts, facts_of

MONDAY = 1_700_438_400.0
"""Monday, 20 November 2023, midnight UTC."""
HOUR = 3600.0
DAY = 86_400.0


def record(person: int | None = 1, **more: Any) -> dict[str, Any]:
    """A read of a list, by a user whom HOSP has confirmed."""
    who = {"id": person, "name": f"staff{person}", "certainty": "verified"}
    return {
        "v": 1,
        "kind": "request",
        "request_id": "req-1",
        "who": who,
        "client": {"address": "192.0.2.7", "peer": "10.0.0.1"},
        "action": "search",
        "patient_id": None,
        "outcome": "success",
        "status": 200,
        "rule_hits": [],
        **more,
    }


def failed_login(address: str = "192.0.2.7", pseudonym: str = "ab" * 32, **more: Any) -> dict[str, Any]:
    """A request whose credentials HOSP refused."""
    who = {"id": None, "name": more.pop("name", None), "certainty": "claimed", "name_hmac": pseudonym}
    given = {"who": who, "client": {"address": address}, "status": 401, "outcome": "client error"}
    return record(**{**given, **more})


def facts(given: Mapping[str, Any]) -> RecordFacts:
    found = facts_of(given)
    assert found is not None
    return found


def opened(patient: str, person: int = 1) -> RecordFacts:
    return facts(record(person, patient_id=patient, action="read"))


def told(rule: Any, seen: Sequence[tuple[RecordFacts, float]]) -> list[Alert | None]:
    """The results of a rule for each record."""
    return [rule.observe(each, now) for each, now in seen]


@implementer(IJournal)
class KeptJournal:
    """Stores at once, or fails."""

    full = False

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.broken = False
        self.watch: Callable[[Mapping[str, Any]], None] = lambda _record: None

    def append(self, given: Mapping[str, Any], disclosure: Any = None) -> Deferred[None]:
        if self.broken:
            return fail(RecordFailed("full"))
        self.records.append(given)
        self.watch(given)
        return succeed(None)

    def alerts(self) -> list[Mapping[str, Any]]:
        return [each for each in self.records if each["kind"] == "alert"]


@implementer(IMeter)
class Counts:
    """Counts by name and label."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counted[(name, *labels.values())] += int(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        raise AssertionError(name)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        self.gauges[name] = read

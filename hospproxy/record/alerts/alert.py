"""An alert, and the audit record that it becomes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ..describe import VERSION, timestamp
from .facts import RecordFacts

RULES = (
    "failed-logins-address",
    "failed-logins-name",
    "many-patients",
    "more-patients-than-usual",
    "quiet-hours",
    "unusual-hours",
    "anothers-name",
    "break-glass",
)
"""Names of the rules in records and metrics."""

_TEXT = 500


def _plain(text: str) -> str:
    """Replace characters that control a terminal or end a log line: names come from HOSP and may hold anything."""
    if text.isprintable():
        return text[:_TEXT]
    return "".join(character if character.isprintable() else "\N{MIDDLE DOT}" for character in text[:_TEXT])


@frozen(slots=True, kw_only=True)
class Alert:
    """Something that a person should look at.

    :param rule: one of ``RULES``.
    :param subject: the person, claimed name or address. The same rule is not reported again for the same
        subject for a while.
    :param text: a sentence for people.
    :param facts: of the record that triggered the alert.
    :param who: the person, as in records; None if the alert is about an address.
    :param count: how many there were, at least.
    :param window_s: seconds within which they were counted; 0 if the rule has no window.
    :param silent_s: minimum seconds until the alert is reported again, even if the options allow it sooner.
    """

    rule: str
    subject: int | str
    text: str = field(converter=_plain)
    facts: RecordFacts
    who: Mapping[str, Any] | None = None
    count: int = 1
    window_s: float = 0.0
    silent_s: float = 0.0

    def record(self, now: float, withheld: int) -> dict[str, Any]:
        """The audit record of this alert.

        :param now: seconds since the epoch.
        :param withheld: how often the rule triggered for this subject since the last report.
        """
        return {
            "v": VERSION,
            "kind": "alert",
            "time": timestamp(now),
            "request_id": self.facts.request_id or None,
            "rule": self.rule,
            "text": self.text,
            "who": dict(self.who) if self.who is not None else None,
            "client": {"address": self.facts.address or None},
            "patient_id": None,
            "count": self.count,
            "window_s": self.window_s,
            "withheld": withheld,
        }


def in_words(seconds: float) -> str:
    """A duration in words: "5 minutes"."""
    for unit_s, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit_s and seconds % unit_s == 0:
            number = int(seconds // unit_s)
            return f"{number} {unit}" + ("s" if number > 1 else "")
    return f"{seconds:g} seconds"

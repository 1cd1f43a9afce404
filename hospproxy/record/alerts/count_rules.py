"""Alert rules that count within a window: failed log-ins, patients, records in another's name. Pure.

``BreakGlass`` is here too. It counts nothing and reports each case.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from itertools import count
from typing import Final, Protocol

from ...arrival.front.trust import source_of
from .alert import Alert, in_words
from .bounded import DistinctCounter, Subject
from .facts import RecordFacts

MOST_LATEST: Final = 1000


class AlertRule(Protocol):
    """Looks at records and decides whether to raise an alert."""

    def concerns(self, facts: RecordFacts) -> bool:
        """Whether such facts can change anything for this rule. It depends on the facts alone."""

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        """Learn from a record's facts; return an alert, or None.

        :param now: seconds since the epoch.
        """


class CountRule:
    """Counts within a window what happened about a subject: here, and on machines that share a Redis.

    :param most: this many raise an alert.
    :param window_s: seconds.
    :param salt: tells events of this process from those of others.
    """

    rule: str
    counts_events = True
    """Each event counts; else each different key."""

    def __init__(self, most: int, window_s: float, salt: bytes = b"") -> None:
        self._most, self._window_s = most, window_s
        self.counter = DistinctCounter(most, window_s, salt=salt if self.counts_events else b"")
        self._numbers = count()
        self._latest: OrderedDict[str, tuple[Subject, RecordFacts]] = OrderedDict()
        self._over: set[str] = set()

    @abstractmethod
    def subject(self, facts: RecordFacts) -> Subject | None:
        """Return whom such facts concern; None: nobody."""

    def key(self, facts: RecordFacts) -> Subject:  # noqa: ARG002 - each event is one more
        """Return the value whose occurrences are counted."""
        return next(self._numbers)

    @abstractmethod
    def alert(self, subject: Subject, facts: RecordFacts, number: int) -> Alert:
        """Write the text of the alert for people."""

    def concerns(self, facts: RecordFacts) -> bool:
        return self.subject(facts) is not None

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        subject = self.subject(facts)
        if subject is None:
            return None
        number = self.counter.add(subject, self.key(facts), now)
        self._latest[str(subject)] = subject, facts
        self._latest.move_to_end(str(subject))
        if len(self._latest) > MOST_LATEST:
            self._latest.popitem(last=False)
        return None if number < self._most else self.alert(subject, facts, number)

    def told(self, elsewhere: Mapping[str, frozenset[int]], now: float) -> list[Alert]:
        """Take what other machines have counted; return the alerts that the sums raise.

        :param elsewhere: hashes of what is counted, by subject.
        """
        self.counter.tell(elsewhere, now)
        found, over = [], set()
        for name in elsewhere.keys() & self._latest.keys():
            subject, facts = self._latest[name]
            number = self.counter.count(subject, now)
            if number < self._most:
                continue
            over.add(name)
            # Once for each rise above the limit, and not for what ``observe`` has reported.
            if name not in self._over and self.counter.own(subject, now) < self._most:
                found.append(self.alert(subject, facts, number))
        self._over = over
        return found


class FailedLoginsByAddress(CountRule):
    """Many failed log-ins from one address."""

    rule = "failed-logins-address"

    def subject(self, facts: RecordFacts) -> Subject | None:
        return source_of(facts.address) if facts.failed_login and facts.address else None

    def alert(self, subject: Subject, facts: RecordFacts, number: int) -> Alert:
        return Alert(
            rule=self.rule,
            subject=subject,
            text=f"{number} failed log-ins from {subject} within {in_words(self._window_s)}.",
            facts=facts,
            count=number,
            window_s=self._window_s,
        )


class FailedLoginsByName(CountRule):
    """Many failed log-ins for one name.

    The name is counted by its HMAC: people type passwords into name fields.
    """

    rule = "failed-logins-name"

    def subject(self, facts: RecordFacts) -> Subject | None:
        return (facts.who.get("name_hmac") or None) if facts.failed_login else None

    def alert(self, subject: Subject, facts: RecordFacts, number: int) -> Alert:
        # The record holds a claimed name only if HOSP has accepted that name before.
        name = facts.who.get("name") or f"one name that HOSP has not accepted (HMAC {str(subject)[:16]})"
        return Alert(
            rule=self.rule,
            subject=subject,
            text=f"{number} failed log-ins for {name} within {in_words(self._window_s)}, the last from"
            f" {facts.address}.",
            facts=facts,
            who=facts.who,
            count=number,
            window_s=self._window_s,
        )


class ManyPatients(CountRule):
    """One person opened many patients, by a limit that is the same for everyone."""

    rule = "many-patients"
    counts_events = False

    def subject(self, facts: RecordFacts) -> Subject | None:
        return None if facts.patient is None else facts.person

    def key(self, facts: RecordFacts) -> Subject:
        assert facts.patient is not None
        return facts.patient

    def alert(self, subject: Subject, facts: RecordFacts, number: int) -> Alert:
        return Alert(
            rule=self.rule,
            subject=subject,
            text=f"{facts.called} opened {number} patients or more within {in_words(self._window_s)}.",
            facts=facts,
            who=facts.who,
            count=number,
            window_s=self._window_s,
        )


class BreakGlass:
    """A person gave a reason to pass where a permission rule refuses: reported at once, for each patient."""

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.break_glass is not None and facts.person is not None

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:  # noqa: ARG002
        if facts.break_glass is None or facts.person is None:
            return None
        about = f" for patient {facts.patient}" if facts.patient else ""
        return Alert(
            rule="break-glass",
            subject=f"{facts.person} {facts.patient or facts.request_id}",
            text=f"{facts.called} broke the glass{about}: {facts.break_glass}",
            facts=facts,
            who=facts.who,
        )


class AnothersName(CountRule):
    """A person sent records that name somebody else as their author."""

    rule = "anothers-name"

    def subject(self, facts: RecordFacts) -> Subject | None:
        return facts.person if facts.anothers_name else None

    def alert(self, subject: Subject, facts: RecordFacts, number: int) -> Alert:
        times = "a record" if number == 1 else f"{number} records"
        return Alert(
            rule=self.rule,
            subject=subject,
            text=f"{facts.called} sent {times} in another's name within {in_words(self._window_s)}.",
            facts=facts,
            who=facts.who,
            count=number,
            window_s=self._window_s,
        )

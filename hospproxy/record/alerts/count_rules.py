"""Alert rules that count within a window: failed log-ins, patients, records in another's name. Pure.

``BreakGlass`` is here too. It counts nothing and reports each case.
"""

from __future__ import annotations

from itertools import count
from typing import Protocol

from ...arrival.front.trust import source_of
from .alert import Alert, in_words
from .bounded import DistinctCounter
from .facts import RecordFacts


class AlertRule(Protocol):
    """Looks at records and decides whether to raise an alert."""

    def concerns(self, facts: RecordFacts) -> bool:
        """Whether such facts can change anything for this rule. It depends on the facts alone."""

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        """Learn from a record's facts; return an alert, or None.

        :param now: seconds since the epoch.
        """


class FailedLoginsByAddress:
    """Many failed log-ins from one address.

    :param most: this many failed log-ins raise an alert.
    :param window_s: seconds.
    """

    def __init__(self, most: int, window_s: float) -> None:
        self._most, self._window_s = most, window_s
        self._failed = DistinctCounter(most, window_s)
        self._numbers = count()

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.failed_login and bool(facts.address)

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        if not facts.failed_login or not facts.address:
            return None
        source = source_of(facts.address)
        failed = self._failed.add(source, next(self._numbers), now)
        if failed < self._most:
            return None
        return Alert(
            rule="failed-logins-address",
            subject=source,
            text=f"{failed} failed log-ins from {source} within {in_words(self._window_s)}.",
            facts=facts,
            count=failed,
            window_s=self._window_s,
        )


class FailedLoginsByName:
    """Many failed log-ins for one name.

    The name is counted by its HMAC: people type passwords into name fields.

    :param most: this many failed log-ins raise an alert.
    :param window_s: seconds.
    """

    def __init__(self, most: int, window_s: float) -> None:
        self._most, self._window_s = most, window_s
        self._failed = DistinctCounter(most, window_s)
        self._numbers = count()

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.failed_login and bool(facts.who.get("name_hmac"))

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        if not facts.failed_login or not (pseudonym := facts.who.get("name_hmac")):
            return None
        failed = self._failed.add(pseudonym, next(self._numbers), now)
        if failed < self._most:
            return None
        # The record holds a claimed name only if HOSP has accepted that name before.
        name = facts.who.get("name") or f"one name that HOSP has not accepted (HMAC {pseudonym[:16]})"
        return Alert(
            rule="failed-logins-name",
            subject=pseudonym,
            text=f"{failed} failed log-ins for {name} within {in_words(self._window_s)}, the last from"
            f" {facts.address}.",
            facts=facts,
            who=facts.who,
            count=failed,
            window_s=self._window_s,
        )


class ManyPatients:
    """One person opened many patients, by a limit that is the same for everyone.

    :param most: this many distinct patients raise an alert.
    :param window_s: seconds.
    """

    def __init__(self, most: int, window_s: float) -> None:
        self._most, self._window_s = most, window_s
        self._patients = DistinctCounter(most, window_s)

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.person is not None and facts.patient is not None

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        if facts.person is None or facts.patient is None:
            return None
        patients = self._patients.add(facts.person, facts.patient, now)
        if patients < self._most:
            return None
        return Alert(
            rule="many-patients",
            subject=facts.person,
            text=f"{facts.called} opened {patients} patients or more within {in_words(self._window_s)}.",
            facts=facts,
            who=facts.who,
            count=patients,
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


class AnothersName:
    """A person sent records that name somebody else as their author.

    :param most: this many such records raise an alert.
    :param window_s: seconds.
    """

    def __init__(self, most: int, window_s: float) -> None:
        self._most, self._window_s = most, window_s
        self._claims = DistinctCounter(most, window_s)
        self._numbers = count()

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.anothers_name and facts.person is not None

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        if not facts.anothers_name or facts.person is None:
            return None
        claims = self._claims.add(facts.person, next(self._numbers), now)
        if claims < self._most:
            return None
        times = "a record" if claims == 1 else f"{claims} records"
        return Alert(
            rule="anothers-name",
            subject=facts.person,
            text=f"{facts.called} sent {times} in another's name within {in_words(self._window_s)}.",
            facts=facts,
            who=facts.who,
            count=claims,
            window_s=self._window_s,
        )

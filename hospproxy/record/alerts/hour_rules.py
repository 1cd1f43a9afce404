"""Alert rules about the time of day. Pure."""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec
from attrs import define, field

from .alert import Alert
from .facts import RecordFacts
from .local_time import HOURS, Calendar, LocalMoment

NIGHT_S = 43_200.0
"""Seconds between two alerts of this kind for a person, so that working on raises no new alert each hour."""
HALF_LIFE_DAYS = 60.0
"""Days after which a learnt hour counts half: a rota of months is remembered, an old job is forgotten."""
ACTIVE_DAYS = 10
"""Days with activity that are needed before anything counts as usual for a person."""
MAX_PEOPLE = 5000
_KNOWN = 0.5
_STRANGE = 0.15
_QUIET_PART = 0.1
"""An hour with less than this share of the mean hour's activity is one at which the hospital is not at work."""

Span = tuple[int, int]
"""Minutes of the day, from and until; the span crosses midnight if until is not later."""


class SavedHours(msgspec.Struct, frozen=True):
    """A person's usual hours as saved in the file; ``hours`` holds 168 floats."""

    id: int | str
    since: float
    day: int
    days: int
    hours: bytes


@define(slots=True)
class _UsualHours:
    since: float
    day: int = 0
    days: int = 0
    hours: array[float] = field(factory=lambda: array("f", bytes(4 * HOURS)))

    def near(self, hour: int) -> float:
        """The weight of an hour of the week together with the hours before and after."""
        hours = self.hours
        return hours[hour - 1] + hours[hour] + hours[(hour + 1) % HOURS]

    def quiet(self, hour: int) -> bool:
        return self.near(hour) / 3 < _QUIET_PART * sum(self.hours) / HOURS

    def new_day(self, day: int) -> None:
        if day == self.day:
            return
        if day > self.day and self.days:  # a smaller day means that the clock was set back
            faded = 0.5 ** ((day - self.day) / HALF_LIFE_DAYS)
            self.hours = array("f", [weight * faded for weight in self.hours])
        self.day, self.days = day, self.days + 1

    def learnt(self, now: float, learning_days: float) -> bool:
        return now - self.since >= learning_days * 86_400 and self.days >= min(ACTIVE_DAYS, learning_days)

    def saved(self, name: int | str) -> SavedHours:
        return SavedHours(name, self.since, self.day, self.days, self.hours.tobytes())

    @classmethod
    def of(cls, saved: SavedHours) -> _UsualHours:
        hours = array("f")
        hours.frombytes(saved.hours)
        if len(hours) != HOURS or not all(math.isfinite(weight) and weight >= 0 for weight in hours):
            raise ValueError("saved hours are not 168 numbers from 0 up")
        return cls(saved.since, saved.day, saved.days, hours)


class QuietHours:
    """A person was active during the hours when nobody should be.

    :param spans: of every day.
    """

    def __init__(self, spans: Sequence[Span], calendar: Calendar) -> None:
        self._spans = tuple(spans)
        self._calendar = calendar

    def concerns(self, facts: RecordFacts) -> bool:
        return facts.person is not None

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        if facts.person is None or not self._within(self._calendar.moment(now).minute):
            return None
        return Alert(
            rule="quiet-hours",
            subject=facts.person,
            text=f"{facts.called} was active within the quiet hours: {self._calendar.clock(now)}.",
            facts=facts,
            who=facts.who,
            silent_s=NIGHT_S,
        )

    def _within(self, minute: int) -> bool:
        return any(
            begin <= minute < end if begin < end else minute >= begin or minute < end
            for begin, end in self._spans
        )


class UnusualHours:
    """A person was active at an hour that is unusual for them, and at which the hospital is quiet too.

    The second condition avoids false alerts: where people work at night, a person's first night shift is not
    unusual.

    :param learning_days: days from the first record of a person, and of the hospital, during which nothing is
        unusual.
    """

    def __init__(self, calendar: Calendar, learning_days: float, *, max_people: int = MAX_PEOPLE) -> None:
        self._calendar = calendar
        self._learning_days = learning_days
        self._max_people = max_people
        self._people: OrderedDict[int | str, _UsualHours] = OrderedDict()
        self._house: _UsualHours | None = None
        self._slot: tuple[int, int] | None = None
        self._here: set[int | str] = set()

    def __len__(self) -> int:
        return len(self._people)

    def concerns(self, facts: RecordFacts) -> bool:  # noqa: ARG002
        return True  # any record shows which hour it is

    def observe(self, facts: RecordFacts, now: float) -> Alert | None:
        person, moment = facts.person, self._calendar.moment(now)
        if moment.slot != self._slot:
            self._slot = moment.slot
            self._here.clear()
        if person is None or person in self._here:
            return None
        if len(self._here) < self._max_people:
            self._here.add(person)
        return self._alert(facts, person, now) if self._came(person, moment, now) else None

    def _came(self, person: int | str, moment: LocalMoment, now: float) -> bool:
        """Learn from this activity; return whether it was unusual."""
        house = self._house = self._house or _UsualHours(now)
        usual = self._people.setdefault(person, _UsualHours(now))
        self._people.move_to_end(person)
        if len(self._people) > self._max_people:
            self._people.popitem(last=False)
        strange = (
            usual.learnt(now, self._learning_days)
            and house.learnt(now, self._learning_days)
            and usual.near(moment.hour) < _KNOWN
            and house.quiet(moment.hour)
        )
        for each in (usual, house):
            each.new_day(moment.day)
            # Unusual activity is learnt slowly: one strange night must not make the next one usual.
            each.hours[moment.hour] += _STRANGE if strange else 1.0
        return strange

    def _alert(self, facts: RecordFacts, person: int | str, now: float) -> Alert:
        return Alert(
            rule="unusual-hours",
            subject=person,
            text=f"{facts.called} was active at an unusual time: {self._calendar.clock(now)}.",
            facts=facts,
            who=facts.who,
            silent_s=NIGHT_S,
        )

    def dump(self) -> tuple[SavedHours | None, list[SavedHours]]:
        """The hospital's and each person's hours, to be saved."""
        house = self._house.saved("house") if self._house is not None else None
        return house, [usual.saved(person) for person, usual in self._people.items()]

    def load(self, house: SavedHours | None, people: Iterable[SavedHours]) -> None:
        """Replace what was learnt with the hours that ``dump`` returned before a restart.

        :raise ValueError: they are damaged; nothing has changed.
        """
        read = [(each.id, _UsualHours.of(each)) for each in people][-self._max_people :]
        whole = _UsualHours.of(house) if house is not None else None
        self._people = OrderedDict(read)
        self._house = whole

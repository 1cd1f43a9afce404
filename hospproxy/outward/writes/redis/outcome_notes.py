"""Notes on writes that Redis does not have yet: merged for each write, repeated until Redis has them. Pure rules."""

from __future__ import annotations

from collections import OrderedDict

from attrs import evolve, field, frozen

from ..entry import WriteNames

MOST = 10_000


@frozen(slots=True, kw_only=True)
class OutcomeNote:
    """What to publish of one write.

    :param state: its outcome; "back": nothing was sent; "open": it is under way; "": this note does not say.
    :param keeps_turn: 1: it is settled, but no other write of its turn may be sent yet, and this process keeps the
        turn; 2: another process of this machine may keep it.
    :param record: id of its record.
    :param resource: resource of the record that it created.
    :param change: "c" if it changed its record or may have, "d" if it deleted it; "": neither.
    :param about: resource and id of the record that it changes.
    :param lost: 1: its client got no response; 2: its client was told that the outcome is unknown.
    :param handed: a client has the response.
    :param left: a client that waited for it as a retry left without a response.
    :param answer: the sealed response.
    :param keep_s: seconds for which Redis should keep it.
    :param until: monotonic seconds after which the note need not be published any more.
    """

    reference: str
    names: WriteNames | None = field(default=None, repr=False)
    state: str = ""
    keeps_turn: int = 0
    record: str = ""
    resource: str = ""
    change: str = ""
    about: str = ""
    lost: int = 0
    handed: bool = False
    left: bool = False
    answer: bytes = field(default=b"", repr=False)
    author: str = ""
    keep_s: float = 0.0
    until: float = 0.0

    def after(self, earlier: OutcomeNote) -> OutcomeNote:
        """Merge this note with an earlier, unpublished note on the same write."""
        last = self if self.state else earlier
        return evolve(
            self,
            names=self.names or earlier.names,
            state=last.state,
            keeps_turn=last.keeps_turn,
            record=last.record,
            resource=last.resource,
            answer=last.answer,
            change=last.change,
            about=self.about or earlier.about,
            author=self.author or earlier.author,
            lost=max(self.lost, earlier.lost),
            handed=self.handed or earlier.handed,
            left=self.left or earlier.left,
            keep_s=max(self.keep_s, earlier.keep_s),
            until=max(self.until, earlier.until),
        )


class OutcomeNotes:
    """The unpublished notes. Bounded: beyond ``most`` the oldest are dropped."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._notes: OrderedDict[str, OutcomeNote] = OrderedDict()

    def __len__(self) -> int:
        return len(self._notes)

    def add(self, note: OutcomeNote) -> None:
        """Add a note, merged with an earlier one on the same write."""
        earlier = self._notes.get(note.reference)
        self._notes[note.reference] = note if earlier is None else note.after(earlier)
        while len(self._notes) > self._most:
            self._notes.popitem(last=False)

    def get(self, reference: str) -> OutcomeNote | None:
        """Return the unpublished note on a write, if any."""
        return self._notes.get(reference)

    def said(self, note: OutcomeNote) -> None:
        """Remove a published note, unless it has been merged with a newer one meanwhile."""
        if self._notes.get(note.reference) is note:
            del self._notes[note.reference]

    def oldest(self, now: float) -> OutcomeNote | None:
        """Return the next note to publish; drop those whose time has passed."""
        while self._notes:
            note = next(iter(self._notes.values()))
            if note.until > now:
                return note
            del self._notes[note.reference]
        return None

"""What is still to be said of writes: merged by write, said again until Redis has it. Pure."""

from __future__ import annotations

from collections import OrderedDict

from attrs import evolve, field, frozen

from ..outward.writes.entries import Names

MOST = 10_000


@frozen(slots=True, kw_only=True)
class Note:
    """What is to be said of one write.

    :param state: that it has come to; "back": nothing was sent; "open": it is under way; "": nothing is said of it.
    :param keeps_turn: it is settled, and none of its turn may be sent yet.
    :param resource: of the record that it made.
    :param change: what it did to its record: "c" if it changed it or may have, "d" if it deleted it; "": nothing.
    :param about: resource and id of the record that it changes.
    :param lost: 1: its client got no answer; 2: its client was told that it is unknown.
    :param handed: a client has the answer.
    :param left: who waited for it as its retry left without an answer.
    :param answer: the answer, sealed.
    :param keep_s: seconds for which the others should know it.
    :param until: monotonic seconds after which it need not be said any more.
    """

    reference: str
    names: Names | None = field(default=None, repr=False)
    state: str = ""
    keeps_turn: bool = False
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

    def after(self, earlier: Note) -> Note:
        """This one and an earlier one that has not been said yet, as one."""
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


class Notes:
    """All that is not said yet. Bounded: of more than ``most`` the oldest are forgotten."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._notes: OrderedDict[str, Note] = OrderedDict()

    def __len__(self) -> int:
        return len(self._notes)

    def add(self, note: Note) -> None:
        """There is something to say."""
        earlier = self._notes.get(note.reference)
        self._notes[note.reference] = note if earlier is None else note.after(earlier)
        while len(self._notes) > self._most:
            self._notes.popitem(last=False)

    def get(self, reference: str) -> Note | None:
        """What is to be said of one write."""
        return self._notes.get(reference)

    def said(self, note: Note) -> None:
        """This was said; unless more has come meanwhile, that was all."""
        if self._notes.get(note.reference) is note:
            del self._notes[note.reference]

    def oldest(self, now: float) -> Note | None:
        """The next to be said."""
        while self._notes:
            note = next(iter(self._notes.values()))
            if note.until > now:
                return note
            del self._notes[note.reference]
        return None

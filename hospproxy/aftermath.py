"""What HOSP still answers after the client has left: who learns from it, and who has to wait until it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from .messages import Response

Learner = Callable[["Response"], object]

_log = Logger()


class Aftermath:
    """Of one client's request: attempts that HOSP has in hand, and for whose answer nobody waits any more.

    A client that leaves ends the coroutine of its request, and with it whatever that would have learned from HOSP's
    answer. Whoever must learn all the same (that a password was wrong) says so here before HOSP is asked.

    :ivar pending: how many attempts are still to end.
    """

    __slots__ = ("_learners", "_waiting", "pending")

    def __init__(self) -> None:
        self.pending = 0
        self._learners: list[Learner] = []
        self._waiting: list[Callable[[], None]] = []

    def learn_by(self, learner: Learner) -> None:
        """Call this with each answer that comes late. Those added last are called first."""
        self._learners.append(learner)

    def forget(self, learner: Learner) -> None:
        """The answer has come in time."""
        self._learners.remove(learner)

    def when_over(self, do: Callable[[], None]) -> None:
        """Call this when HOSP has nothing in hand any more that was left behind; at once if that is so now."""
        if self.pending:
            self._waiting.append(do)
        else:
            do()

    def begin(self) -> None:
        """Somebody stops waiting for an attempt that HOSP has in hand."""
        self.pending += 1

    def end(self, answer: Response | None) -> None:
        """That attempt is over.

        :param answer: HOSP's, if one came.
        """
        self.pending -= 1
        if answer is not None:
            self._tell(answer)
        if not self.pending:
            waiting, self._waiting = self._waiting, []
            for do in waiting:
                do()

    def _tell(self, answer: Response) -> None:
        for learner in self._learners[::-1]:
            try:
                learner(answer)
            except Exception:
                _log.failure("{learner!r} failed at what the upstream said late", learner=learner)

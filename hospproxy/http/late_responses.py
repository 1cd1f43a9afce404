"""Attempts and upstream responses that outlast their client: who learns from them, and what waits for them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .errors import ProxyError
from .messages import Response

Learner = Callable[[Response], object]

Outcome = Response | ProxyError | None
"""What came of an attempt; None: unknown."""

_log = Logger()


@define(slots=True, eq=False)
class AbandonedAttempt:
    """An attempt without a waiting client.

    :param over: fires with the outcome when HOSP is no longer working on the attempt. Cancel it to close the
        connection.
    :param heard: whether the proxy would still read a response. It does not for a write; looks find the write's
        outcome.
    """

    over: Deferred[Outcome]
    heard: bool = True


class LateResponses:
    """The abandoned attempts of one client's request: HOSP is working on them, but nobody waits for the response.

    When a client leaves, the coroutine of its request is cancelled, and with it all that it would have learned from
    HOSP's response. A processor that must learn anyway (that a password was wrong) registers here before HOSP is
    asked.

    :ivar pending: number of abandoned attempts that have not ended.
    """

    __slots__ = ("_learners", "_waiting", "pending")

    def __init__(self) -> None:
        self.pending = 0
        self._learners: list[Learner] = []
        self._waiting: list[Callable[[], None]] = []

    def learn_by(self, learner: Learner) -> None:
        """Call ``learner`` with each late response. The learner that was added last is called first."""
        self._learners.append(learner)

    def forget(self, learner: Learner) -> None:
        """Remove a learner: its response arrived in time."""
        self._learners.remove(learner)

    def when_over(self, do: Callable[[], None]) -> None:
        """Call ``do`` when no abandoned attempt is pending; at once if none is now."""
        if self.pending:
            self._waiting.append(do)
        else:
            do()

    def begin(self) -> None:
        """An attempt was abandoned while HOSP is working on it."""
        self.pending += 1

    def end(self, answer: Response | None) -> None:
        """An abandoned attempt has ended.

        :param answer: HOSP's response, if one came.
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
                _log.failure(
                    "{learner!r} failed on a late upstream response; the other learners go on",
                    learner=learner,
                )

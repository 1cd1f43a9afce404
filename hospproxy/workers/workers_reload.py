"""Applies changed options to all workers, or to none: all prepare them before the first applies them."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import gatherResults
from twisted.logger import Logger

from ..config import Settings
from ..control.messages import ControlError
from ..options.source import OptionsState
from .messages import AbandonReload, OptionsNews
from .worker_slot import WorkerSlot

_log = Logger()


class WorkersReload:
    """What the supervisor does for a reload.

    A worker that exits meanwhile gets a successor with the options that are in force then. One that is just starting
    gets them when it serves.

    :param posts: all workers, once they were started.
    """

    def __init__(self, posts: Sequence[WorkerSlot]) -> None:
        self._posts = posts
        self._behind: dict[int, bytes] = {}
        self._state = OptionsState()

    async def apply(self, settings: Settings, prepared: Callable[[], Awaitable[None]]) -> None:
        """Apply other options to all workers, or to none.

        :param prepared: waited for once all workers have prepared them, and before the first applies them.
        :raise ControlError: a worker cannot apply them; all stay with those in force.
        """
        pickled = pickle.dumps(settings)
        asked = [post for post in self._posts if post.ready]
        troubles = await gatherResults([post.prepare(pickled) for post in asked])
        wrong = [(post, why) for post, why in zip(asked, troubles, strict=True) if why]
        if wrong:
            for post in asked:
                post.say(AbandonReload())
            raise ControlError(*(f"worker {post.slot} cannot apply them: {why}" for post, why in wrong))
        pids = {post.slot: post.pid for post in asked}
        await prepared()
        # A worker that was replaced meanwhile has prepared nothing.
        applying = [post for post in asked if post.ready and post.pid == pids[post.slot]]
        applied = [post.commit() for post in applying]
        for post in self._posts:
            post.settings = pickled
            if post in applying:
                continue
            if post.running:
                self._behind[post.slot] = pickled
                if post.ready:
                    self.serves(post)
        for post, why in zip(applying, await gatherResults(applied), strict=True):
            if why:
                _log.error("worker {slot} has not confirmed the reload: {why}", slot=post.slot, why=why)

    def serves(self, post: WorkerSlot) -> None:
        """A worker accepts connections now. It may have started with former options."""
        pickled = self._behind.pop(post.slot, None)
        if pickled is not None and pickled == post.settings:
            post.prepare(pickled)
            post.commit()
        if post.slot == 0:
            self.tell(self._state)

    def tell(self, state: OptionsState) -> None:
        """Tell worker 0, which shows it, what has become of the options."""
        self._state = state
        for post in self._posts[:1]:
            post.say(OptionsNews(state.generation, state.applied_at, state.refused_at))

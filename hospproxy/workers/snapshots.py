"""Collects the snapshots of all workers, for the one that asks; keeps what exited workers had counted."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import DeferredList

from ..watch.merge import KeptCounts, Overview, Snapshot
from .worker_slot import WorkerSlot


class Snapshots:
    """What the supervisor knows of the workers' figures.

    :param posts: all workers, once they were started.
    """

    def __init__(self, posts: Sequence[WorkerSlot]) -> None:
        self._posts = posts
        self._kept = KeptCounts()

    def ended(self, post: WorkerSlot) -> None:
        """A worker has exited; its counts stay."""
        self._kept.ended(post.slot)

    async def of_all(self, asker: WorkerSlot, own: Snapshot) -> Overview:
        """Ask all others; return their snapshots, and the counts of workers that have exited.

        :param asker: its own snapshot is there.
        """
        seen, missing = {asker.slot: own}, {}
        restarts = {post.slot: post.restarts for post in self._posts}
        others = [post for post in self._posts if post is not asker]
        asked = [post for post in others if post.ready]
        answers = await DeferredList([post.ask() for post in asked], consumeErrors=True)
        for post, (answered, snapshot) in zip(asked, answers, strict=True):
            if answered:
                seen[post.slot] = snapshot
            else:
                post.failures += 1
                missing[post.slot] = "it does not answer"
        # A worker that answered and then exited is counted among the exited ones; here it would count twice.
        ended = [post for post in asked if not post.running or post.restarts != restarts[post.slot]]
        for post in (*ended, *(post for post in others if post not in asked)):
            seen.pop(post.slot, None)
            missing[post.slot] = "it is being started"
        for slot, snapshot in seen.items():
            self._kept.saw(slot, snapshot)
        return Overview(
            seen,
            missing,
            self._kept.without(seen),
            {post.slot: post.restarts for post in self._posts},
            {post.slot: post.failures for post in self._posts},
        )

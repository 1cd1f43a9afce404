"""Decides which requests are traced."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ..exchange.trace_context import TraceParent

_SAMPLED_PARENT: Final = re.compile(
    rb"\r\ntraceparent:[ \t]*[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]", re.IGNORECASE
)


class Sampler:
    """Chooses a share of the requests, or those that their clients have chosen.

    A request that a shortcut would answer never reaches the chain. So the choice is made before, from its head, and
    kept for the chain, which takes it up within the same turn of the reactor.

    :param share: of the requests without a parent, from 0 to 1.
    :param follow: the choice of a client counts.
    :param random: returns 0 to 1.
    """

    def __init__(self, share: float, follow: bool, random: Callable[[], float]) -> None:
        self._share = share
        self._follow = follow
        self._random = random
        self._chosen: bool | None = None

    def choose(self, head: bytes) -> bool:
        """Whether a request has to take the chain because it is traced.

        :param head: of the request, as it came.
        """
        if self._follow and _SAMPLED_PARENT.search(head) is not None:
            self._chosen = None  # the chain reads its parent
            return True
        self._chosen = self._random() < self._share
        return self._chosen

    def passed(self) -> None:
        """The request of the last choice was answered without the chain."""
        self._chosen = None

    def take(self, parent: TraceParent | None) -> bool:
        """Whether to trace a request that has reached the chain.

        :param parent: of the client's trace; None: it has none.
        """
        chosen, self._chosen = self._chosen, None
        if self._follow and parent is not None:
            return parent.sampled
        return self._random() < self._share if chosen is None else chosen

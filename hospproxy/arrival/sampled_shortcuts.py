"""Shortcuts of a listener whose requests are traced: a request that is chosen takes the chain, which traces it."""

from __future__ import annotations

from typing import Any, Protocol

from .shortcuts import Hit, Key, Shortcuts


class Choice(Protocol):
    """Chooses the requests that are traced; ``traces.sampler.Sampler`` does."""

    def choose(self, head: bytes) -> bool:
        """Whether a request has to take the chain because it is traced."""

    def passed(self) -> None:
        """The request of the last choice was answered without the chain."""


class SampledShortcuts(Shortcuts):
    """As ``Shortcuts``, but it has none for a request that is chosen.

    :param choice: chooses them.
    """

    def __init__(self, choice: Choice, *rest: Any) -> None:
        super().__init__(*rest)
        self._choice = choice

    def another(self) -> Shortcuts:
        """Return an empty table for another listener."""
        made = SampledShortcuts(
            self._choice, self._given, self.clock, self.wall, self._new_id, self._meter, self._secret
        )
        self._others.append(made)
        return made

    def key(self, head: bytes, way: bytes) -> Key | None:
        """Return the key of a head; None if the request is traced, or never has a shortcut."""
        return None if self._choice.choose(head) else super().key(head, way)

    def answer(self, key: Key, *, trusted: bool) -> Hit | None:
        """Answer as ``Shortcuts.answer`` does."""
        hit = super().answer(key, trusted=trusted)
        if hit is not None:
            self._choice.passed()
        return hit


def shortcuts_of(choice: Choice | None, *rest: Any) -> Shortcuts:
    """Return the shortcuts of a listener.

    :param choice: chooses the requests that are traced; None: none are.
    :param rest: as for ``Shortcuts``.
    """
    return Shortcuts(*rest) if choice is None else SampledShortcuts(choice, *rest)

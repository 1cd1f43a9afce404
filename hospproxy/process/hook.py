"""Call functions when something happens in a part that may not know, or is built before, those who listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

Args = ParamSpec("Args")


class Hook(Generic[Args]):
    """Something that can happen more than once; the type of its arguments is checked on both sides.

    The part in which it happens makes the hook when it is built, so that listeners can be added at any time.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[Args, object]] = []

    def listen(self, listener: Callable[Args, object]) -> None:
        """Call ``listener`` each time it happens, after those that were added before. It must not raise."""
        self._listeners.append(listener)

    def tell(self, *args: Args.args, **kwargs: Args.kwargs) -> None:
        """It has happened: call each listener."""
        for listener in self._listeners:
            listener(*args, **kwargs)

"""A meter that counts nothing, for parts that run without metrics."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from ..interfaces import IMeter


@implementer(IMeter)
class NullMeter:
    """An IMeter that ignores all it is given."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        pass

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        pass

    def counter(self, name: str, **labels: str) -> Callable[[], None]:  # noqa: ARG002
        return _nothing

    def timer(self, name: str, **labels: str) -> Callable[[float], None]:  # noqa: ARG002
        return _nothing

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        pass


def _nothing(_seconds: float = 0.0) -> None:
    pass

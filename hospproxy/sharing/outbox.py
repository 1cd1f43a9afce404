"""What is to be said and not yet known to be in the log. Every beat carries all of it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from .generations import tags_of
from .news import Accepted, Everything, Guess, News, Used, packed

MOST = 500
"""Messages; beyond that it is said that nothing is known."""
MOST_BYTES = 256 << 10
_OVERHEAD = 200


def is_hint(news: News) -> bool:
    """Whether it makes nothing stale: it may be lost."""
    return isinstance(news, Guess | Used | Accepted)


@frozen(slots=True, eq=False)
class Message:
    """One thing to say.

    :param plain: packed, not sealed.
    :param urgent: somebody waits until it was heard.
    """

    plain: bytes
    tags: tuple[str, ...]
    hint: bool
    urgent: bool

    @property
    def size(self) -> int:
        return len(self.plain) + _OVERHEAD + sum(map(len, self.tags))


def _message(news: News, urgent: bool) -> Message:
    try:
        return Message(packed(news), tags_of(news), is_hint(news), urgent)
    except UnicodeEncodeError:  # half a character in an address: it cannot be said what that is
        return _message(Everything(), urgent)


class Outbox:
    """Bounded: what does not fit becomes one ``Everything``, which says more than all of it.

    :param most: messages.
    :ivar ticket: how often something was put in; what a beat carries was put in up to then.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._messages: list[Message] = []
        self._bytes = 0
        self.overflows = 0
        self.ticket = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, *news: News, urgent: bool = False) -> None:
        """Add what is to be said."""
        self.ticket += 1
        for one in news:
            message = _message(one, urgent)
            self._messages.append(message)
            self._bytes += message.size
        if len(self._messages) > self._most or self._bytes > self._most_bytes:
            self._collapse()

    def all(self) -> tuple[Message, ...]:
        """Everything that is to be said, in its order."""
        return tuple(self._messages)

    def said(self, messages: Iterable[Message]) -> None:
        """These are in the log."""
        done = set(map(id, messages))
        self._messages = [one for one in self._messages if id(one) not in done]
        self._bytes = sum(one.size for one in self._messages)

    def _collapse(self) -> None:
        self.overflows += 1
        urgent = any(one.urgent for one in self._messages)
        kept = [one for one in self._messages if not one.hint]
        if len(kept) > self._most // 2 or sum(one.size for one in kept) > self._most_bytes // 2:
            kept = [_message(Everything(), urgent)]
        self._messages = kept
        self._bytes = sum(one.size for one in kept)

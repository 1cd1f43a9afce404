"""News that are not known to be in the log yet. Every heartbeat carries all of them.

News in the log that some member has not read yet are kept too: if Redis loses its data (a new epoch), they are sent
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from .generations import tags_of
from .news import CredentialsAccepted, EverythingStale, LoginResult, News, TokensUsed, packed

MOST = 500
"""Most messages; beyond that one ``EverythingStale`` replaces them."""
MOST_BYTES = 256 << 10
_OVERHEAD = 200


def is_hint(news: News) -> bool:
    """Whether the news invalidate nothing, so that they may be lost."""
    return isinstance(news, LoginResult | TokensUsed | CredentialsAccepted)


@frozen(slots=True, eq=False)
class OutboxMessage:
    """One message in the outbox, encoded once however often it is sent.

    :param plain: the encoded news, not sealed.
    :param tags: tags whose generations they raise.
    :param hint: whether they may be lost; see ``is_hint``.
    :param urgent: whether the sender waits until the others have read them.
    """

    plain: bytes
    tags: tuple[str, ...]
    hint: bool
    urgent: bool

    @property
    def size(self) -> int:
        return len(self.plain) + _OVERHEAD + sum(map(len, self.tags))


def _message(news: News, urgent: bool) -> OutboxMessage:
    try:
        return OutboxMessage(packed(news), tags_of(news), is_hint(news), urgent)
    except UnicodeEncodeError:  # a lone surrogate in a path: it has no UTF-8
        return _message(EverythingStale(), urgent)


class Outbox:
    """The messages to send, in bounded memory.

    When they do not fit, hints are dropped and one ``EverythingStale`` replaces the rest.

    :param most: most messages.
    :param most_bytes: most bytes of messages.
    :param complain: called when there are too many.
    :ivar overflows: how often there were too many.
    :ivar ticket: number of calls of ``put`` so far; a heartbeat carries what was put in up to its ticket.
    """

    def __init__(
        self,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        complain: Callable[[str], object] = lambda _what: None,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._complain = complain
        self._unread: list[tuple[int, OutboxMessage]] = []
        self._messages: list[OutboxMessage] = []
        self._bytes = 0
        self.overflows = 0
        self.ticket = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, *news: News, urgent: bool = False) -> None:
        """Add news; heartbeats send them until they are known to be in the log."""
        self.ticket += 1
        for one in news:
            message = _message(one, urgent)
            self._messages.append(message)
            self._bytes += message.size
        self._bound()

    def all(self) -> tuple[OutboxMessage, ...]:
        """Return all messages to send, in order."""
        return tuple(self._messages)

    def said(self, messages: Iterable[OutboxMessage], seq: int = 0) -> None:
        """Note that these messages are in the log.

        :param seq: number of the last of them.
        """
        done = {id(one): one for one in messages}
        self._messages = [one for one in self._messages if id(one) not in done]
        self._bytes = sum(one.size for one in self._messages)
        self._unread += [(seq, one) for one in done.values() if not one.hint]
        if len(self._unread) > self._most or sum(one.size for _, one in self._unread) > self._most_bytes:
            self._unread = [(seq, _message(EverythingStale(), False))]

    def read(self, seq: int) -> None:
        """Note that all members have read the log up to entry ``seq``."""
        self._unread = [(number, one) for number, one in self._unread if number > seq]

    def say_again(self) -> None:
        """Send unread messages again: Redis has lost the log."""
        self._messages[:0] = [one for _, one in self._unread]
        self._bytes = sum(one.size for one in self._messages)
        self._unread = []
        self._bound()

    def _bound(self) -> None:
        if len(self._messages) > self._most or self._bytes > self._most_bytes:
            self._collapse()

    def _collapse(self) -> None:
        self.overflows += 1
        self._complain(
            "too many changes wait to be sent to other workers: the others will drop all their cache entries"
        )
        urgent = any(one.urgent for one in self._messages)
        kept = [one for one in self._messages if not one.hint]
        if len(kept) > self._most // 2 or sum(one.size for one in kept) > self._most_bytes // 2:
            kept = [_message(EverythingStale(), urgent)]
        self._messages = kept
        self._bytes = sum(one.size for one in kept)

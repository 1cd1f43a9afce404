r"""The states of an HTTP/1.1 connection, and the table of all transitions between them. Pure: no I/O, no clock.

::

    NEW, IDLE -> HEAD -> BODY -----------------> ANSWERING -> STREAMING -> FLUSHING -> CLOSING -> CLOSED
                     \      \                    /      \           \
                      +------+-> HELD -> WANTED -+        +-----------+-> IDLE

A request that arrives in one piece goes from IDLE to ANSWERING, and its response back to IDLE. The other states are for
clients that send or read slowly, bodies that are not read at once, and responses that are streamed.

``http1.py`` does the I/O. It reports events, and sets no state by itself. The facts of one message (whether
another request may follow, whether the client waits for a 100) are in the ``fields.Framing`` of that message.
``docs/adr/0035-a-table-of-connection-states.md`` says why.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.IntEnum):
    """Who is expected to act on a connection, and how."""

    NEW = enum.auto()
    """Open, without a byte of a request yet. Over TLS the handshake may still be in progress."""
    IDLE = enum.auto()
    """Between two requests."""
    HEAD = enum.auto()
    """A head has begun to arrive."""
    BODY = enum.auto()
    """The head is complete and the body is arriving. The handler does not know of the request yet."""
    HELD = enum.auto()
    """The handler has the head; the body is not read."""
    WANTED = enum.auto()
    """The handler has the head and waits for the body, which is arriving."""
    ANSWERING = enum.auto()
    """The handler has everything and works on the response."""
    STREAMING = enum.auto()
    """The head of a response is written; its content follows piece by piece."""
    FLUSHING = enum.auto()
    """The last response of the connection is written, but the client has not taken all of it."""
    CLOSING = enum.auto()
    """Nothing more is read or written; the transport is closing."""
    CLOSED = enum.auto()
    """The transport has reported the end."""


class Event(enum.IntEnum):
    """What can happen to a connection."""

    HEAD_BEGUN = enum.auto()
    """Some bytes of a head arrived."""
    HEAD_BLANK = enum.auto()
    """They turned out to be an empty line, which is skipped (RFC 9112 §2.2)."""
    BODY_BEGUN = enum.auto()
    """The head is complete; the body is read before the handler is called."""
    BODY_HELD = enum.auto()
    """The handler is called without the body."""
    BODY_WANTED = enum.auto()
    """The handler asks for the body."""
    BODY_UNWANTED = enum.auto()
    """The handler has responded without the whole body."""
    REQUEST_COMPLETE = enum.auto()
    """The handler gets a complete request, or the body that it waits for."""
    REFUSED = enum.auto()
    """We refuse what has arrived, and read no more."""
    STREAM_BEGUN = enum.auto()
    """The head of a response is written, and content follows."""
    RESPONSE_WRITTEN = enum.auto()
    """The response is written completely; another request may follow."""
    LAST_RESPONSE_WRITTEN = enum.auto()
    """The response is written completely; the connection ends with it."""
    RESPONSE_TAKEN = enum.auto()
    """The client has taken everything that was written."""
    REQUESTS_OVER = enum.auto()
    """No request will be read any more: the client is silent or done, or the proxy stops."""
    ABORTED = enum.auto()
    """We give up the connection."""
    LOST = enum.auto()
    """The transport reports the end."""


_BROKEN_OFF: Final = {Event.ABORTED: State.CLOSING, Event.LOST: State.CLOSED}

_BEFORE_REQUEST: Final = {
    Event.HEAD_BEGUN: State.HEAD,
    Event.BODY_BEGUN: State.BODY,
    Event.BODY_HELD: State.HELD,
    Event.REQUEST_COMPLETE: State.ANSWERING,
    Event.REFUSED: State.ANSWERING,
    Event.REQUESTS_OVER: State.CLOSING,
    **_BROKEN_OFF,
}

TABLE: Final[Mapping[State, Mapping[Event, State]]] = {
    State.NEW: _BEFORE_REQUEST,
    State.IDLE: _BEFORE_REQUEST,
    State.HEAD: {
        Event.HEAD_BLANK: State.IDLE,
        Event.BODY_BEGUN: State.BODY,
        Event.BODY_HELD: State.HELD,
        Event.REQUEST_COMPLETE: State.ANSWERING,
        Event.REFUSED: State.ANSWERING,
        **_BROKEN_OFF,
    },
    State.BODY: {
        Event.BODY_HELD: State.HELD,  # the length of a chunked body is known only while it arrives
        Event.REQUEST_COMPLETE: State.ANSWERING,
        Event.REFUSED: State.ANSWERING,
        **_BROKEN_OFF,
    },
    State.HELD: {
        Event.BODY_WANTED: State.WANTED,
        Event.BODY_UNWANTED: State.ANSWERING,
        **_BROKEN_OFF,
    },
    State.WANTED: {
        Event.BODY_UNWANTED: State.ANSWERING,
        Event.REQUEST_COMPLETE: State.ANSWERING,
        Event.REFUSED: State.ANSWERING,
        **_BROKEN_OFF,
    },
    State.ANSWERING: {
        Event.STREAM_BEGUN: State.STREAMING,
        Event.RESPONSE_WRITTEN: State.IDLE,
        Event.LAST_RESPONSE_WRITTEN: State.FLUSHING,
        **_BROKEN_OFF,
    },
    State.STREAMING: {
        Event.RESPONSE_WRITTEN: State.IDLE,
        Event.LAST_RESPONSE_WRITTEN: State.FLUSHING,
        **_BROKEN_OFF,
    },
    State.FLUSHING: {Event.RESPONSE_TAKEN: State.CLOSING, **_BROKEN_OFF},
    State.CLOSING: _BROKEN_OFF,
    State.CLOSED: {},
}
"""The only way from one state to another. A pair that is missing here cannot happen, or is a bug of ours."""

BEFORE_REQUEST: Final = frozenset({State.NEW, State.IDLE})
"""Nothing of a request has arrived: the connection may be closed without a response."""

READS_HEAD: Final = BEFORE_REQUEST | {State.HEAD}
"""The next bytes belong to a head."""

READS_BODY: Final = frozenset({State.BODY, State.WANTED})
"""The next bytes belong to a body."""

READS: Final = READS_HEAD | READS_BODY
"""The next bytes are parsed. In all other states they wait in the buffer, or are dropped."""

CLIENT_SENDS: Final = READS_BODY | {State.HEAD}
"""A request has begun, and the client must send the rest of it in time."""

WITH_HANDLER: Final = frozenset({State.HELD, State.WANTED, State.ANSWERING})
"""The handler, or its refusal, owes a response."""

RESPONDING: Final = frozenset({State.ANSWERING, State.STREAMING})
"""The whole request was read, and its response is not complete."""

ENDING: Final = frozenset({State.FLUSHING, State.CLOSING, State.CLOSED})
"""Nothing that the client sends is read any more (RFC 9112 §9.6)."""


class IllegalTransition(RuntimeError):
    """A connection was told of an event that its state does not allow. This is a bug of ours, not of the client.

    :param state: the state of the connection.
    :param event: what it was told.
    """

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a connection in state {state.name} cannot take event {event.name}")
        self.state, self.event = state, event


def after(state: State, event: Event) -> State:
    """Return the state that follows ``event``.

    :raise IllegalTransition: the event cannot happen in this state.
    """
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None

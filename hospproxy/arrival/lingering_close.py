"""Close a connection so that the client receives the last response completely (RFC 9112 §9.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..options.arrival_section import ArrivalSettings


class LingeringClose:
    """The stages of a close. Each stage sets a deadline; when it passes, ``overdue`` moves on to the next stage.

    A plain connection is half-closed: the client sees the end, and we still read its last bytes. Closing at once
    would send a reset that can overtake the response. Twisted's TLS has no half-close (its ``loseWriteConnection``
    falls through to TCP), but its ``loseConnection`` behaves like one: it sends close_notify and waits for the
    client's. It also waits for a registered producer, for ever, so unregister the producer first.

    :param transport: TCP, or Twisted's TLS around it.
    :param secure: whether the transport is TLS.
    :param set_deadline: sets the connection's deadline, in seconds from now. Always call it before telling the
        transport anything, because that may end the stage at once.
    """

    __slots__ = ("_forced", "_half_closed", "_limits", "_secure", "_set_deadline", "_transport")

    def __init__(
        self, transport: Any, limits: ArrivalSettings, *, secure: bool, set_deadline: Callable[[float], None]
    ) -> None:
        self._set_deadline = set_deadline
        self._transport = transport
        self._limits = limits
        self._secure = secure
        self._half_closed = False
        self._forced = False

    def finish(self) -> None:
        """Everything is handed to the transport: send it, close our side, wait for the client to close its side."""
        if self._secure:
            self._set_deadline(self._limits.linger_s)
            self._transport.loseConnection()
        else:
            self._set_deadline(self._limits.write_timeout_s)
            self._transport.loseWriteConnection()

    def half_closed(self) -> None:
        """Our side of a plain connection is closed: give the client ``linger_s`` to notice."""
        self._half_closed = True
        self._set_deadline(self._limits.linger_s)

    def client_closed(self) -> None:
        """The client has closed its side of a plain connection too."""
        if self._half_closed:
            self._transport.loseConnection()

    def close_idle(self) -> None:
        """Close a connection without a request or response in flight; no need to linger."""
        self._set_deadline(self._limits.write_timeout_s)
        self._transport.loseConnection()
        self._close_below()

    def overdue(self) -> None:
        """The current stage missed its deadline: force the next one."""
        self._set_deadline(self._limits.write_timeout_s)
        if self._forced or not (self._secure or self._half_closed):
            self._transport.abortConnection()
        else:
            self._close_below()

    def _close_below(self) -> None:
        """Close TCP once it has sent what it holds, even if TLS still waits for the client."""
        self._forced = True
        below = self._transport.transport if self._secure else self._transport
        below.loseConnection()

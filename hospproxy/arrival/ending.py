"""How a connection is closed so that the client gets the last answer whole (RFC 9112 §9.6)."""

from __future__ import annotations

from typing import Any

from .limits import ArrivalLimits


class Ending:
    """The stages of a close. Each step says how many seconds it may last before ``overdue`` goes on to the next.

    A plain connection is half-closed, so that the client sees the end and its last bytes are still read (closing at
    once would send a reset that overtakes the answer). Twisted's TLS has no half-close (its ``loseWriteConnection``
    falls through to TCP), but its ``loseConnection`` is one: it sends close_notify and waits for the client's. It
    also waits for a registered producer, for ever: unregister first.

    :param transport: TCP, or Twisted's TLS around it.
    :param secure: which of both.
    """

    __slots__ = ("_forced", "_half_closed", "_limits", "_secure", "_transport")

    def __init__(self, transport: Any, limits: ArrivalLimits, *, secure: bool) -> None:
        self._transport = transport
        self._limits = limits
        self._secure = secure
        self._half_closed = False
        self._forced = False

    def finish(self) -> float:
        """All is handed to the transport: send it, close our side, wait for the client's."""
        if self._secure:
            self._transport.loseConnection()
            return self._limits.linger_s
        self._transport.loseWriteConnection()
        return self._limits.write_timeout_s

    def half_closed(self) -> float:
        """Our side of a plain connection is closed: give the client a moment to notice."""
        self._half_closed = True
        return self._limits.linger_s

    def client_closed(self) -> None:
        """The client has closed its side of a plain connection too."""
        if self._half_closed:
            self._transport.loseConnection()

    def close_idle(self) -> float:
        """Nothing is under way in either direction: no need to linger."""
        self._transport.loseConnection()
        return self._close_below()

    def overdue(self) -> float:
        """A stage has taken too long."""
        if self._forced or not (self._secure or self._half_closed):
            self._transport.abortConnection()
            return self._limits.write_timeout_s
        return self._close_below()

    def _close_below(self) -> float:
        """Close TCP once it has sent what it holds, whatever TLS still waits for."""
        self._forced = True
        below = self._transport.transport if self._secure else self._transport
        below.loseConnection()
        return self._limits.write_timeout_s

"""A request body that is read only when a processor asks for it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from ..http.errors import ProxyError, Refused


class DeferredBody:
    """Given to the handler together with the head of its request (messages.IncomingBody).

    :param begin: called when the body is wanted; the connection then reads on.
    """

    __slots__ = ("_begin", "_over", "_wanted")

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._wanted: Deferred[bytes | bytearray] | None = None
        self._over = False

    @property
    def is_wanted(self) -> bool:
        """Whether a processor is waiting for the body."""
        return self._wanted is not None and not self._wanted.called

    async def read(self) -> bytes | bytearray:
        """Return the whole content. Call it once.

        :raise ProxyError: 400, 408, 413 or 503: the body is incomplete, too late, or over a limit.
        """
        if self._over or self._wanted is not None:
            raise Refused("The body is cut short.")
        wanted: Deferred[bytes | bytearray] = Deferred()
        self._wanted = wanted
        self._begin()
        return await wanted

    def arrived(self, content: bytes | bytearray) -> None:
        """The body is complete: pass it to the reader, if there is one."""
        self._over = True
        if self._wanted is not None and not self._wanted.called:
            self._wanted.callback(content)

    def fail(self, error: ProxyError) -> None:
        """The body will not arrive: fail the reader, if there is one."""
        self._over = True
        if self._wanted is not None and not self._wanted.called:
            self._wanted.errback(error)

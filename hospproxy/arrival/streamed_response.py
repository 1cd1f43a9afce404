"""Send a response whose content is produced piece by piece (RFC 9112 §7.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..http.messages import Response
from ..process.background import Background
from ..process.iterators import close
from .flow_control import FlowControl

_log = Logger()
_LAST = b"0\r\n\r\n"


class ResponseStream:
    """Sends content to a client, one piece at a time: the next piece is requested when the transport has room for it.

    The last chunk marks the end, or for HTTP/1.0 an orderly close. A client that sees neither knows that the content
    is truncated.

    :param chunks: the content; an empty piece is skipped, because it would mark the end.
    :param transport: of the connection.
    :param outflow: reports when the transport's buffer is full.
    :param chunked: use the chunked coding; False for HTTP/1.0.
    """

    __slots__ = ("_chunked", "_chunks", "_outflow", "_room", "_stopped", "_transport", "_work", "_writing")

    def __init__(
        self, chunks: AsyncIterator[bytes], transport: Any, outflow: FlowControl, *, chunked: bool
    ) -> None:
        self._chunks = chunks
        self._transport = transport
        self._outflow = outflow
        self._chunked = chunked
        self._room: Deferred[None] | None = None
        self._work: Deferred[None] | None = None
        self._stopped = False
        self._writing = False

    def run(self) -> Deferred[None]:
        """Send all of it; fires when the last byte is written.

        Fails with the iterator's exception or a CancelledError.
        """
        self._work = Deferred.fromCoroutine(self._carry())
        return self._work

    def has_room(self) -> None:
        """The client has read what was written: continue."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stop(self) -> None:
        """The connection is closed: request no more pieces, and let the iterator close what it holds."""
        self._stopped = True
        if self._work is not None and not self._writing:
            self._work.cancel()

    async def _carry(self) -> None:
        try:
            async for chunk in self._chunks:
                if chunk:
                    await self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)
                if self._stopped:
                    return
        finally:
            await close(self._chunks)
        if self._chunked:
            await self._write(_LAST, wait=False)

    async def _write(self, data: bytes, *, wait: bool = True) -> None:
        if self._outflow.blocked:
            await self._until_room()
        if self._stopped:
            return
        self._outflow.expect(len(data))
        self._writing = True
        try:
            self._transport.write(data)
        finally:
            self._writing = False
        if wait and self._outflow.blocked and not self._stopped:
            await self._until_room()

    def _until_room(self) -> Deferred[None]:
        self._room = Deferred()
        return self._room


def discard(response: Response) -> None:
    """Close the content of a response that will not be sent."""
    if response.chunks is not None:
        message = "the content of a response that was not sent could not be closed"
        Background(_log, message).run(close(response.chunks))

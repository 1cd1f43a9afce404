"""One machine's link to Redis, which can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from attrs import define, field

_PIECE = 1 << 16


@define(eq=False)
class Link:
    """A TCP relay to a port of this host.

    :param target: that port.
    :ivar port: its own.
    """

    target: int
    port: int = 0
    _is_cut: bool = field(default=False, init=False)
    _open: asyncio.Event = field(factory=asyncio.Event, init=False)
    _writers: set[asyncio.StreamWriter] = field(factory=set, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)

    async def start(self) -> None:
        """Listen."""
        self._open.set()
        self._server = await asyncio.start_server(self._came, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close it, and all connections through it."""
        if self._server is not None:
            self._server.close()
        self._reset()

    def cut(self) -> None:
        """Reset open connections, and new ones."""
        self._is_cut = True
        self._reset()

    def hush(self) -> None:
        """Let nothing through from now on, in either direction, and close nothing, as a firewall does."""
        self._open.clear()

    def mend(self) -> None:
        """Restore it. Bytes that ``hush`` held back arrive now."""
        self._is_cut = False
        self._open.set()

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._is_cut:
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(far)
            try:
                await _first_of(self._pass_on(reader, far), self._pass_on(far_reader, writer))
            finally:
                self._writers.discard(far)
                far.transport.abort()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._open.wait()
                writer.write(piece)
                await writer.drain()


async def _first_of(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()

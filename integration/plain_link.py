"""A minimal link to Redis, for tests of what runs over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import txredisapi
from twisted.internet import endpoints
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script

from .redis_server import Redis


def reactor_now() -> Any:
    """The reactor of the run."""
    from twisted.internet import reactor

    return cast(Any, reactor)


class _Listener(txredisapi.SubscriberProtocol):  # type: ignore[misc]
    hear: Callable[[bytes], object]

    def messageReceived(self, _pattern: Any, _channel: Any, message: Any) -> None:
        self.hear(message.encode() if isinstance(message, str) else message)


class PlainLink:
    """Reconnects for ever, every 50 ms.

    :ivar cut: the connection to Redis is broken on purpose.
    """

    def __init__(self, redis: Redis, timeout_s: float = 0.5) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._up: list[Callable[[bytes], object]] = []
        self._down: list[Callable[[], object]] = []
        self._message: list[Callable[[bytes], object]] = []
        self._channel = b""
        self._commands: Any = None
        self._listener: Any = None
        self._running = False
        self.cut = False

    @property
    def is_up(self) -> bool:
        return self._commands is not None

    def on_up(self, callback: Callable[[bytes], object]) -> None:
        self._up.append(callback)

    def on_down(self, callback: Callable[[], object]) -> None:
        self._down.append(callback)

    def on_message(self, callback: Callable[[bytes], object]) -> None:
        self._message.append(callback)

    def subscribe(self, channel: bytes) -> None:
        self._channel = channel

    def start(self) -> None:
        self._running = True
        Deferred.fromCoroutine(self._keep())

    def stop(self) -> None:
        self._running = False
        self._lost()

    def _lost(self) -> None:
        commands, self._commands = self._commands, None
        listener, self._listener = self._listener, None
        if commands is not None:
            for told in self._down:
                told()
            commands.transport.abortConnection()
        if listener is not None:
            listener.transport.abortConnection()

    async def _keep(self) -> None:
        while self._running:
            if self._commands is None and not self.cut:
                try:
                    await self._connect()
                except Exception:
                    self._lost()
            elif self._commands is not None and (self.cut or not self._commands.connected):
                self._lost()
            await deferLater(reactor_now(), 0.05, lambda: None)

    async def _connect(self) -> None:
        place = endpoints.TCP4ClientEndpoint(reactor_now(), "127.0.0.1", self._redis.port, timeout=1)
        made = txredisapi.BaseRedisProtocol(charset=None, convertNumbers=False)
        commands: Any = await endpoints.connectProtocol(place, made)
        told = await self._timed(commands.execute_command("INFO", "server"))
        run_id = re.search(rb"run_id:([0-9a-f]+)", told)
        assert run_id is not None
        heard = _Listener(charset=None, convertNumbers=False)
        heard.hear = lambda payload: [told(payload) for told in self._message]
        listener: Any = await endpoints.connectProtocol(place, heard)
        listener.execute_command("SUBSCRIBE", self._channel).addErrback(lambda _gone: None)
        if self.cut:
            commands.transport.abortConnection()
            listener.transport.abortConnection()
            return
        self._commands, self._listener = commands, listener
        for each in self._up:
            each(run_id[1])

    def _timed(self, reply: Any) -> Any:
        return reply.addTimeout(self._timeout_s, reactor_now())

    async def evaluate(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        if self._commands is None:
            raise Away("away")
        try:
            reply = await self._timed(
                self._commands.execute_command("EVAL", script.text, len(keys), *keys, *args)
            )
        except Exception as error:
            if not isinstance(error, txredisapi.ResponseError):
                self._lost()
            raise Away(repr(error)) from None
        return list(reply)

"""The link to Redis: two connections, reopened for ever. While it is down, commands fail at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from ..exchange.words import RedisResult
from ..interfaces import IMeter
from ..options.redis_section import RedisSettings
from ..process.background import Background
from .connection import Full, Lost, RedisConnection, RedisListener, RedisOpener, read_password, words_of
from .kinds import Away
from .lua_scripts import Script
from .replies import ErrorReply, InvalidReply

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
CONNECT_S = 3.0
"""Seconds for name lookup, connection and TLS handshake together; ``timeout_s``, if that is longer."""
LISTEN_CHECK_S = 10.0
"""Seconds between two PINGs on the connection that only listens."""
_SOUND_S = 5.0
"""Seconds after which a link counts as good: the backoff then starts again at its shortest pause."""
SAY_AGAIN_S = 60.0
"""Seconds before the same reason is logged again, even if Redis was back in between."""
_MOST_WORDS = 8
_ELSEWHERE = frozenset(
    ("READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "NOAUTH", "WRONGPASS", "CLUSTERDOWN")
)
"""Errors of a server that cannot, or can no longer, be written to: a failover may have moved the name elsewhere."""
_RUN_ID = re.compile(rb"^run_id:([0-9a-zA-Z]{8,64})\r?$", re.MULTILINE)
_ROLE = re.compile(rb"^role:([a-z]{1,20})\r?$", re.MULTILINE)
_log = Logger()

Argument = bytes | str | int


class Link:
    """The link is up while both connections are: one for commands, one that listens to a channel.

    :param settings: of Redis.
    :param reactor: gives time, and opens connections.
    :param random: returns 0 to 1; spreads the pauses, so that not all workers reconnect at one moment.
    :param password: returns the password, called for each connection; default: reads it as the settings say.
    :param opener: opens a connection of a class; default: a real one.
    """

    def __init__(
        self,
        settings: RedisSettings,
        reactor: Any,
        meter: IMeter,
        random: Callable[[], float],
        password: Callable[[], bytes | None] | None = None,
        opener: Callable[[Callable[[bool], RedisConnection]], Coroutine[Any, Any, Any]] | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._meter = meter
        self._random = random
        self._password = password or (lambda: read_password(settings))
        self._open = opener or RedisOpener(reactor, settings, max(CONNECT_S, settings.timeout_s))
        self._channel: bytes | None = None
        self._on_up: list[Callable[[bytes], object]] = []
        self._on_down: list[Callable[[], object]] = []
        self._on_message: list[Callable[[bytes], object]] = []
        self._commands: RedisConnection | None = None
        self._started = False
        self._background = Background(
            _log, "the link to Redis has ended (a bug); restart hospproxy to share state again", meter
        )
        self._said: dict[str, float] = {}  # each reason for being away or refusing, and when it was logged
        self._is_said = False  # whether "away" was logged since the last successful command
        self._used = False
        meter.gauge("redis_up", lambda: float(self.is_up))

    # Called by other parts

    @property
    def is_up(self) -> bool:
        """Whether commands can be sent."""
        return self._commands is not None

    def subscribe(self, channel: bytes) -> None:
        """Set the channel to subscribe to. Call it before ``start``."""
        self._channel = channel

    def on_up(self, callback: Callable[[bytes], object]) -> None:
        """Call back with Redis's ``run_id`` each time the link comes up, before any command is sent."""
        self._on_up.append(callback)

    def on_down(self, callback: Callable[[], object]) -> None:
        """Call back each time the link goes down, before the commands in flight fail."""
        self._on_down.append(callback)

    def on_message(self, callback: Callable[[bytes], object]) -> None:
        """Call back with each message that is published on the channel."""
        self._on_message.append(callback)

    def start(self) -> None:
        """Start connecting. Returns at once."""
        if not self._started:
            self._started = True
            self._background.run(self._keep())

    def stop(self) -> None:
        """Disconnect at once. Commands in flight fail."""
        self._started = False
        self._background.stop()

    async def evaluate(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument]) -> list[Any]:
        """Run a script, and return its list. It takes at most ``timeout_s``.

        :raise Away: the script did not run, or is not known to have run.
        """
        rest = (len(keys), *keys, *args)
        latest = self._reactor.seconds() + self._settings.timeout_s
        try:
            try:
                reply = await self._ask(latest, "EVALSHA", script.digest, *rest)
            except ErrorReply as refused:
                if refused.code != "NOSCRIPT":
                    raise
                reply = await self._ask(latest, "EVAL", script.text, *rest)
        except ErrorReply as refused:
            raise Away(f"Redis: {words_of(refused)}") from None
        if not isinstance(reply, list):
            self._drop("it sent an invalid reply: no list from a script")
            raise Away("Redis: it sent an invalid reply")
        return reply

    async def ask(self, *command: Argument) -> Any:
        """Run one command. The reply is bytes, a number, None, or a list of these.

        :raise Away: the command did not run, or is not known to have run.
        """
        try:
            return await self._ask(self._reactor.seconds() + self._settings.timeout_s, *command)
        except ErrorReply as refused:
            raise Away(f"Redis: {words_of(refused)}") from None

    # One command

    async def _ask(self, latest: float, *command: Argument) -> Any:
        connection = self._commands
        if connection is None:
            self._meter.count("redis_commands_total", result="away")
            raise Away("Redis is away")
        began = self._reactor.seconds()
        try:
            reply = await self._sent(connection, latest, *command)
        except ErrorReply as refused:
            # NOSCRIPT is no error: Redis does not know a script before its first run.
            known = refused.code != "NOSCRIPT"
            self._answered(began, "error" if known else "unknown_script")
            if refused.code in _ELSEWHERE:
                connection.drop(words_of(refused))
            elif known:
                self._say_refused(words_of(refused))
            raise
        except Full as full:
            self._meter.count("redis_commands_total", result="full")
            raise Away(f"Redis: {full}") from None
        except TimeoutError:
            self._meter.count("redis_commands_total", result="timeout")
            raise Away("Redis does not answer in time") from None
        except Lost as lost:
            self._meter.count("redis_commands_total", result="lost")
            raise Away(f"Redis: {lost}") from None
        self._answered(began, "ok")
        self._is_used()
        return reply

    async def _sent(self, connection: RedisConnection, latest: float, *command: Argument) -> Any:
        """Send a command. If no reply comes in time, drop the connection: a late reply would belong to no command."""
        reply = connection.send(*command)
        reply.addTimeout(max(0.0, latest - self._reactor.seconds()), self._reactor)
        try:
            return await reply
        except TimeoutError:
            connection.drop("it does not answer in time")
            raise

    def _answered(self, began: float, result: RedisResult) -> None:
        self._meter.count("redis_commands_total", result=result)
        self._meter.observe("redis_seconds", self._reactor.seconds() - began)

    def _drop(self, why: str) -> None:
        if self._commands is not None:
            self._commands.drop(why)

    # Up and down, for ever

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began = self._reactor.seconds()
            self._say(await self._one_life())
            if self._reactor.seconds() - began >= _SOUND_S:
                pause_s = FIRST_PAUSE_S
            await deferLater(self._reactor, pause_s * (0.5 + self._random() / 2))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            self._meter.count("redis_reconnects_total")

    async def _one_life(self) -> str:
        """Connect, and wait until either connection ends; return the reason."""
        over: Deferred[str] = Deferred()
        made: list[RedisConnection] = []
        try:
            commands, run_id = await self._ready(RedisConnection, made, over)
            listener, same = await self._ready(RedisListener, made, over)
            if run_id != same:
                return "two servers answer to its name"
            assert isinstance(listener, RedisListener)
            listener.on_message = self._heard
            if self._channel is not None:
                await self._in_time(listener, listener.listen(self._channel))
            if not over.called:
                self._now_up(commands, run_id)
                return await self._watch(listener, over)
            return await over
        except CancelledError:
            raise
        except Exception as problem:
            return words_of(problem)
        finally:
            self._now_down()
            for each in made:
                each.drop("it is no longer needed")

    async def _ready(
        self, kind: Callable[[bool], RedisConnection], made: list[RedisConnection], over: Deferred[str]
    ) -> tuple[RedisConnection, bytes]:
        """Open a connection and log in; return it with the ``run_id`` of its server.

        :raise Exception: that failed; ``words_of`` says why.
        """
        connection: RedisConnection = await self._open(kind)
        made.append(connection)

        def lost(why: str) -> None:
            self._now_down()
            if not over.called:
                over.callback(why)

        connection.on_lost = lost
        run_id: bytes = await self._in_time(connection, self._introduced(connection))
        return connection, run_id

    async def _introduced(self, connection: RedisConnection) -> bytes:
        password = self._password()
        user = self._settings.user
        if password is not None:
            try:
                await connection.send(b"AUTH", *([user.encode()] if user else []), password)
            except ErrorReply as refused:
                if refused.code == "ERR":
                    raise Lost("it has no password, but the options give one") from None
                raise
        if self._settings.database:
            await connection.send(b"SELECT", self._settings.database)
        # PING fails while Redis is still loading its data, and on a replica that has lost its primary.
        if await connection.send(b"PING") != b"PONG":
            raise InvalidReply("no answer to PING")
        server = await connection.send(b"INFO", b"server")
        run_id = _RUN_ID.search(server) if isinstance(server, bytes) else None
        state = await connection.send(b"INFO", b"replication")
        role = _ROLE.search(state) if isinstance(state, bytes) else None
        if run_id is None or role is None:
            raise InvalidReply("no answer to INFO")
        if role[1] != b"master":
            raise Lost("it is a replica, which cannot be written to")
        return run_id[1]

    async def _in_time(self, connection: RedisConnection, doing: Coroutine[Any, Any, Any]) -> Any:
        done = Deferred.fromCoroutine(doing)
        done.addTimeout(max(CONNECT_S, self._settings.timeout_s), self._reactor)
        try:
            return await done
        except Exception as problem:
            connection.drop(words_of(problem))
            raise

    async def _watch(self, listener: RedisListener, over: Deferred[str]) -> str:
        """Wait until a connection ends. Meanwhile PING the one that only listens."""
        checks = LoopingCall(self._check, listener)
        checks.clock = self._reactor
        checks.start(LISTEN_CHECK_S, now=False)
        try:
            return await over
        finally:
            checks.stop()

    def _check(self, listener: RedisListener) -> Deferred[None]:
        # ``_in_time`` drops the connection when the PING fails; nothing else is to be done.
        return Deferred.fromCoroutine(self._in_time(listener, _pinged(listener))).addErrback(lambda _: None)

    # Callbacks

    def _now_up(self, commands: RedisConnection, run_id: bytes) -> None:
        self._commands = commands
        for callback in self._on_up:
            self._tell(callback, run_id)

    def _now_down(self) -> None:
        if self._commands is not None:
            self._commands = None
            for callback in self._on_down:
                self._tell(callback)

    def _heard(self, payload: bytes) -> None:
        if self.is_up:
            for callback in self._on_message:
                self._tell(callback, payload)

    @staticmethod
    def _tell(callback: Callable[..., object], *args: bytes) -> None:
        try:
            callback(*args)
        except Exception:
            _log.failure("a callback of the Redis link failed (a bug)")

    # Log lines

    def _say(self, why: str) -> None:
        """Log why Redis is away, once for each reason."""
        if self._may_say(why):
            self._is_said = True
            _log.warn("Redis at {url} is away: {why}", url=self._settings.url, why=why)

    def _say_refused(self, why: str) -> None:
        if self._may_say(why):
            _log.error("Redis at {url} refuses commands: {why}", url=self._settings.url, why=why)

    def _may_say(self, why: str) -> bool:
        """Whether to log this reason: a Redis that comes and goes, or refuses everything, must not fill the log."""
        now = self._reactor.seconds()
        if not self._is_said:
            self._said = {one: at for one, at in self._said.items() if now - at < SAY_AGAIN_S}
        if why in self._said or len(self._said) >= _MOST_WORDS:
            return False
        self._said[why] = now
        return True

    def _is_used(self) -> None:
        """Log that Redis is back, after the first successful command: one that refuses all commands is not back."""
        if self._is_said:
            self._is_said = False
            _log.info("Redis at {url} is back", url=self._settings.url)
        elif not self._used:
            _log.info("Redis at {url} is in use", url=self._settings.url)
        self._used = True


async def _pinged(listener: RedisListener) -> None:
    reply = await listener.send(b"PING")
    if reply != [b"pong", b""] and reply != b"PONG":
        raise InvalidReply("no answer to PING")

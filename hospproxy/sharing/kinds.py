"""Interfaces to the state that processes share, and the implementation for a process that is alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .lua_scripts import Script
from .news import News


class Away(Exception):
    """A command failed: Redis is away, slow, full or read-only, or sent an invalid reply.

    The command may have taken effect all the same. The text holds nothing of the command.
    """


class ListenerFailed(Exception):
    """A listener could not apply the news of another worker because something outside the program failed: a disk."""


class Sharing(Protocol):
    """How a process learns what other processes have changed, and tells them what it changes."""

    @property
    def is_alone(self) -> bool:
        """Whether there can be no other processes, so that nothing has to be shared."""

    @property
    def may_serve(self) -> bool:
        """Whether the cache may be served now: no process can have invalidated an entry unknown to this one.

        Ask immediately before serving, with no await in between.
        """

    @property
    def sees_others(self) -> bool:
        """Whether the other processes' state can be seen: Redis answers, and this process has joined."""

    @property
    def sees_since(self) -> float:
        """The moment, in monotonic seconds, since when it could be seen without a break and no process was cut off."""

    @property
    def unbroken(self) -> int:
        """A counter; while it does not change, this process has missed no news."""

    def say(self, news: News) -> None:
        """Send news soon, without waiting. They arrive in the end: through the log, or once this process is back."""

    async def announce(self, *news: News) -> None:
        """Send news, and wait until no other process serves what they invalidate: each live one has dropped it, or has
        no lease. Never fails; without Redis it waits until the others' leases have run out.
        """

    def listen(self, listener: Callable[[News], object]) -> None:
        """Register a listener for news. When it returns, what the news invalidate must no longer be served.

        A listener may return a Deferred that fires once the change is on disk: the senders wait for it.
        """


class LinkLike(Protocol):
    """The link to Redis, as ``SharingMember`` uses it."""

    @property
    def is_up(self) -> bool:
        """Whether commands can be sent."""

    def on_up(self, callback: Callable[[bytes], object]) -> None:
        """Call back with Redis's ``run_id`` each time the link comes up, before any command is sent."""

    def on_down(self, callback: Callable[[], object]) -> None:
        """Call back each time the link goes down, before the commands in flight fail."""

    def on_message(self, callback: Callable[[bytes], object]) -> None:
        """Call back with each message that is published on the channel."""

    def subscribe(self, channel: bytes) -> None:
        """Set the channel to subscribe to. Call it before ``start``."""

    async def evaluate(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        """Run a script, and return its whole list.

        :raise Away: the script did not run, or is not known to have run.
        """

    def start(self) -> None:
        """Start connecting. Returns at once."""

    def stop(self) -> None:
        """Disconnect at once. Commands in flight fail."""


class NamesLike(Protocol):
    """Names of keys in Redis, hidden with an HMAC whose secret all workers share."""

    def sealed(self, vault: Sealing) -> bytes:
        """Encrypt the HMAC secret, to be stored in the head."""

    def key(self, prefix: str, kind: str, data: bytes | None = None) -> bytes:
        """Return the name of a key in Redis; see ``RedisScripts.key``."""


class Sealing(Protocol):
    """Encryption of values, so that a stolen Redis reveals none."""

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Encrypt a value, bound to the name of the key that will hold it."""

    def is_current(self, sealed: bytes) -> bool:
        """Whether a value was sealed with the current master key."""

    def open(self, sealed: bytes, name: bytes) -> bytes:
        """Decrypt a value. A failure is counted, and logged at most once per reason in a while.

        :raise Unsealable: it is damaged, was bound to another name, or was sealed with an unknown master key.
        """


NamesMaker = Callable[[Sealing, bytes | None], NamesLike]
"""Opens the sealed names from the head; with None it makes new ones.

:raise Unsealable: they cannot be read.
"""


class RedisScripts(Protocol):
    """What a part with Redis scripts of its own needs: a member id, encryption, names of keys, and ``run``."""

    @property
    def member(self) -> bytes:
        """This worker's member id: ``MACHINE.OWNER``, both plain words; new at each start."""

    @property
    def vault(self) -> Sealing:
        """Encrypts and decrypts what this worker writes to Redis and reads from it."""

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        """Return the name of a key in Redis. Data appears in it only as an HMAC, with a secret that all workers share.

        :raise Away: with data, while Redis has not been reached and the secret is unknown.
        """

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        """Run a script, and return what follows its ``ok``.

        :param keys: KEYS from KEYS[2] on.
        :param args: ARGV from ARGV[3] on.
        :raise Away: the script did not run, or is not known to have run. It may have taken effect during the call,
            but never takes effect later.
        """


class NoSharing:
    """``Sharing`` for a process that is alone."""

    is_alone = True
    may_serve = True
    sees_others = True
    sees_since = -math.inf
    unbroken = 0

    def say(self, news: News) -> None:
        pass

    async def announce(self, *news: News) -> None:
        pass

    def listen(self, listener: Callable[[News], object]) -> None:
        pass


ALONE = NoSharing()

"""The seams between one process and what it shares with others, and what stands there when it is alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .news import News
from .scripting import Script


class Away(Exception):
    """Redis did not do it: it is away, slow, full, read-only, or talks nonsense.

    Whether it did it all the same is not known. The words hold nothing that was asked.
    """


class Sharing(Protocol):
    """How a process knows what the others have changed."""

    @property
    def is_alone(self) -> bool:
        """Whether there can be no other processes: nothing has to be shared."""

    @property
    def may_serve(self) -> bool:
        """Whether an answer may be given from memory now: nobody can have made it stale without this process knowing.

        To be asked at the moment of giving, with nothing awaited in between.
        """

    @property
    def sees_others(self) -> bool:
        """Whether what the others are doing can be seen: Redis answers, and this process has joined."""

    @property
    def unbroken(self) -> int:
        """A number; as long as it stays the same, nothing that others said was missed."""

    def say(self, news: News) -> None:
        """Tell the others, soon. It arrives at some time, if not by the log, then when this process is back."""

    async def announce(self, *news: News) -> None:
        """Tell the others, and wait until none of them serves what it makes stale: each live one has dropped it, or
        cannot know that it may serve. It never fails; without Redis it takes as long as the others' leases may.
        """

    def listen(self, listener: Callable[[News], object]) -> None:
        """Be told what others say. What it makes stale is not served any more when the listener returns.

        A listener may return a Deferred that fires when what must be on disk is there: others wait for it.
        """


class LinkLike(Protocol):
    """The way to Redis, as the log and the leases see it."""

    @property
    def is_up(self) -> bool:
        """Whether commands are let through."""

    def on_up(self, callback: Callable[[bytes], object]) -> None:
        """Be told Redis's ``run_id`` each time the link is up, before anybody's command is let through."""

    def on_down(self, callback: Callable[[], object]) -> None:
        """Be told each time it no longer is, before those who wait for a reply are."""

    def on_message(self, callback: Callable[[bytes], object]) -> None:
        """Be told what is published on the channel."""

    def subscribe(self, channel: bytes) -> None:
        """Which channel is listened to; before ``start``."""

    async def evaluate(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        """Run a script: the whole list that it gives back.

        :raise Away: it was not run, or is not known to have been.
        """

    def start(self) -> None:
        """Begin to connect. Returns at once."""

    def stop(self) -> None:
        """End at once: what is under way fails."""


class NamesLike(Protocol):
    """Names of keys in Redis, under a key that all share."""

    def sealed(self, vault: Sealing) -> bytes:
        """That key, for the head."""

    def key(self, prefix: str, kind: str, data: bytes | None = None) -> bytes:
        """The name of a key."""


class Sealing(Protocol):
    """What makes values unreadable to whoever steals Redis."""

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Encrypt a value for the one key under which it will stand."""

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the master key that seals now."""

    def open(self, sealed: bytes, name: bytes) -> bytes:
        """Decrypt.

        :raise Unsealable: it is damaged, from another place, or sealed with a key that is not known. It is counted, and
            said once.
        """


NamesMaker = Callable[[Sealing, bytes | None], NamesLike]
"""Names from what is sealed in the head; with None new ones.

:raise Unsealable: it cannot be read.
"""


class Common(Protocol):
    """What is needed to work with what is common: for the parts that have scripts of their own."""

    @property
    def member(self) -> bytes:
        """This worker's id among the members: ``MACHINE.OWNER``, both plain words; a new one each start."""

    @property
    def vault(self) -> Sealing:
        """Seals values."""

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        """The name of a key in Redis. With data, an HMAC of it stands in its place, under a key that all share.

        :raise Away: it is not known yet, since Redis has not been reached.
        """

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        """Run a script: what follows its ``ok``.

        :param keys: KEYS[2] and on.
        :param args: ARGV[3] and on.
        :raise Away: it was not run, or is not known to have been. It may then have taken effect for as long as the
            call took, and never takes effect later.
        """


class Alone:
    """There are no others."""

    is_alone = True
    may_serve = True
    sees_others = True
    unbroken = 0

    def say(self, news: News) -> None:
        pass

    async def announce(self, *news: News) -> None:
        pass

    def listen(self, listener: Callable[[News], object]) -> None:
        pass


ALONE = Alone()

"""One worker among the others: its heartbeats, its lease, and the news it sends and reads (docs/adr/0024)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..interfaces import IMeter
from ..options.redis_section import RedisSettings
from ..process.background import Background
from ..process.hook import Hook
from . import members
from .arguments import beat_args, burial_args
from .incoming_news import IncomingNews, NewsNotApplied
from .kinds import Away, LinkLike, NamesMaker, Sealing
from .learnt_names import LearntNames
from .lease import Lease
from .lease_wait import LeaseWait
from .lua_scripts import Script, bare, script
from .members import HeartbeatReply, InvalidMembers, MembersView, WakeMessage
from .news import EverythingStale, News
from .outbox import Outbox, OutboxMessage
from .siblings import dead_among
from .status import ProblemLog, offer_gauges

POLL_S = 0.05
"""Seconds between two heartbeats while a writer waits for others to read; and the shortest pause after a failure."""
SAY_S = 0.02
"""Seconds for which news that no writer waits for are held back, so that one heartbeat carries more of them."""
PATIENCE = 3
"""Failures in a row to apply news after which the worker gives up its lease and joins anew, so that no writer waits."""
MOST_KNOWN = 1000
"""Most members that this worker reports when it opens an epoch."""
_log = Logger()


class SharingMember:
    """``Sharing`` and ``RedisScripts`` for one worker.

    :param clock: monotonic time.
    :param names: makes or opens the secret for names of keys.
    :param random: returns this many random bytes.
    """

    is_alone = False

    def __init__(
        self,
        link: LinkLike,
        vault: Sealing,
        names: NamesMaker,
        clock: IReactorTime,
        timing: RedisSettings,
        meter: IMeter,
        random: Callable[[int], bytes],
    ) -> None:
        self.member = b""
        self.vault = vault
        self.unbroken = 0
        self._link = link
        self._clock = clock
        self._timing = timing
        self._meter = meter
        self._random = random
        self._background = Background(
            _log, "a heartbeat failed (a bug); the next one follows", meter, expected=(Away, NewsNotApplied)
        )
        self._complain = ProblemLog(meter)
        self.naming = LearntNames(vault, names, timing.prefix, self._complain)
        self.key = self.naming.key
        self.joined: Hook[[bool]] = Hook()
        """This worker has joined, at its start or in a new epoch. The argument says whether it may have missed news."""
        self.read: Hook[[bytes, int]] = Hook()
        """It has read the log of this epoch up to this number."""
        self.missed: Hook[[]] = Hook()
        """It has missed news for good; told before its listeners get ``EverythingStale``."""
        self.places: Hook[[]] = Hook()
        """Another worker has returned slots at HOSP, needs some, or has news of the breaker."""
        self._ears = IncomingNews(vault, self.key("log"), clock, timing.timeout_s, meter)
        self._outbox = Outbox(complain=self._complain)
        self._lease = Lease(timing)
        self._waiting = LeaseWait(clock, timing, b"")
        self._is_gone: Callable[[str], bool] = lambda _name: False
        self._run_id: bytes | None = None
        self._connection = 0
        self._opened = self._joined = self._anew = False
        self._join_from: int | str = "now"
        self._told = self._acked = self._wanted = 0
        self._epoch = b""
        self._pos: int | None = None
        self._view = MembersView()
        self._held_back, self._unheard = False, 0
        self._answered_at = self.sees_since = -math.inf  # see ``Sharing.sees_since``
        self._redis_time = (0, 0.0)
        self._busy = self._running = False
        self._again, self._beaten = math.inf, -math.inf
        self._timer: IDelayedCall | None = None
        offer_gauges(meter, self)

    @property
    def may_serve(self) -> bool:
        """Whether the cache may be served now; see ``Sharing.may_serve``."""
        return self._running and self._lease.holds(self._clock.seconds())

    @property
    def sees_others(self) -> bool:
        """Whether the other workers' state can be seen: joined, and Redis answered within the last ``lease_s``."""
        fresh = self._clock.seconds() - self._answered_at < self._timing.lease_s
        return self._running and self._opened and self._joined and self._link.is_up and fresh

    @property
    def view(self) -> MembersView:
        """The members, as of the last heartbeat."""
        return self._view

    @property
    def held_back(self) -> bool:
        """Whether it may not serve although Redis answers: members have vanished, or the epoch has just started."""
        return self._joined and self._held_back

    def say(self, news: News) -> None:
        """Send news within ``SAY_S`` or so, without waiting; see ``Sharing.say``."""
        self._outbox.put(news)
        self._soon(SAY_S)

    async def announce(self, *news: News) -> None:
        """Send news, and wait until no other worker serves what they invalidate; see ``Sharing.announce``."""
        if not news:
            return
        began = self._clock.seconds()
        # Taken before the news are put in: a heartbeat in flight does not carry them.
        safe_at = self._lease.safe_at
        self._outbox.put(*news, urgent=True)
        self._soon(0.0)
        try:
            await self._waiting.until(self._outbox.ticket, safe_at)
        finally:
            self._meter.observe("sharing_announce_seconds", self._clock.seconds() - began)

    def listen(self, listener: Callable[[News], object]) -> None:
        """Register a listener for news; see ``Sharing.listen``."""
        self._ears.listen(listener)

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        """Run a script, and return what follows its ``ok``; see ``RedisScripts.run``.

        :raise Away: the script did not run, or is not known to have run.
        """
        if not (self._running and self._opened and self._joined and self._link.is_up):
            raise Away("Redis is away, or this worker has not joined")
        reply = await self._evaluate(script, [self.key("head"), *keys], args)
        return list(reply[1:])

    async def _evaluate(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> Any:
        connection, epoch = self._connection, self._epoch
        reply = await self._link.evaluate(script, keys, [epoch, self._not_after(), *args])
        why = self._judged(members.refused, reply)
        if connection != self._connection:
            raise Away("the connection was lost meanwhile")
        if why is not None:
            if epoch == self._epoch and self._opened:
                self._break()
                self._soon(POLL_S)
            raise Away(f"Redis: {why.decode()}")
        return reply

    def _not_after(self) -> int:
        """Latest moment for a script, in Redis's milliseconds; the estimate never runs ahead of Redis's clock."""
        then, heard = self._redis_time
        return int(then + (self._clock.seconds() - heard + self._timing.timeout_s) * 1000)

    def _judged(self, judge: Callable[[Sequence[Any]], Any], reply: Sequence[Any]) -> Any:
        try:
            return judge(reply)
        except InvalidMembers as nonsense:
            self._complain.nonsense(str(nonsense))
            raise Away(f"Redis: {nonsense}") from None

    @property
    def position(self) -> int:
        """Number of the last log entry that this worker has applied; -1 before it has joined."""
        return -1 if self._pos is None else self._pos

    def start(
        self,
        member: bytes,
        is_gone: Callable[[str], bool] = lambda _name: False,
        read: tuple[bytes, int] | None = None,
    ) -> None:
        """Start connecting. Returns at once.

        :param member: this worker's id, new at each start.
        :param is_gone: whether a worker of this machine, named by its file lock, is dead.
        :param read: epoch and number up to which an earlier process has applied the log to the cache on disk.
        """
        if read is not None:
            self._epoch, self._pos = read
        self.member, self._is_gone, self._running = member, is_gone, True
        self._waiting = LeaseWait(self._clock, self._timing, member)
        # Other workers may hold leases from before this worker's start.
        self._lease = Lease(self._timing, effect=self._clock.seconds())
        self._link.on_up(self._up)
        self._link.on_down(self._down)
        self._link.on_message(self._woken)
        self._link.subscribe(self.key("wake"))
        self._link.start()

    async def stop(self) -> None:
        """Send the remaining news and leave. From then on serve nothing from the cache, and send no write."""
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._background.idle()
        if self._opened and self._link.is_up and self.member in self._view.members:
            args = self._saying(self._outbox.all(), "leave")
            with contextlib.suppress(Away):  # a sibling buries it, or Redis drops it in time
                await self._evaluate(script("beat", "members"), self._keys(), args)
        self._link.stop()

    def _up(self, run_id: bytes) -> None:
        self._connection += 1
        self._run_id = run_id
        self._opened = False
        self._soon(0.0)

    def _down(self) -> None:
        self._connection += 1
        self._break()

    def _break(self) -> None:
        self._opened = False
        self._answered_at = -math.inf  # even a short break hides what others do meanwhile
        self.unbroken += 1

    def _woken(self, payload: bytes) -> None:
        if payload == b"p":
            self.places.tell()
            return
        match members.wake_up(payload):
            case WakeMessage(epoch, seq) if epoch == self._epoch:
                self._wanted = max(self._wanted, seq)
                if seq > self._acked:
                    self._soon(0.0)
            case members.ReadAck() as ack:
                self._view = self._view.with_ack(ack)
                self._waiting.check(self._view)
            case None:
                self._complain.nonsense("no message of the channel")

    def _soon(self, delay_s: float) -> None:
        if not self._running:
            return
        if self._busy:
            self._again = min(self._again, delay_s)
            return
        due = self._clock.seconds() + delay_s
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(delay_s, self._turn)

    def _turn(self) -> None:
        self._busy = True
        self._again = math.inf
        self._beaten = self._clock.seconds()
        self._background.run(self._exchange(), self._over)

    def _over(self, outcome: object) -> None:
        failed = isinstance(outcome, Failure)
        self._busy = False
        delay = min(self._again, self._beaten + self._timing.heartbeat_s - self._clock.seconds())
        if self._waiting.for_others:
            delay = min(delay, POLL_S)
        self._soon(max(delay, POLL_S if failed else 0.0))

    async def _exchange(self) -> None:
        if not self._link.is_up:
            self._again = math.inf  # _up schedules the next exchange
            return
        if not self._opened:
            await self._open()
        try:
            await self._beat()
        except NewsNotApplied:
            self._unheard += 1
            if self._unheard >= PATIENCE:  # join anew; serve nothing until ``EverythingStale`` is applied
                self._lease, self._pos, self._join_from = self._lease.ended(), None, self._told
                self.unbroken += 1
            raise

    async def _open(self) -> None:
        """Read the current epoch from Redis, or start one."""
        assert self._run_id is not None
        known = [name for name in self._view.members if name != self.member][:MOST_KNOWN]
        new, connection = self._random(8).hex(), self._connection
        args: list[bytes | int | str] = [self._run_id, new, self.naming.proposed, self._epoch, *known]
        reply = await self._link.evaluate(bare("open"), self._keys(), args)
        opened = self._judged(members.opened, reply)
        if connection != self._connection:
            raise Away("the connection was lost meanwhile")
        anew = self.naming.learn(opened.names)
        self._redis_time = (opened.now, self._clock.seconds())
        if opened.epoch != self._epoch:
            # Members send again what was lost with the log. A worker from before the loss must read all of it.
            self._join_from = "all" if self._view.epoch else "now"
            self._outbox.say_again()
            self._epoch, self._pos, self._acked, self._wanted = opened.epoch, None, 0, 0
            self._joined = False
            self.unbroken += 1
        if opened.begun:
            self._meter.count("sharing_epochs_total")
        self._opened = True
        if anew is not None:
            await self._evaluate(script("rename"), self._keys()[:1], [opened.names, anew])

    def _keys(self) -> list[bytes]:
        return [self.key(kind) for kind in ("head", "members", "leases", "log", "dead")]

    def _saying(self, messages: Sequence[OutboxMessage], how: str) -> list[bytes | int | str]:
        pos = self._join_from if self._pos is None else self._pos
        return beat_args(self, messages, pos, how, self._timing)

    async def _beat(self) -> None:
        messages, ticket, pos = self._outbox.all(), self._outbox.ticket, self._pos
        sent = self._clock.seconds()
        self._lease = self._lease.sent(sent)
        reply = await self._evaluate(script("beat", "members"), self._keys(), self._saying(messages, "beat"))
        self._lease = self._lease.answered(self._clock.seconds())
        beat: HeartbeatReply = self._judged(members.beat, reply)
        if self.held_back or not self.sees_others:
            self.sees_since = self._clock.seconds()
        self._answered_at = self._clock.seconds()
        self._redis_time = (beat.now, self._answered_at)
        self._view = self._view.followed_by(self._epoch, beat, self._answered_at)
        self._outbox.said(messages, beat.said)
        self._outbox.read(self._view.read_by_all(self.member))
        self._meter.count("sharing_log_entries_total", len(messages), direction="said")
        self._waiting.confirmed(ticket, self._epoch, beat.said)
        self._waiting.check(self._view)
        self._anew = await self._read(beat, pos) or self._anew
        if not self._joined and self.position >= beat.seq:  # not before the whole log is applied
            self._joined = True
            self.joined.tell(self._anew)
            self._anew = False
        self._judge_lease(beat, sent)
        await self._bury()

    async def _read(self, beat: HeartbeatReply, pos: int | None) -> bool:
        """Apply the news of other workers.

        :param pos: position that the heartbeat has reported; None: it joined with this heartbeat.
        :return: whether news may be missing between that position and the entries.
        :raise NotHeard: the news could not be applied; the next heartbeat gets them again.
        """
        epoch, connection = self._epoch, self._connection
        anew = pos is None or not beat.unbroken
        if not beat.unbroken:
            self.unbroken += 1
            self.missed.tell()
        self._told = beat.last if beat.entries else beat.seq
        heard, must_be_told = self._ears.decode(beat.entries, self.member)
        await self._ears.hear([EverythingStale(), *heard] if anew else heard)
        if (epoch, connection) != (self._epoch, self._connection):
            raise Away("the connection was lost meanwhile")
        self._unheard = 0
        self._acked = beat.pos
        self._pos = self._told
        self.read.tell(self._epoch, self._pos)
        behind = self._pos < beat.seq
        if behind or (self._pos > beat.pos and (must_be_told or self._wanted > beat.pos)):
            self._again = 0.0
        return anew

    def _judge_lease(self, beat: HeartbeatReply, sent: float) -> None:
        assert self._pos is not None
        vanished = self._view.vanished(self.member)
        self._held_back = bool(vanished) or beat.now < beat.began + self._timing.settle_ms
        if not self._held_back and self._pos >= beat.seq:
            self._lease = self._lease.granted(sent)

    async def _bury(self) -> None:
        """Report dead siblings of this machine, so that no worker waits for them."""
        dead = dead_among(self._view.vanished(self.member), self.member, self._is_gone)
        if not dead:
            return
        await self._evaluate(script("bury", "members"), self._keys(), burial_args(self, dead))
        self._again = 0.0

"""Login to the audit page: HTTP Basic (RFC 7617) against the users file."""

from __future__ import annotations

import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ...arrival.front.trust import source_of
from ...guard.credentials import Credentials
from ...keys import audit_users as users
from ...process.single_flight import SingleFlight
from ...process.worker import TaskRunner
from .login_delay import LoginDelay

MOST_REMEMBERED = 1000
LOOK_AGAIN_S = 2.0
"""Seconds after which a login checks the users file again: a removed user is locked out by then."""

Stamp = tuple[int, int, int] | None


@frozen(slots=True)
class LoggedIn:
    """The name and the password are right."""

    name: str


@frozen(slots=True)
class WrongLogin:
    """The name or the password is wrong.

    :param known: whether a user has this name.
    """

    known: bool


@frozen(slots=True)
class TooManyLogins:
    """Too many logins wait already; this password was not checked.

    :param known: whether a user has this name.
    """

    known: bool


Verdict = LoggedIn | WrongLogin | TooManyLogins


class LogIn:
    """Judges the credentials of each request to the audit page, and delays guesses.

    :param path: the users file.
    :param worker: the thread that computes password hashes.
    :param pseudonym: returns what stands for a claimed name, which may be a mistyped password.
    :param remember_s: seconds for which a right password is remembered, so that its hash is not computed again.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        worker: TaskRunner,
        clock: Any,
        pseudonym: Callable[[str], str],
        remember_s: float,
    ) -> None:
        self._path = path
        self._worker = worker
        self._clock = clock
        self._pseudonym = pseudonym
        self._remember_s = remember_s
        self._key = secrets.token_bytes(32)  # for this process only: remembered passwords end with it
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._users: users.Users = {}
        self._stamp: Stamp = None
        self._looked: float | None = None
        self._slowing = LoginDelay(clock.seconds)
        self._refreshing: SingleFlight[None] = SingleFlight()

    async def judge(self, credentials: Credentials, address: str) -> Verdict:
        """Check credentials. Remembered ones pass at once; others may be delayed (``LoginDelay``).

        :param address: of the client.
        """
        await self._refresh()
        known = credentials.name in self._users
        mark = self._mark(credentials)
        if known and self._remembered.get(mark, 0.0) > self._clock.seconds():
            return LoggedIn(credentials.name)
        name = self._pseudonym(credentials.name)
        address = source_of(address)
        wait = self._slowing.begin(address, name)
        if wait is None:
            return TooManyLogins(known)
        users_then = self._users
        right = await self._try(credentials, address, name, wait)
        if not right:
            return WrongLogin(known)
        if self._users is users_then:  # otherwise the password may have been changed since
            self._remember(mark)
        return LoggedIn(credentials.name)

    async def _try(self, credentials: Credentials, address: str, name: str, wait: float) -> bool:
        waited = False
        try:
            if wait:
                await task.deferLater(self._clock, wait, lambda: None)
            waited = True
        finally:
            if not waited:  # the client is gone, and the password was not checked
                self._slowing.end(address, name, right=None)
        kept = self._users.get(credentials.name, users.NOBODY)
        working = self._worker.run(lambda: kept.fits(credentials.password))

        # Count the result even if the client has left: disconnecting early must not help a guesser.
        def done(right: Any) -> Any:
            self._slowing.end(address, name, right=right is True)
            return right

        waiter: Deferred[bool] = Deferred()
        working.addBoth(done)
        working.addCallbacks(waiter.callback, waiter.errback)
        return await waiter

    async def _refresh(self) -> None:
        if self._looked is None or self._clock.seconds() - self._looked >= LOOK_AGAIN_S:
            await self._refreshing.join("users", self._look)

    async def _look(self) -> None:
        known = self._stamp
        try:
            found = await self._worker.run(lambda: _read(self._path, known))
        except users.UsersError as error:
            # Accept no user rather than the previous ones: the file may have been removed on purpose.
            self._log.error("no user can log in to the audit page until this is fixed: {why}", why=str(error))
            self._users, self._stamp = {}, None
            self._remembered.clear()
            found = None
        self._looked = self._clock.seconds()
        if found is not None:
            self._stamp, self._users = found
            self._remembered.clear()

    def _mark(self, credentials: Credentials) -> bytes:
        return hmac.digest(self._key, credentials.canonical, sha256)

    def _remember(self, mark: bytes) -> None:
        self._remembered.pop(mark, None)
        self._remembered[mark] = self._clock.seconds() + self._remember_s
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)


def _read(path: Path, known: Stamp) -> tuple[Stamp, users.Users] | None:
    """Read the users file; None if it has not changed."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise users.UsersError(f"{path} cannot be read: {error.strerror}") from None
    stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
    return None if stamp == known else (stamp, users.load(path))

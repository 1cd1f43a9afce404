"""Audit records of what operators do to the proxy itself (kind ``admin``): start, stop, reload, upgrade, log level."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, Literal

from attrs import field, frozen
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..http.errors import RecordFailed
from ..keys.secrets import KeyFileError
from .describe import VERSION, Record, timestamp

KIND: Final = "admin"
MOST_WAIT_S: Final = 5.0
"""Seconds that a change waits for its record. An operator must be able to change options while a disk is dead."""
_TEXT: Final = 500
_MOST_KEYS: Final = 50
_HERE: Final = version("hospproxy")

Action = Literal["start", "stop", "reload", "undo", "upgrade", "rollback", "log level"]
ActionOutcome = Literal["success", "refused", "failed", "intended"]


@frozen(slots=True)
class Operator:
    """Who asked for an administrative action, as far as the proxy can know.

    :param way: how: "signal", "control socket", "admin listener", or "process" for what the process does by itself.
    :param user: name of the account at the other end of the control socket; of the admin listener, who has logged in.
    :param uid: of that account.
    :param address: of the client of the admin listener.
    :param request_id: of its request.
    """

    way: str
    user: str | None = None
    uid: int | None = None
    address: str | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        if self.user is None:
            return self.way
        return f"{self.user}, {self.way}" if self.uid is None else f"{self.user} (uid {self.uid}), {self.way}"


SIGNAL: Final = Operator("signal")
"""The kernel does not tell Python which process has sent a signal."""


def account(uid: int, way: str) -> Operator:
    """Return the operator who has an account of this machine."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Operator(way, name, uid)


def own_process() -> Operator:
    """Return the operator of what the process does by itself: the account that it runs as."""
    return account(os.geteuid(), "process")


def admin_record(
    action: Action,
    outcome: ActionOutcome,
    operator: Operator,
    text: str,
    now: float,
    keys: Sequence[str] = (),
) -> Record:
    """Make the record of an administrative event; docs/audit.md lists its fields.

    :param text: a sentence for people, without values of options.
    :param now: seconds since the epoch.
    :param keys: the options that it concerns.
    """
    return {
        "v": VERSION,
        "kind": KIND,
        "time": timestamp(now),
        "request_id": operator.request_id,
        "who": None,
        "operator": {"way": operator.way, "user": operator.user, "uid": operator.uid},
        "client": {"address": operator.address},
        "action": action,
        "outcome": outcome,
        "text": text[:_TEXT],
        "keys": list(keys[:_MOST_KEYS]),
        "version": _HERE,
        "pid": os.getpid(),
        "patient_id": None,
    }


@frozen(slots=True)
class AdminTrail:
    """Writes administrative events to the audit trail, before they take effect.

    :param append: stores a record; fires when it is on disk.
    :param clock: for how long to wait.
    :param wall: seconds since the epoch.
    """

    _append: Callable[[Mapping[str, Any]], Deferred[None]]
    _clock: IReactorTime
    _wall: Callable[[], float]
    _log: Logger = field(factory=Logger)

    async def note(
        self,
        action: Action,
        outcome: ActionOutcome,
        operator: Operator,
        text: str,
        keys: Sequence[str] = (),
    ) -> None:
        """Store an event, and wait for that for at most ``MOST_WAIT_S``.

        It never fails: a change is not refused for want of a record, and the log says that it has none.
        """
        record = admin_record(action, outcome, operator, f"{text} ({operator})", self._wall(), keys)
        try:
            await self._append(record).addTimeout(MOST_WAIT_S, self._clock)
        except (RecordFailed, KeyFileError, OSError, TimeoutError) as error:
            self._log.error(
                "no audit record could be kept of this: {text} ({operator}): {why}",
                text=text, operator=str(operator), why=str(error) or type(error).__name__,
            )  # fmt: skip


def not_kept(_record: Mapping[str, Any]) -> Deferred[None]:
    """Store nothing: the audit trail is switched off."""
    return succeed(None)

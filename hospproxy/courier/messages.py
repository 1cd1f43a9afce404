"""The messages between the service and the courier process. A `Channel` carries them."""

from __future__ import annotations

from typing import Final

import msgspec

from ..process.channel import WorkerLogLine

CHANNEL_FD: Final = 3
ENDS_FD: Final = 4
"""The memory in which workers note how far their journals are on disk."""


class Start(msgspec.Struct, frozen=True, tag="start"):
    """To the courier: begin to follow the journals.

    :param settings: the settings, pickled. Paths in them are absolute, and secrets are included that the environment
        no longer has. This goes from parent to child only. None: the process was forked and has them.
    """

    settings: bytes | None

    def __repr__(self) -> str:  # the settings contain secrets
        return "Start()"


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """To the courier: let the alert rules see each record that is on disk, then say ``Noticed``.

    :param within_s: seconds that this may take.
    """

    within_s: float


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """To the courier: deliver what is on disk, then exit.

    :param within_s: seconds that this may take.
    """

    within_s: float


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """To the courier: what became of a record that it wanted to be kept.

    :param trouble: why it could not be written; "" if it is on disk.
    """

    id: int
    trouble: str


class Search(msgspec.Struct, frozen=True, tag="search"):
    """To the courier: a query of the index.

    :param method: of ``ITrailReader``; ``rows`` begins, and ``more`` continues, a search of all rows.
    :param arguments: encoded; ``searches.py`` knows their types.
    """

    id: int
    method: str
    arguments: bytes


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """To the courier: nobody waits for the result of a query any more."""

    id: int


class Elsewhere(msgspec.Struct, frozen=True, tag="elsewhere"):
    """To the courier: what the couriers of other machines have counted.

    :param values: as each has sent them in ``Subjects``; empty also while Redis is away.
    """

    values: list[bytes]


class Claimed(msgspec.Struct, frozen=True, tag="claimed"):
    """To the courier: whether an alert is this machine's to raise."""

    id: int
    won: bool


class Subjects(msgspec.Struct, frozen=True, tag="subjects"):
    """From the courier: what its rules have counted, for the other machines."""

    value: bytes


class Claim(msgspec.Struct, frozen=True, tag="claim"):
    """From the courier: it is about to raise an alert, unless another machine has.

    :param name: of rule and subject.
    :param lasts_s: seconds for which no machine raises it again.
    """

    id: int
    name: str
    lasts_s: float


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From the courier: it follows the journals now."""


class Counted(msgspec.Struct, frozen=True, tag="counted", array_like=True):
    """What a counter has grown by, or the new value of a gauge."""

    name: str
    labels: dict[str, str]
    value: float


class Told(msgspec.Struct, frozen=True, tag="told"):
    """From the courier, each second, and before each log line and record.

    :param counts: what to add to counters.
    :param gauges: values that have changed.
    """

    counts: list[Counted]
    gauges: list[Counted]


class Keep(msgspec.Struct, frozen=True, tag="keep"):
    """From the courier: write the record of an alert to the journal, then say ``Kept``.

    :param record: as JSON.
    """

    id: int
    record: bytes


class Noticed(msgspec.Struct, frozen=True, tag="noticed"):
    """From the courier: the reply to ``Notice``."""


class Part(msgspec.Struct, frozen=True, tag="part"):
    """From the courier: a part of a query's result.

    :param last: nothing follows.
    """

    id: int
    data: bytes
    last: bool


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """From the courier: a query failed.

    :param empty: the index holds nothing yet.
    """

    id: int
    why: str
    empty: bool


ToCourier = Start | Notice | Finish | Kept | Search | Forget | Elsewhere | Claimed
FromCourier = Ready | WorkerLogLine | Told | Keep | Noticed | Part | Failed | Subjects | Claim

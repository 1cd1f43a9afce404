"""What the trail answers with, and what is said when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


class IndexAway(Exception):
    """The index of the trail does not answer; the message holds neither values nor passwords."""


class NoIndexYet(IndexAway):
    """Nothing has been carried into it."""


@frozen(slots=True, order=True)
class RowName:
    """Names one record for ever.

    :param trail: which trail (a machine's).
    :param journal: "w0", …
    """

    trail: str
    journal: str
    seq: int


@frozen(slots=True, order=True)
class Key:
    """Where a row stands in the order of time.

    :param time_ms: milliseconds since the epoch.
    """

    time_ms: int
    name: RowName


@frozen(slots=True)
class Row:
    """One record.

    :param record: as the journal has it (docs/audit.md).
    :param line: as it stands in the journal, without its end.
    :param by_list: the patient that was asked for is not the record's own, but among those whom it disclosed.
    """

    key: Key
    record: Mapping[str, Any] = field(repr=False)
    line: bytes = field(repr=False)
    by_list: bool = False


@frozen(slots=True)
class Page:
    """Rows, newest first.

    :param more_after: to go on from; None at the end.
    :param searched_until: not everything was looked at: only back to this time (seconds since the epoch).
    """

    rows: tuple[Row, ...]
    more_after: Key | None = None
    searched_until: float | None = None


@frozen(slots=True)
class Summary:
    """A time at a glance.

    :param requests: clients' requests.
    :param login_failures: (address, how many), most first, at most ten.
    :param refusals: (route, how many), most first, at most ten.
    :param alerts: newest first, at most ten.
    :param newest: time of the newest record in the index, seconds since the epoch; None if there is none.
    """

    requests: int = 0
    login_failures: tuple[tuple[str, int], ...] = ()
    refusals: tuple[tuple[str, int], ...] = ()
    alerts: tuple[Row, ...] = ()
    newest: float | None = None

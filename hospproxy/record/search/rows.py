"""Results of a search, and the errors of an index that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


class IndexAway(Exception):
    """The index of the trail does not respond. The message holds neither values nor passwords."""


class NoIndexYet(IndexAway):
    """The index is still empty or missing: no records have been delivered to it."""


@frozen(slots=True, order=True)
class RowName:
    """Identifies one record for good.

    :param trail: id of the trail (of a machine).
    :param journal: "w0", …
    """

    trail: str
    journal: str
    seq: int


@frozen(slots=True, order=True)
class RowKey:
    """A row's position in time order.

    :param time_ms: milliseconds since the epoch.
    """

    time_ms: int
    name: RowName


@frozen(slots=True)
class IndexRow:
    """One record in the result of a search.

    :param record: as in the journal (docs/audit.md).
    :param line: the journal's line, without its end.
    :param by_list: the record names another patient or none; it matched because its disclosure set holds the
        patient.
    """

    key: RowKey
    record: Mapping[str, Any] = field(repr=False)
    line: bytes = field(repr=False)
    by_list: bool = False


@frozen(slots=True)
class RowPage:
    """One page of rows, newest first.

    :param more_after: key to continue from; None at the end.
    :param searched_until: the search stopped early at this time (seconds since the epoch); None if it did not.
    """

    rows: tuple[IndexRow, ...]
    more_after: RowKey | None = None
    searched_until: float | None = None


@frozen(slots=True)
class Summary:
    """Figures for a period, for the first page.

    :param requests: number of client requests.
    :param login_failures: (address, count), most first, at most ten.
    :param refusals: (route, count), most first, at most ten.
    :param alerts: newest first, at most ten.
    :param newest: time of the newest record in the index, seconds since the epoch; None if it is empty.
    """

    requests: int = 0
    login_failures: tuple[tuple[str, int], ...] = ()
    refusals: tuple[tuple[str, int], ...] = ()
    alerts: tuple[IndexRow, ...] = ()
    newest: float | None = None

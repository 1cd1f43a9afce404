"""HOSP's records in memory, with the type conversions that a Rails application applies to input."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from attrs import frozen

Record = Mapping[str, object]
Seed = Mapping[str, Sequence[Mapping[str, object]]]

MAX_INTEGER = 2**63 - 1
_LEADING_INTEGER = re.compile(r"\s*([+-]?\d+)")
_DATE = re.compile(r"\s*(\d{4})([-/]?)(\d{2})\2(\d{2})(?:[T\s].*)?", re.DOTALL)


class OutOfRange(Exception):
    """An integer that the database's column cannot hold; Rails responds with a 500."""


def to_integer(value: object) -> int | None:
    """Convert a value to the integer that Rails stores: ``"7"`` and ``"7abc"`` are 7, ``"abc"`` is 0, ``""`` is null.

    Raises:
        OutOfRange: it does not fit into 64 bits.
    """
    number: int
    match value:
        case None:
            return None
        case str():
            if not value.strip():
                return None
            found = _LEADING_INTEGER.match(value[:64])
            number = int(found[1]) if found else 0
        case bool() | int():
            number = int(value)
        case float() if value == value and abs(value) <= MAX_INTEGER:
            number = int(value)
        case _:
            raise OutOfRange(str(value)[:40])
    if abs(number) > MAX_INTEGER:
        raise OutOfRange(str(number)[:40])
    return number


def to_text(value: object) -> str | None:
    """Convert a value to the string that Rails stores: numbers as written, true and false as ``t`` and ``f``."""
    match value:
        case None | str():
            return value
        case bool():
            return "t" if value else "f"
        case _:
            return str(value)


def to_date(value: object) -> str | None:
    """Convert a value to the date (``YYYY-MM-DD``) that Rails stores; anything that is not a date becomes null."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return datetime.date(int(found[1]), int(found[3]), int(found[4])).isoformat()
    except ValueError:
        return None


@frozen
class Resource:
    """One kind of record: its name in paths, its name in a wrapped body, and its columns in order."""

    name: str
    singular: str
    columns: Mapping[str, Callable[[object], object]]
    filter: str | None = None

    def coerce(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Convert fields to what Rails would store. Unknown fields and non-scalar values are dropped.

        Raises:
            OutOfRange: an integer that no column can hold.
        """
        return {
            name: self.columns[name](value)
            for name, value in fields.items()
            if name in self.columns and not isinstance(value, list | dict)
        }


RESOURCES: Mapping[str, Resource] = {
    resource.name: resource
    for resource in (
        Resource("hospitals", "hospital", {"name": to_text}),
        Resource("staffs", "staff", {"name": to_text, "hospital_id": to_integer, "password": to_text}),
        Resource(
            "patients",
            "patient",
            {"name": to_text, "hospital_id": to_integer, "birthdate": to_date},
            filter="hospital_id",
        ),
        Resource(
            "notes",
            "note",
            {"title": to_text, "body": to_text, "patient_id": to_integer, "staff_id": to_integer},
            filter="patient_id",
        ),
    )
}


def timestamp(wall: float) -> str:
    """Format wall time (seconds since 1970) as HOSP writes it: ``2021-03-27T17:33:14.049Z``."""
    moment = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class Store:
    """All records. Each is an immutable snapshot: a change replaces it, so records returned earlier stay unchanged.

    Passwords are kept apart from the records, so that no response and no journal can show one.
    """

    def __init__(self, seed: Seed, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._seed = seed
        self.restore()

    def restore(self) -> None:
        """Return to the seed; ids continue from its highest."""
        self._records: dict[str, dict[int, Record]] = {name: {} for name in RESOURCES}
        self._passwords: dict[int, str] = {}
        self._last_id: dict[str, int] = dict.fromkeys(RESOURCES, 0)
        for name in RESOURCES:
            for given in sorted(self._seed.get(name, ()), key=_id_of):
                record = dict(given)
                if name == "staffs":
                    self._passwords[_id_of(given)] = str(record.pop("password"))
                self._last_id[name] = _id_of(given)
                self._records[name][_id_of(given)] = record

    def get(self, resource: str, id_: int) -> Record | None:
        """One record without its password, or None."""
        return self._records[resource].get(id_)

    def newest_first(
        self, resource: str, column: str | None = None, among: Collection[object] = ()
    ) -> Iterator[Record]:
        """All records of a resource, or those whose ``column`` has a value ``among`` the given ones."""
        # Ids only ever rise, so the order of insertion is the order of ids.
        for record in reversed(self._records[resource].values()):
            if column is None or record[column] in among:
                yield record

    def create(self, resource: str, fields: Mapping[str, object]) -> Record:
        """Store a new record: the next id, now for both times, null for missing fields.

        Raises:
            OutOfRange: an integer that no column can hold.
        """
        values = RESOURCES[resource].coerce(fields)
        id_ = self._last_id[resource] = self._last_id[resource] + 1
        self._take_password(resource, id_, values)
        columns = {name: values.get(name) for name in RESOURCES[resource].columns if name != "password"}
        now = timestamp(self._wall())
        record = {"id": id_, **columns, "created_at": now, "updated_at": now}
        self._records[resource][id_] = record
        return record

    def update(self, resource: str, id_: int, fields: Mapping[str, object]) -> Record | None:
        """Change fields of a record; ``updated_at`` moves only if a value really changed, as in Rails.

        Raises:
            OutOfRange: an integer that no column can hold.
        """
        before = self._records[resource].get(id_)
        if before is None:
            return None
        values = RESOURCES[resource].coerce(fields)
        changed = self._take_password(resource, id_, values)
        after = {**before, **values}
        if changed or after != before:
            after["updated_at"] = timestamp(self._wall())
        self._records[resource][id_] = after
        return after

    def delete(self, resource: str, id_: int) -> Record | None:
        """Delete a record and return it as it was; records that refer to it stay."""
        if resource == "staffs":
            self._passwords.pop(id_, None)
        return self._records[resource].pop(id_, None)

    def authenticate(self, name: str, password: str) -> Record | None:
        """The member of staff with this name and password; if several share a name, the oldest counts."""
        for staff in self._records["staffs"].values():
            if staff["name"] == name:
                return staff if self._passwords.get(_id_of(staff)) == password else None
        return None

    def _take_password(self, resource: str, id_: int, values: dict[str, object]) -> bool:
        password = values.pop("password", None)
        # An empty password changes nothing, as with Rails' has_secure_password.
        if resource != "staffs" or not password or self._passwords.get(id_) == password:
            return False
        self._passwords[id_] = str(password)
        return True


def _id_of(record: Mapping[str, object]) -> int:
    id_ = record["id"]
    assert isinstance(id_, int)
    return id_

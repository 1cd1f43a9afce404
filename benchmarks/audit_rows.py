"""Write ten million audit records straight into a database, as a year might leave them. Faster than through the sink.

200 members of staff, 5,000 patients, 12 routes, 4,000 disclosure sets. The distribution is unlucky on purpose: staff
member 1 makes a fifth of all requests and never has the rarest outcome; patient 1 is in nearly every list, patient
4999 only in old ones, patient 5000 in none; staff member 200 left after a month.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, insert

from hospproxy.record.database.schema import (
    CHAINS,
    HEADS,
    HOURS,
    INDEXES,
    LINES,
    MEMBERS,
    RECORDS,
    SETS,
    WORDS,
    id_of,
)  # fmt: skip
from hospproxy.record.database.sink import make_tables
from hospproxy.record.database.words import in_parts
from hospproxy.record.search.record_values import LOGIN_FAILURE, OTHER_TROUBLE, OWN, SHOWN

TRAIL, JOURNAL = "00000000-0000-4000-8000-000000000001", "w0"
STAFF, PATIENTS, SET_COUNT = 200, 5000, 4000
NOW_MS = 1_790_000_000_000
YEAR_MS = 365 * 86_400_000
START_MS = NOW_MS - YEAR_MS
ROUTES = (
    ("/patients/{id}", "read", "patients"), ("/patients", "search", "patients"), ("/patients", "create", "patients"),
    ("/patients/{id}", "update", "patients"), ("/notes/{id}", "read", "notes"), ("/notes", "search", "notes"),
    ("/notes", "create", "notes"), ("/staffs/me", "read", "staffs"), ("/staffs", "search", "staffs"),
    ("/hospitals", "search", "hospitals"), ("/hospitals/{id}", "read", "hospitals"),
    ("/screening", "execute", "screenings"),
)  # fmt: skip
WEIGHTS = (30, 12, 1, 3, 12, 15, 8, 10, 1, 2, 1, 5)
RARE = "bad answer"
COLUMNS = tuple(column.name for column in RECORDS.columns)
_CHUNK = 20_000


class Numbers:
    """Numbers for texts, in order of first use."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, text: str) -> int:
        """Number of a text."""
        return self.known.setdefault(text, len(self.known) + 1)


def filled(engine: Engine, rows: int) -> None:
    """Create the tables, fill them, create the indexes."""
    numbers = Numbers()
    with engine.begin() as connection:
        make_tables(connection)
        for index in INDEXES:
            index.drop(connection)
        for value in (1, 5000, *range(1, PATIENTS + 1)):
            numbers.of(str(value))
        connection.execute(insert(CHAINS), {"chain_no": 1, "trail": TRAIL, "journal": JOURNAL})
        _fill_sets(connection, numbers)
        for lines, records in _chunks(rows, numbers):
            _load(connection, LINES.name, ("id", "hash", "line"), lines)
            _load(connection, RECORDS.name, COLUMNS, records)
        for part in in_parts(list(numbers.known.items()), 5000):
            connection.execute(insert(WORDS), [{"word_no": number, "text": text} for text, number in part])
        hours = YEAR_MS // 3_600_000
        each = [{"hour": START_MS // 3_600_000 + hour, "requests": rows // hours} for hour in range(hours)]
        connection.execute(insert(HOURS), each)
        connection.execute(insert(HEADS), {"chain_no": 1, "seq": rows, "head": "0" * 64, "time_ms": NOW_MS})
    for index in INDEXES:
        with engine.begin() as connection:
            index.create(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")  # as its autovacuum does eventually


def _load(connection: Connection, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    names = ", ".join(columns)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def set_name(number: int) -> str:
    """What stands for a set's hash."""
    return f"{number:064x}"


def sets() -> Iterator[tuple[int, int, list[int]]]:
    """The disclosure sets: number, first use in milliseconds since the epoch, patients."""
    chance = random.Random(1)
    step = YEAR_MS // SET_COUNT
    for number in range(1, SET_COUNT + 1):
        members = {chance.randrange(2, 4990) for _ in range(30)}
        if number % 50:
            members.add(1)
        if number < SET_COUNT // 4:
            members.add(4999)
        yield number, START_MS + (number - 1) * step, sorted(members)


def made(rows: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """So many records, each as its row and as its line."""
    chance, numbers = random.Random(2), Numbers()
    for seq in range(1, rows + 1):
        yield _record(seq, START_MS + (seq - 1) * YEAR_MS // rows, "0" * 64, chance, numbers)


def _fill_sets(connection: Connection, numbers: Numbers) -> None:
    """Fill the disclosure sets; each is in use for its part of the year."""
    step = YEAR_MS // SET_COUNT
    for number, first, members in sets():
        connection.execute(
            insert(SETS),
            {"set_no": number, "hash": set_name(number), "first_ms": first, "last_ms": first + step},
        )
        rows = [{"patient_no": numbers.of(str(patient)), "set_no": number} for patient in members]
        connection.execute(insert(MEMBERS), rows)


def _chunks(rows: int, numbers: Numbers) -> Iterator[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    """Yield chunks of rows for both tables."""
    chance = random.Random(2)
    prev = "0" * 64
    for start in range(1, rows + 1, _CHUNK):
        lines, records = [], []
        for seq in range(start, min(start + _CHUNK, rows + 1)):
            time_ms = START_MS + (seq - 1) * YEAR_MS // rows
            values, line = _record(seq, time_ms, prev, chance, numbers)
            digest = sha256(line)
            prev = digest.hexdigest()
            lines.append((id_of(1, seq), digest.digest(), line))
            records.append(tuple(values[name] for name in COLUMNS))
        yield lines, records


def _outcome(chance: random.Random, staff: int) -> tuple[str, int]:
    luck = chance.random()
    if luck < 0.93:
        return "success", 200
    if luck < 0.98:
        return "client error", 404
    if luck < 0.99:
        return "client error", 401
    if luck < 0.993:
        return "refused", 403
    if luck < 0.99999 or staff == 1:
        return "failed", 502
    return RARE, 502


def _staff(chance: random.Random, time_ms: int) -> int:
    if chance.random() < 0.2:
        return 1
    staff = chance.randrange(2, STAFF + 1)
    return staff if staff < STAFF or time_ms < START_MS + YEAR_MS // 12 else 2


def _record(
    seq: int, time_ms: int, prev: str, chance: random.Random, numbers: Numbers
) -> tuple[dict[str, Any], bytes]:
    """One record, as its row and as its line."""
    staff = _staff(chance, time_ms)
    route, action, resource = chance.choices(ROUTES, WEIGHTS)[0]
    outcome, status = _outcome(chance, staff)
    patient = str(chance.randrange(1, PATIENTS)) if resource in ("patients", "notes") else None
    one = route.endswith("}")
    address = f"10.0.{chance.randrange(2)}.{chance.randrange(1, 200)}"
    listed = action == "search" and patient is not None and status == 200
    kind, shown = ("own", OWN) if route == "/staffs/me" else ("request", SHOWN)
    trouble = LOGIN_FAILURE if status == 401 else OTHER_TROUBLE if status == 403 else None
    set_no = min(SET_COUNT, 1 + (time_ms - START_MS) // (YEAR_MS // SET_COUNT)) if listed else None
    request_id = f"{chance.getrandbits(128):032x}"
    values = {
        "time_ms": time_ms, "id": id_of(1, seq), "shown": shown, "kind_no": numbers.of(kind),
        "staff_no": numbers.of(str(staff)), "name_no": numbers.of(f"Member {staff}"),
        "patient_no": numbers.of(patient) if patient and not listed else None, "action_no": numbers.of(action),
        "outcome_no": numbers.of(outcome), "route_no": numbers.of(route), "resource_no": numbers.of(resource),
        "record_no": numbers.of(patient) if one and patient else None, "address_no": numbers.of(address),
        "set_no": set_no, "status": status, "trouble": trouble, "request_id": request_id,
        "for_request": request_id if kind == "own" else None,
    }  # fmt: skip
    disclosed = f'{{"set":"{set_no:064x}","count":30}}' if set_no else "null"
    line = (
        f'{{"v":1,"kind":"{kind}","time":"2026-01-01T00:00:00.000Z","duration_ms":12.3,"request_id":"{request_id}",'
        f'"who":{{"id":{staff},"name":"Member {staff}","certainty":"verified"}},"own":null,"on_behalf_of":null,'
        f'"client":{{"address":"{address}","peer":"10.0.0.1","chain":["10.0.0.1"],"scheme":"https"}},"method":"GET",'
        f'"route":"{route}","action":"{action}","resource":"{resource}","record_id":null,"patient_id":"{patient}",'
        f'"outcome":"{outcome}","status":{status},"answered_by":"memory","cache":"hospproxy; hit","attempts":0,'
        f'"looks":0,"rule_hits":[],"reference":null,"client_gone":false,"disclosed":{disclosed},"seq":{seq},"prev":"{prev}"}}'
    )
    return values, line.encode()

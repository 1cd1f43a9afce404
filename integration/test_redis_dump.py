"""Redis, its files and its traffic contain no readable name, note, password or credentials."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import pytest_twisted
import txredisapi

from .http_client import ask, basic, control
from .machines import machine
from .processes import Processes, Proxy, Running
from .redis_server import Redis
from .test_nothing_in_the_clear import NOTE, PASSWORD, PATIENT, SECRETS, STAFF, STEMS, WRONG, everything, fill
from .word_search import Needles, findings, rummage, spellings

NAME = "Veterinaria-Obersteiermark"
"""Name and login of a member of staff."""


def needles() -> Needles:
    """Every text to search for, including Authorization fields as they are sent."""
    names = (*STAFF, NAME)
    fields = [basic(name, secret).split()[1] for name in names for secret in (PASSWORD, WRONG)]
    return spellings([*SECRETS, *STEMS, NAME, *fields])


async def held_by(connection: Any) -> dict[str, bytes]:
    """Every value in Redis by the name of its key: as it is packed, and part by part."""
    found: dict[str, bytes] = {}
    for key in await connection.keys(b"*"):
        kind = await connection.type(key)
        parts: Any = [await connection.execute_command("DUMP", key)]
        match kind if isinstance(kind, str) else kind.decode():
            case "string":
                parts.append(await connection.get(key))
            case "hash":
                parts += flat(await connection.execute_command("HGETALL", key))
            case "stream":
                parts += flat(await connection.execute_command("XRANGE", key, "-", "+"))
            case "zset":
                parts += flat(await connection.execute_command("ZRANGE", key, 0, -1))
            case "set":
                parts += flat(await connection.execute_command("SMEMBERS", key))
            case "list":
                parts += flat(await connection.execute_command("LRANGE", key, 0, -1))
            case other:
                raise AssertionError(f"{key!r} is a {other}")
        found[key.decode("latin-1")] = b"\n".join([key, *(part for part in parts if isinstance(part, bytes))])
    return found


def flat(value: Any) -> list[bytes]:
    """The leaves of nested lists."""
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in flat(each)]
    return [value if isinstance(value, bytes) else str(value).encode()]


async def used(proxies: list[Proxy], control_url: str) -> None:
    """Send correct and wrong requests to each machine, over many connections so that each worker serves some."""
    await control(
        control_url,
        "POST",
        "/change",
        {"resource": "staffs", "id": 4, "fields": {"name": NAME, "password": PASSWORD}},
    )
    for proxy in proxies:
        answers = await everything(proxy, f"-{proxy.port}")
        assert {answer.status for answer in answers} <= {200, 201}
    for proxy in proxies * 3:
        for name, password in ((NAME, PASSWORD), ("staff1", PASSWORD), (NAME, WRONG), ("staff3", WRONG)):
            await ask(proxy.plain_url, "GET", "/notes?patient_id=3", user=name, password=password)
        note = {"title": NOTE, "body": f"{NOTE} of {PATIENT}", "patient_id": 3}
        made = await ask(proxy.plain_url, "POST", "/notes", note, user=NAME, password=PASSWORD)
        assert made.status == 201, made.body


@pytest_twisted.ensureDeferred
async def test_nothing_in_redis_can_be_read(processes: Processes, tmp_path: Path) -> None:
    """Search its values, its files, and every command that was sent to it."""
    redis = Redis("appendonly yes", "appendfsync always", "rdbcompression no")
    await redis.start()
    connection: Any = None
    try:
        connection = await txredisapi.Connection(
            "127.0.0.1", redis.port, reconnect=False, charset=None, convertNumbers=False
        )
        watching = Running("redis-cli")
        processes.start(watching, ["/usr/bin/env", "redis-cli", "-p", str(redis.port), "MONITOR"])
        await watching.until_said("OK")
        hosp = await processes.hosp()
        await fill(hosp.control_url)
        proxies = [await machine(processes, tmp_path, redis, hosp.url) for _ in range(2)]
        await used(proxies, hosp.control_url)
        await connection.execute_command("SAVE")
        held = await held_by(connection)
        said = (watching.log.encode(), *(proxy.log.encode() for proxy in proxies))
        looked_for = needles()
        assert any(key.endswith("}:head") for key in held) and len(held) > 3, held
        assert "EVALSHA" in watching.log.upper()
        assert [found for key, value in held.items() for found in findings(key, value, looked_for)] == []
        assert [found for log in said for found in findings("log", log, looked_for)] == []
        assert rummage(redis.folder, looked_for) == []
        assert redis.folder.joinpath("dump.rdb").stat().st_size > 0
        await bites(connection, redis, looked_for)
    finally:
        if connection is not None:
            await connection.disconnect()
        redis.end()


async def bites(connection: Any, redis: Redis, looked_for: Needles) -> None:
    """The search finds planted words: in a value, in a field, in an entry of a stream, and in the files."""
    planted = {
        "value": ("SET", "planted:value", base64.b64encode(b"x" + PATIENT.encode())),
        "hash": ("HSET", "planted:hash", "field", NOTE.encode().hex()),
        "stream": ("XADD", "planted:stream", "*", "d", basic(NAME, PASSWORD)),
        "name": ("SET", f"planted:{NAME}", "1"),
    }
    for command in planted.values():
        await connection.execute_command(*command)
    await connection.execute_command("SAVE")
    held = await held_by(connection)
    hits = {key for key, value in held.items() if findings(key, value, looked_for)}
    assert hits == {cast(str, command[1]) for command in planted.values()}
    files = {line.partition(":")[0].partition("/")[0] for line in rummage(redis.folder, looked_for)}
    assert {"dump.rdb", "appendonlydir"} <= files

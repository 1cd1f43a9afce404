"""Accounts end or change while HOSP's response is lost or HOSP is gone: old credentials are never served again."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import define, evolve, field

from .clients import Answer, Clients, Person, staff
from .processes import ProxiedHosp, proxied_hosp
from .table import Table

_HOSP = ("--delay", "uniform:0.02:0.1", "--places", "5")
_KINDS = ("password", "renamed", "deleted", "recreated", "recreated with the same password")
_FAULTS = (None, "error_after", "reset_after", "cut_head", "late_commit")
_GRACE_S = 0.5
"""After the storing, for a change whose response was lost: by then the proxy knows that the outcome is uncertain."""
_EVERY_S = 0.5
_AFTER_S = 4.0
_LATE_S = 22.0


@define(eq=False)
class Case:
    """One account and its change.

    :param old: credentials that end.
    :param new: the new ones, if any.
    :param told: responses to the old ones: path and response.
    :param changed: monotonic seconds at which HOSP stored the change; None: it did not.
    """

    kind: str
    fault: str | None
    old: Person
    new: Person | None
    told: list[tuple[str, Answer]] = field(factory=list)
    change: Answer | None = None
    changed: float | None = None
    new_works: bool = True

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.fault or 'well'})"

    @property
    def ended(self) -> float:
        """Moment from which the old credentials must not be served."""
        assert self.change is not None and self.changed is not None
        answered = self.change.began + self.change.seconds
        return answered if self.fault is None else min(max(answered, self.changed), self.changed + _GRACE_S)

    def served(self) -> list[Answer]:
        """Responses that the old credentials should not have had."""
        if self.changed is None:
            return []
        return [
            answer
            for path, answer in self.told
            if answer.status == 200 and answer.began > self.ended and self._is_old(path, answer)
        ]

    def _is_old(self, path: str, answer: Answer) -> bool:
        if self.kind != "recreated with the same password":
            return True
        # These credentials belong to somebody else now: no response may come from the first owner's data.
        return (
            path == "/staffs/me"
            and isinstance(answer.document, dict)
            and answer.document.get("id") == self.old.id
        )


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """Every kind with every fault (short: each kind with two), then all kinds with HOSP gone.

    A change that is stored while HOSP cannot be reached (late_commit) is the hardest: the proxy cannot know of it.
    """
    table, chance = Table("revocation", timed=not short), random.Random(f"{seed} revocation")
    faults = _FAULTS[:3] if short else _FAULTS
    lost = (None, "reset_after") if short else (None, "reset_after", "late_commit")
    cases = await _with_hosp(table, folder / "here", seed, faults, chance)
    away = await _without_hosp(folder / "away", seed, lost, chance, _AFTER_S if short else _LATE_S)
    _tell(table, "HOSP there", cases)
    _tell(table, "HOSP away", away)
    return table


async def _with_hosp(
    table: Table, folder: Path, seed: int, faults: Sequence[str | None], chance: random.Random
) -> list[Case]:
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        cases = [await _account(proxied, kind, fault, chance) for kind in _KINDS for fault in faults]
        places = asyncio.Semaphore(8)
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            await asyncio.gather(*(_here(proxied, clients, case, places) for case in cases))
        await _changes(proxied, cases)
        await table.judge(proxied.hosp, [])
    return cases


async def _without_hosp(
    folder: Path, seed: int, faults: Sequence[str | None], chance: random.Random, seconds: float
) -> list[Case]:
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        cases = [await _account(proxied, kind, fault, chance) for kind in _KINDS for fault in faults]
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            await _away(proxied, clients, cases, seconds)
            await _changes(proxied, cases)
            await asyncio.gather(*(_try_new(clients, case) for case in cases))
    return cases


async def _account(proxied: ProxiedHosp, kind: str, fault: str | None, chance: random.Random) -> Case:
    name, password = f"{kind[:4]}-{chance.getrandbits(40):010x}", f"p{chance.getrandbits(40):010x}"
    row = await proxied.hosp.tell(
        "/change", resource="staffs", create={"name": name, "hospital_id": 1, "password": password}
    )
    old = Person(row["id"], name, password)
    new = {
        "password": evolve(old, password=password + "-new"),
        "renamed": evolve(old, name=name + "-new"),
        "recreated": evolve(old, password=password + "-new"),
        "recreated with the same password": old,
    }.get(kind)
    return Case(kind, fault, old, new)


async def _here(proxied: ProxiedHosp, clients: Clients, case: Case, places: asyncio.Semaphore) -> None:
    async with places:
        await _knock(clients, case)
        trying = asyncio.create_task(_go_on_knocking(clients, case))
        try:
            await _change(proxied, clients, case)
            await asyncio.sleep(_LATE_S if case.fault == "late_commit" else _AFTER_S)
        finally:
            trying.cancel()
        await _try_new(clients, case)


async def _go_on_knocking(clients: Clients, case: Case) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        await _knock(clients, case)


async def _knock(clients: Clients, case: Case) -> None:
    """Try the old credentials."""
    for path in ("/staffs/me", "/hospitals"):
        case.told.append((path, await clients.ask("GET", path, case.old)))


async def _change(proxied: ProxiedHosp, clients: Clients, case: Case) -> None:
    old, path = case.old, f"/staffs/{case.old.id}"
    if case.fault is not None:
        await proxied.hosp.tell(
            "/script", faults=[{"fault": case.fault, "path": path, "method": m} for m in _method(case)]
        )
    if case.kind == "password" and case.new is not None:
        case.change = await clients.ask("PATCH", path, old, {"password": case.new.password})
    elif case.kind == "renamed" and case.new is not None:
        case.change = await clients.ask("PATCH", path, old, {"name": case.new.name})
    else:
        case.change = await clients.ask("DELETE", path, staff()[0])
        if case.new is not None:
            document = {"name": case.new.name, "hospital_id": 1, "password": case.new.password}
            made = await clients.ask("POST", "/staffs", staff()[0], document)
            # The proxy may just have been killed, and have to start again.
            case.new = case.new if made.succeeded else None


def _method(case: Case) -> list[str]:
    return ["PATCH" if case.kind in ("password", "renamed") else "DELETE"]


async def _try_new(clients: Clients, case: Case) -> None:
    if case.new is None:
        return
    answer = await clients.ask("GET", "/staffs/me", case.new)
    case.new_works = answer.status == 200
    if case.kind.startswith("recreated") and answer.status == 200:
        case.new_works = answer.document["id"] != case.old.id


async def _away(proxied: ProxiedHosp, clients: Clients, cases: Sequence[Case], seconds: float) -> None:
    """Change accounts, take HOSP away at once, try, kill the proxy, try again, bring HOSP back.

    :param seconds: how long it continues after the kill.
    """
    await asyncio.gather(*(_knock(clients, case) for case in cases))
    changing = asyncio.gather(*(_change(proxied, clients, case) for case in cases))
    await asyncio.sleep(1.5)
    await proxied.hosp.tell("/offline", offline=True)
    await asyncio.gather(*(_knock(clients, case) for case in cases))
    await asyncio.sleep(2.0)
    await asyncio.gather(*(_knock(clients, case) for case in cases))
    await proxied.proxy.kill()
    await changing
    await proxied.proxy.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.gather(*(_knock(clients, case) for case in cases))
        await asyncio.sleep(1.0)
    await proxied.hosp.tell("/offline", offline=False)
    await asyncio.sleep(6.0)
    await asyncio.gather(*(_knock(clients, case) for case in cases))


async def _changes(proxied: ProxiedHosp, cases: Sequence[Case]) -> None:
    """Read from the journal when HOSP stored each change."""
    found: dict[int, float] = {}
    for entry in await proxied.hosp.journal("updated,deleted", "staffs"):
        found.setdefault(entry["id"], entry["at"])
    for case in cases:
        case.changed = found.get(case.old.id)


def _tell(table: Table, where: str, cases: Sequence[Case]) -> None:
    changed = [case for case in cases if case.changed is not None]
    knocks = sum(answer.began > case.ended for case in changed for _, answer in case.told)
    table.want(
        f"{where}: accounts, changed", f"{len(cases)}, {len(changed)}", "all", len(changed) == len(cases)
    )
    words = Counter("unknown" if c.change.unknown else c.change.status for c in cases if c.change is not None)
    table.tell(
        f"{where}: changes were answered", ", ".join(f"{word} × {n}" for word, n in words.most_common())
    )
    table.tell(f"{where}: old credentials tried afterwards", knocks)
    served = [case.name for case in changed for _ in case.served()]
    table.none(f"{where}: old credentials served", len(served))
    for name, count in Counter(served).items():
        table.tell(f"  {name}", count)
    shut = [case.name for case in changed if not case.new_works]
    table.want(f"{where}: new credentials refused", ", ".join(shut) or 0, "0", not shut)

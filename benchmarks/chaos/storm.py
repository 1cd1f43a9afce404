"""A bad day: HOSP fails in every way, and for 6 s in each minute clients send five times as many requests as usual."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from hosp_standin.service import load_seed

from ..outcome_counts import SCREENING_TITLE
from ..plan import Planned, make_plan, world_of
from .clients import Answer, Clients, Person, Write, paced
from .kill import settle
from .processes import ProxiedHosp, proxied_hosp
from .table import Table
from .verdict import times

HOSP = ("--delay", "lognormal:4.4", "--time-scale", "0.09", "--places", "5")
FAULTS = {"error_before": 0.05, "error_after": 0.05, "reset_after": 0.03, "truncated": 0.01}
PLACES = 5
RATE = 8.0
SURGE = 5.0


@define(eq=False)
class Day:
    """The requests of clients, and what they were told."""

    plan: Sequence[Planned]
    told: list[tuple[Planned, Answer]] = field(factory=list)
    writes: list[Write] = field(factory=list)
    most_in_flight: int = 0

    def coming(self, clients: Clients) -> Callable[[], Coroutine[Any, Any, None] | None]:
        """Return a function that makes the next request, as a coroutine."""
        waiting = iter(self.plan)

        def following() -> Coroutine[Any, Any, None] | None:
            planned = next(waiting, None)
            return None if planned is None else self._one(clients, planned)

        return following

    async def _one(self, clients: Clients, planned: Planned) -> None:
        who = Person(planned.staff, f"staff{planned.staff}", planned.password) if planned.staff else None
        answer = await clients.ask(
            planned.method, planned.path, who, headers=planned.headers, body=planned.body
        )
        self.told.append((planned, answer))
        if planned.marker is not None and who is not None:
            self.writes.append(Write(who, planned.marker, planned.patient, told=[answer]))


def surging(seconds: float) -> float:
    """Requests a second: five times as many for 6 s in every minute, from its 20th second on."""
    return RATE * (SURGE if 20 <= seconds % 60 < 26 else 1.0)


async def day(table: Table, folder: Path, seed: int, rate: Callable[[float], float], seconds: float) -> Day:
    """Run a day, and judge its writes.

    :param rate: requests a second, by the seconds since the beginning.
    """
    number = round(sum(rate(second) for second in range(int(seconds)))) + 1
    going = Day(make_plan(number, seed, world_of(load_seed())))
    async with proxied_hosp(folder, *HOSP, "--seed", str(seed)) as proxied:
        await proxied.hosp.tell("/faults", **FAULTS)
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            began = time.monotonic()
            await paced(rate, seconds, going.coming(clients))
            table.tell("requests, seconds", f"{len(going.told)}, {time.monotonic() - began:.1f}")
        await settle(proxied)
        await table.judge(proxied.hosp, going.writes)
        await _machine(table, proxied, going)
    return going


async def _machine(table: Table, proxied: ProxiedHosp, going: Day) -> None:
    stats = await proxied.hosp.read("/stats")
    going.most_in_flight = stats["max_in_flight"]
    met = going.most_in_flight <= PLACES
    table.want("HOSP's most requests at one time", going.most_in_flight, f"≤ {PLACES}", met)
    table.tell("requests that HOSP got", stats["requests"])
    stored = [each["fields"] for each in await proxied.hosp.journal("stored", "notes")]
    made = Counter((n["patient_id"], n["staff_id"]) for n in stored if n["title"] == SCREENING_TITLE)
    wrong = 0
    for planned, answer in going.told:
        if planned.kind == "screening":
            copies = made[planned.patient, planned.staff]
            wrong += copies != 1 if answer.succeeded else copies > 1
    table.none("screenings without exactly one note", wrong)


def tell_valid(table: Table, valid: Sequence[Answer]) -> None:
    """Report the responses to valid requests, and how long they took."""
    statuses = Counter("unknown" if each.unknown else each.status for each in valid)
    table.tell("valid requests: statuses", ", ".join(f"{s} × {n}" for s, n in statuses.most_common()))
    table.tell("p50 / p95 / p99 / longest, s", times([each.seconds for each in valid]))


def bad_let_through(going: Day) -> int:
    """Number of bad requests that did not get a 4xx."""
    return sum(not 400 <= a.status < 500 for planned, a in going.told if not planned.valid)


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """Four minutes (short: 36 s, one surge in it)."""
    table = Table("storm", timed=not short)
    going = await day(table, folder, seed, surging, 36.0 if short else 240.0)
    valid = [answer for planned, answer in going.told if planned.valid]
    rate = sum(answer.succeeded for answer in valid) / max(1, len(valid))
    table.want("valid requests answered", f"{rate:.3%} of {len(valid)}", "≥ 99.9 %", rate >= 0.999)
    tell_valid(table, valid)
    table.none("bad requests not refused", bad_let_through(going))
    return table

"""Habits: what a person does on one errand, and how they react to the responses.

An errand is data: which habit, who, when, and its arguments. Its decisions come from its own random stream, so other
errands can be removed (`simulation.shrink`) without changing this one.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, DeferredList

from ..history import Broke, Told
from .people import Hospital, Person, Wish

Habit = Callable[["Errand"], Awaitable[None]]
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
MOST_TRIES = 6
WINDOW_S = 110.0
"""Without a key the same write is a retry for two minutes: people stop a little earlier."""


@define
class Errand:
    """One errand in progress.

    :param id: also names its random stream, and what it writes.
    """

    id: str
    hospital: Hospital
    person: Person
    args: Mapping[str, Any]
    chance: random.Random

    def house(self) -> str:
        """The address of the proxy for this request."""
        return self.chance.choice(self.hospital.houses)

    async def once(self, wish: Wish, part: str = "") -> Told | Broke:
        """Send a request once."""
        return await self.hospital.ask(self.person, wish, f"{self.id}{part}", self.house())

    async def insist(self, wish: Wish, part: str = "") -> Told | Broke:
        """Repeat until the response is definite.

        As docs/clients.md says: send the same request again, or ask for its outcome by its reference.
        """
        began = self.hospital.reactor.seconds()
        for attempt in range(self.args.get("tries", MOST_TRIES)):
            leave = wish.leave_after_s if attempt == 0 else None
            result = await self.once(evolve(wish, leave_after_s=leave), part)
            if isinstance(result, Told) and not await self._again(wish, result, part):
                return result
            if isinstance(result, Broke) and not self._safe_to_repeat(wish, result):
                return result
            await self.hospital.sleep(self.chance.uniform(0.2, 6.0))
            if wish.key is None and self.hospital.reactor.seconds() - began > WINDOW_S:
                return result
        return result

    async def _again(self, wish: Wish, told: Told, part: str) -> bool:
        """Whether to send the same request once more."""
        if told.outcome == "unknown":
            how = self.args.get("unknown", "again")
            if how == "leave it":
                return False
            if how == "ask":
                await self._ask_what_became(told, part)
            return wish.key is not None or how == "again"
        if told.status not in AGAIN:
            return False
        await self.hospital.sleep(min(20.0, _seconds(told.headers.get("retry-after", "1"))))
        return True

    async def _ask_what_became(self, told: Told, part: str) -> None:
        reference = told.body.get("reference") if isinstance(told.body, dict) else None
        for _ in range(3):
            await self.hospital.sleep(self.chance.uniform(1.0, 30.0))
            asked = await self.once(Wish("GET", f"/.hospproxy/outcomes/{reference}"), f"{part}/outcome")
            said = asked.body if isinstance(asked, Told) and asked.status == 200 else None
            if isinstance(said, dict) and said.get("outcome") not in ("open", "unknown"):
                return

    def _safe_to_repeat(self, wish: Wish, broke: Broke) -> bool:
        """Whether a repeat cannot create a second record: with a key always, without one if no response was written."""
        return (
            wish.method in ("GET", "HEAD")
            or wish.key is not None
            or broke.why in ("refused", "reset", "left")
        )

    def key(self, part: str = "") -> str | None:
        """An Idempotency-Key, for people who use one."""
        return f"{self.id}{part}" if self.args.get("keyed") else None

    def leave(self) -> float | None:
        """Seconds after which this person resets the connection; None for never."""
        return self.args.get("leave_after_s")


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 1.0


async def read(errand: Errand) -> None:
    """Read one thing; some come back to it several times."""
    headers = (("Cache-Control", "no-cache"),) if errand.args.get("reload") else ()
    await errand.once(Wish("GET", errand.args["target"], headers=headers, leave_after_s=errand.leave()))
    for number in range(errand.args.get("again", 0)):
        await errand.hospital.sleep(errand.chance.uniform(0.1, 6.0))
        await errand.once(Wish("GET", errand.args["target"]), f"/{number}")


async def note(errand: Errand) -> None:
    """Read, write a note, then read the list and the record."""
    patient = errand.args["patient"]
    await errand.once(Wish("GET", f"/notes?patient_id={patient}"), "/before")
    body = {"title": errand.id, "body": errand.args.get("body", "x"), "patient_id": patient}
    if "staff_id" in errand.args:
        body["staff_id"] = errand.args["staff_id"]
    told = await errand.insist(Wish("POST", "/notes", body, errand.key(), leave_after_s=errand.leave()))
    await errand.once(Wish("GET", f"/notes?patient_id={patient}"), "/after")
    if isinstance(told, Told) and told.status == 201 and isinstance(told.body, dict):
        await errand.once(Wish("GET", f"/notes/{told.body.get('id')}"), "/record")
        if errand.args.get("then_delete"):
            await errand.insist(Wish("DELETE", f"/notes/{told.body.get('id')}"), "/delete")
            await errand.once(Wish("GET", f"/notes/{told.body.get('id')}"), "/gone")


async def twice(errand: Errand) -> None:
    """Press the button twice: the same request on two connections at once, or one right after the other."""
    body = {"title": errand.id, "body": "x", "patient_id": errand.args["patient"]}
    wish = Wish("POST", "/notes", body, errand.key(), fresh_line=True)
    if errand.args.get("in_turn"):
        await errand.once(wish, "/first")
        await errand.once(wish, "/second")
        return
    first = errand.once(wish, "/first")
    second = errand.once(wish, "/second")
    await _both(errand, first, second)


async def _both(errand: Errand, first: Any, second: Any) -> None:
    await DeferredList([Deferred.fromCoroutine(first), Deferred.fromCoroutine(second)])
    await errand.once(Wish("GET", f"/notes?patient_id={errand.args['patient']}"), "/after")


async def edit(errand: Errand) -> None:
    """Change a field of a shared record through a list of values, and read it after each."""
    target = errand.args["target"]
    for number, value in enumerate(errand.args["values"]):
        # A person who leaves does so at each step, or at the named ones.
        leave = errand.leave() if number in errand.args.get("leaves", (number,)) else None
        wish = Wish("PATCH", target, value, errand.key(f"/{number}"), leave_after_s=leave)
        await errand.insist(wish, f"/{number}")
        if errand.args.get("pause"):
            await errand.hospital.sleep(errand.args["pause"])
        if errand.args.get("look", True):
            await errand.once(Wish("GET", target), f"/{number}/look")


async def delete(errand: Errand) -> None:
    """Delete a record, then read it."""
    target = errand.args["target"]
    if errand.args.get("look_first"):
        await errand.once(Wish("GET", target), "/before")
        await errand.hospital.sleep(errand.args.get("thinks_s", 0.0))
    await errand.insist(Wish("DELETE", target, None, errand.key(), leave_after_s=errand.leave()))
    await errand.once(Wish("GET", target), "/look")


async def password(errand: Errand) -> None:
    """Set a new password, use it, then try the old one."""
    person = errand.person
    old, new = person.password, f"{person.name}-{errand.id}"
    told = await errand.insist(Wish("PATCH", f"/staffs/{person.id}", {"password": new}, errand.key()))
    if not (isinstance(told, Told) and told.status == 200):
        tried = await errand.once(Wish("GET", "/staffs/me", password=new), "/which")
        if not (isinstance(tried, Told) and tried.status == 200):
            return
    person.password = new
    person.old.append(old)
    for part in ("/old", "/old again"):
        target = errand.chance.choice(("/staffs/me", "/notes?patient_id=1", "/patients/1", "/hospitals"))
        await errand.once(Wish("GET", target, password=old), part)
        await errand.once(Wish("GET", target), f"{part}/new")
        await errand.hospital.sleep(errand.chance.uniform(0.0, 20.0))


async def guess(errand: Errand) -> None:
    """Try passwords, perhaps of names that do not exist; often leave before the response."""
    for number in range(errand.args.get("times", 3)):
        which = 0 if errand.args.get("same") else number
        name = errand.args.get("name") or f"nobody-{errand.id}-{which}"
        wish = Wish(
            "GET", "/staffs/me", name=name, password=f"guess-{errand.id}-{which}",
            leave_after_s=errand.leave(), fresh_line=True,
        )  # fmt: skip
        await errand.once(wish, f"/{number}")
        if errand.args.get("pause"):
            await errand.hospital.sleep(errand.args["pause"])


async def flood(errand: Errand) -> None:
    """Send many requests at once on separate connections, and reset them soon after sending."""
    going = []
    for number in range(errand.args["times"]):
        name = f"nobody-{errand.id}-{number}" if errand.args.get("unknown_names", True) else None
        wish = Wish(
            errand.args.get("method", "GET"), errand.args.get("target", "/staffs/me"), name=name,
            password=f"guess-{number}" if name else None, leave_after_s=errand.leave(), fresh_line=True,
        )  # fmt: skip
        going.append(Deferred.fromCoroutine(errand.once(wish, f"/{number}")))
    await DeferredList(going)


async def screen(errand: Errand) -> None:
    """Upload images for a screening."""
    patient = errand.args["patient"]
    images = [
        f"image-{errand.id}-{number}" + "." * errand.args.get("length", 0)
        for number in range(errand.args["images"])
    ]
    await errand.once(
        Wish("POST", f"/patients/{patient}/screen", {"images": images}, leave_after_s=errand.leave())
    )


async def mistake(errand: Errand) -> None:
    """Send requests that are refused: a wrong field, method or parameter, or too many values."""
    body = errand.args.get("body")
    if "values" in errand.args:
        body = {**(body or {}), "more": [1_000_000] * errand.args["values"]}
    await errand.once(Wish(errand.args["method"], errand.args["target"], body))


async def misuse(errand: Errand) -> None:
    """Use one key for two different changes."""
    target, (first, second) = errand.args["target"], errand.args["values"]
    key = f"{errand.id}-one"
    await errand.insist(Wish("PATCH", target, first, key), "/first")
    await errand.insist(Wish("PATCH", target, second, key), "/second")


HABITS: Mapping[str, Habit] = {
    "read": read, "note": note, "twice": twice, "edit": edit, "delete": delete, "password": password,
    "guess": guess, "flood": flood, "screen": screen, "mistake": mistake, "misuse": misuse,
}  # fmt: skip

"""More habits: conditions, reused keys, values that are odd or wrong, bodies that are held back."""

from __future__ import annotations

from collections.abc import Mapping

from ..history import Told
from .habits import Errand, Habit
from .people import Wish


async def careful(errand: Errand) -> None:
    """Change only a version that was read: read, think, and write with If-Match."""
    target = errand.args["target"]
    for number, value in enumerate(errand.args["values"]):
        read = await errand.once(Wish("GET", target), f"/{number}/read")
        tag = read.headers.get("etag") if isinstance(read, Told) and read.status == 200 else None
        if tag is None:
            return
        await errand.hospital.sleep(errand.args["thinks_s"])
        # A weak tag never matches (RFC 9110 section 13.1.1).
        tag = f"W/{tag}" if errand.args.get("weak") else tag
        await errand.once(
            Wish("PATCH", target, value, errand.key(f"/{number}"), headers=(("If-Match", tag),)), f"/{number}"
        )


async def again(errand: Errand) -> None:
    """Write with a key, and send the same again, like a client that has lost the response."""
    body = {"title": errand.id, "body": "x", "patient_id": errand.args["patient"]}
    wish = Wish("POST", "/notes", body, f"{errand.id}-again")
    for number in range(errand.args["times"]):
        await errand.insist(wish)
        await errand.hospital.sleep(errand.args["pause"] * number)


async def odd(errand: Errand) -> None:
    """Write a note with a number as its title: if validation only reports, HOSP stores it as text."""
    body = {"title": errand.args["title"], "body": errand.id, "patient_id": errand.args["patient"]}
    await errand.insist(Wish("POST", "/notes", body))
    await errand.once(Wish("GET", f"/notes?patient_id={errand.args['patient']}"), "/after")


async def held(errand: Errand) -> None:
    """Announce a body, and send it only after a 100 (Continue); perhaps with a wrong password."""
    content = {"title": errand.id, "body": "x" * errand.args["length"], "patient_id": 1}
    headers = (("Expect", "100-continue"),) if errand.args["expects"] else ()
    password = f"guess-{errand.id}" if errand.args["wrong"] else None
    await errand.once(
        Wish("POST", "/notes", content, headers=headers, password=password, held=True, fresh_line=True)
    )


async def meddle(errand: Errand) -> None:
    """Change the newest note of a patient, for which somebody may just be waiting."""
    headers = (("Cache-Control", "no-cache"),)
    read = await errand.once(
        Wish("GET", f"/notes?patient_id={errand.args['patient']}", headers=headers), "/list"
    )
    rows = read.body if isinstance(read, Told) and isinstance(read.body, list) else []
    ids = [row["id"] for row in rows if row["id"] < 10_000]
    if ids:
        await errand.insist(Wish("PATCH", f"/notes/{max(ids)}", {"title": errand.id}, errand.key()))


MORE: Mapping[str, Habit] = {"careful": careful, "again": again, "odd": odd, "held": held, "meddle": meddle}

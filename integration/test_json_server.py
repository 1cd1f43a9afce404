"""An independent upstream: npm's json-server 0.17, with its own contract document and no code of ours.

It has integers as ids, no `created_at`, no `updated_at` and no accounts. So only those rules for lost writes apply that
need no date.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen

from hosp_standin.service import load_seed

from .http_client import Answer, ask
from .ports import free_port
from .processes import Processes, Proxy, Running
from .relay import Relay

HOME = Path(__file__).with_name("json-server")
OFF = "".join(f"[{name}]\nenabled = false\n" for name in ("identity", "ownership", "screening"))
NOTE = {"title": "Visit", "body": "Eats again.", "patient_id": 7}


@frozen
class Rig:
    """The proxy, the relay behind it, and json-server behind that."""

    proxy: Proxy
    relay: Relay
    upstream: str

    async def ask(self, method: str, path: str, *document: Any) -> Answer:
        return await ask(self.proxy.url, method, path, *document)

    async def stored(self, path: str = "/notes") -> Any:
        """Read directly from json-server."""
        return (await ask(self.upstream, "GET", path)).json()

    async def stored_like(self, document: dict[str, Any]) -> list[Any]:
        return [note for note in await self.stored() if document.items() <= note.items()]


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def rig(processes: Processes, tmp_path: Path) -> AsyncIterator[Rig]:
    await install(processes)
    port = free_port()
    server = Running("json-server")
    file = tmp_path / "db.json"
    file.write_text(json.dumps(records()))
    program = HOME / "node_modules" / "json-server" / "lib" / "cli" / "bin.js"
    processes.start(
        server,
        [
            "/usr/bin/env",
            "node",
            str(program),
            "--quiet",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            str(file),
        ],
    )
    await processes.until_open(server, port)
    relay = Relay(port)
    relay.start()
    contract = json.dumps(str(HOME / "contract.yaml"))
    proxy = await processes.proxy(relay.url, top=f"contract_file = {contract}", options=OFF)
    yield Rig(proxy, relay, f"http://127.0.0.1:{port}")
    await relay.stop()


async def install(processes: Processes) -> None:
    """``npm ci`` from the lock file, unless that was done already; node_modules is ignored by git."""
    done = HOME / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= (HOME / "package-lock.json").stat().st_mtime:
        return
    npm = ["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(HOME)]
    installed = await processes.run("npm", "/usr/bin/env", *npm, timeout_s=120.0)
    assert installed.status == 0, installed.log


def records() -> dict[str, Any]:
    """The seed's records without what json-server does not have: times and accounts."""
    seed = load_seed()
    return {
        name: [
            {key: value for key, value in record.items() if key not in ("created_at", "updated_at")}
            for record in seed[name]
        ]
        for name in ("hospitals", "patients", "notes")
    }


@pytest_twisted.ensureDeferred
async def test_lists_and_single_records_come_from_memory_the_second_time(rig: Rig) -> None:
    for path in ("/notes", "/notes/5", "/patients?hospital_id=2", "/notes?patient_id=7", "/hospitals"):
        first, second = await rig.ask("GET", path), await rig.ask("GET", path)
        assert (first.status, second.status) == (200, 200)
        assert first.json() == second.json() == await rig.stored(path)
        assert "stored" in (first.field("cache-status") or ""), first
        assert (second.field("cache-status") or "").startswith("hospproxy; hit")
        assert rig.relay.requests == [f"GET {path}"]
        rig.relay.requests.clear()


@pytest_twisted.ensureDeferred
async def test_what_the_contract_does_not_know_goes_no_further(rig: Rig) -> None:
    assert (await rig.ask("GET", "/profile")).status == 404
    assert (await rig.ask("POST", "/notes", {"title": 7})).status == 422
    assert (await rig.ask("PUT", "/notes/1", NOTE)).status == 405
    assert rig.relay.requests == []
    made = await rig.ask("POST", "/notes", {**NOTE, "colour": "red"})
    assert made.status == 201
    assert await rig.stored_like(NOTE) == [{**NOTE, "id": 301}]


@pytest_twisted.ensureDeferred
async def test_a_post_makes_the_lists_stale(rig: Rig) -> None:
    before = (await rig.ask("GET", "/notes?patient_id=7")).json()
    made = await rig.ask("POST", "/notes", NOTE)
    assert made.status == 201
    after = await rig.ask("GET", "/notes?patient_id=7")
    assert after.json() == [*before, made.json()]


@pytest_twisted.ensureDeferred
async def test_a_post_whose_answer_is_lost_is_found_by_its_id(rig: Rig) -> None:
    """Without a date only its id shows that it is new: it is above the highest id seen before."""
    await rig.ask("GET", "/notes")
    rig.relay.losing.append(("POST", "after"))
    made = await rig.ask("POST", "/notes", NOTE)
    assert (made.status, made.json()) == (201, {**NOTE, "id": 301})
    assert made.field("location") == f"{rig.proxy.url}/notes/301"
    assert await rig.stored_like(NOTE) == [{**NOTE, "id": 301}]
    assert [line for line in rig.relay.requests if line.startswith("POST")] == ["POST /notes"]
    assert made.json() in (await rig.ask("GET", "/notes")).json()


@pytest_twisted.ensureDeferred
async def test_an_older_note_like_it_is_not_taken_for_it(rig: Rig) -> None:
    older = await rig.ask("POST", "/notes", NOTE)
    assert older.json()["id"] == 301
    rig.relay.losing.append(("POST", "after"))
    made = await rig.ask("POST", "/notes", NOTE)
    assert (made.status, made.json()["id"]) == (201, 302)
    assert [note["id"] for note in await rig.stored_like(NOTE)] == [301, 302]


@pytest_twisted.ensureDeferred
async def test_a_post_that_may_be_an_older_record_is_honestly_unknown(rig: Rig) -> None:
    """No list was read before it, and it has no date, so its age cannot be known."""
    rig.relay.losing.append(("POST", "after"))
    made = await rig.ask("POST", "/notes", NOTE)
    assert (made.status, made.json()["outcome"]) == (502, "unknown")
    assert made.json()["reference"]
    assert len(await rig.stored_like(NOTE)) == 1


@pytest_twisted.ensureDeferred
async def test_a_post_that_was_lost_on_the_way_is_sent_again_once_it_is_surely_absent(rig: Rig) -> None:
    await rig.ask("GET", "/notes")
    rig.relay.losing.append(("POST", "before"))
    made = await rig.ask("POST", "/notes", NOTE)
    assert made.status == 201
    assert await rig.stored_like(NOTE) == [{**NOTE, "id": 301}]
    assert [line for line in rig.relay.requests if line.startswith("POST")] == ["POST /notes"] * 2


@pytest.mark.parametrize("lost", [None, "after", "before"])
@pytest_twisted.ensureDeferred
async def test_a_patch_is_carried_out_and_what_was_remembered_is_stale(rig: Rig, lost: str | None) -> None:
    for path in ("/notes/5", "/notes"):
        await rig.ask("GET", path)
    if lost:
        rig.relay.losing.append(("PATCH", lost))
    changed = await rig.ask("PATCH", "/notes/5", {"title": "Changed"})
    assert (changed.status, changed.json()["title"]) == (200, "Changed")
    assert (await rig.stored("/notes/5"))["title"] == "Changed"
    assert (await rig.ask("GET", "/notes/5")).json() == changed.json()
    assert changed.json() in (await rig.ask("GET", "/notes")).json()


@pytest.mark.parametrize("lost", [None, "after", "before"])
@pytest_twisted.ensureDeferred
async def test_a_delete_is_carried_out_and_what_was_remembered_is_stale(rig: Rig, lost: str | None) -> None:
    for path in ("/notes/5", "/notes"):
        await rig.ask("GET", path)
    if lost:
        rig.relay.losing.append(("DELETE", lost))
    gone = await rig.ask("DELETE", "/notes/5")
    assert (gone.status, gone.body) == (200, b"{}")
    assert (await rig.ask("GET", "/notes/5")).status == 404
    assert 5 not in [note["id"] for note in (await rig.ask("GET", "/notes")).json()]

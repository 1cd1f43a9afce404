"""The copy, filled by real traffic: it survives a kill, and what is forgotten while the proxy runs stays forgotten."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest_twisted

from hospproxy.copy import cli

from .http_client import ask
from .processes import Processes
from .test_alerts import until

OPTIONS = "[copy]\nenabled = true\n"


def command(state: Path, *words: str) -> tuple[int, str]:
    mask, out = os.umask(0o077), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            status = cli.main([*words, "--state", str(state)])
    finally:
        os.umask(mask)
    return status, out.getvalue()


def exported(state: Path) -> dict[str, dict[str, Any]]:
    """Records of the copy, by resource and id; none if there is no copy yet."""
    lines = map(json.loads, command(state, "export")[1].splitlines())
    return {f"{line['resource']}/{line['id']}": line["record"] for line in lines}


async def until_known(state: Path, place: str, name: str) -> dict[str, dict[str, Any]]:
    await until(lambda: exported(state).get(place, {}).get("name") == name)
    return exported(state)


@pytest_twisted.ensureDeferred
async def test_the_copy_survives_a_kill_and_forgets_for_good(processes: Processes) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=OPTIONS)
    listed = json.loads((await ask(proxy.url, "GET", "/patients?hospital_id=1", user="staff1")).body)
    made = await ask(proxy.url, "POST", "/hospitals", {"name": "Copied clinic"}, user="staff1")
    clinic = f"/hospitals/{json.loads(made.body)['id']}"
    changed = await ask(proxy.url, "PATCH", clinic, {"name": "Renamed clinic"}, user="staff1")
    assert (made.status, changed.status) == (201, 200)
    await until_known(proxy.state, clinic[1:], "Renamed clinic")
    proxy.signal("KILL")
    await proxy.exit_status()
    found = exported(proxy.state)
    wanted = {f"patients/{one['id']}": {name: one[name] for name in one if name != "url"} for one in listed}
    assert listed and {place: found.get(place) for place in wanted} == wanted
    proxy = await processes.proxy(hosp.url, options=OPTIONS, state=proxy.state, port=proxy.port)
    assert (await ask(proxy.url, "DELETE", clinic, user="staff1")).status == 200
    patient = f"/patients/{listed[0]['id']}"
    assert command(proxy.state, "forget", *patient[1:].split("/"))[0] == 0
    again = await ask(proxy.url, "GET", patient, user="staff1", headers={"Cache-Control": "no-cache"})
    last = await ask(proxy.url, "POST", "/hospitals", {"name": "Last clinic"}, user="staff1")
    assert (again.status, last.status) == (200, 201)
    found = await until_known(proxy.state, f"hospitals/{json.loads(last.body)['id']}", "Last clinic")
    assert patient[1:] not in found and clinic[1:] not in found
    assert command(proxy.state, "verify")[0] == 0
    folder = b"".join(path.read_bytes() for path in (proxy.state / "copy").iterdir())
    words = [b"clinic", b"password1", *(str(one["name"]).encode() for one in listed)]
    assert [word for word in words if word in folder] == []

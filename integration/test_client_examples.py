"""The clients of docs/clients.md, each run as it stands there, while responses are lost and HOSP fails."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest_twisted
from attrs import define
from twisted.internet.defer import Deferred, gatherResults

from tests.handbook_pages import ROOT

from .http_client import ask, control, journal, script
from .processes import Hosp, Processes, Proxy
from .relay import Relay
from .test_fates import until

AXIOS = Path(__file__).with_name("axios")
_EXAMPLE = re.compile(r"^### (.*)\n(?:(?!#|```).*\n)*```\w+\n((?:(?!```).*\n)*)```$", re.MULTILINE)
# What a reader would add: the calls.
CALLS = {
    "Python: requests": """
import json, sys
if "create" in sys.argv:
    print(create("/notes", {"title": sys.argv[1], "body": "Eats again.", "patient_id": 7})["id"])
if "read" in sys.argv:
    found, age_s = read("/notes?patient_id=7")
    print(len(found), age_s)
""",
    "Python: aiohttp": """
import sys
async def main():
    async with connect() as session:
        if "create" in sys.argv:
            note = {"title": sys.argv[1], "body": "Eats again.", "patient_id": 7}
            print((await create(session, "/notes", note))["id"])
        if "read" in sys.argv:
            found, age_s = await read(session, "/notes?patient_id=7")
            print(len(found), age_s)
asyncio.run(main())
""",
    "JavaScript: axios": """
(async () => {
  const [title, ...what] = process.argv.slice(2);
  const note = { title, body: "Eats again.", patient_id: 7 };
  if (what.includes("create")) console.log((await create("/notes", note)).id);
  if (what.includes("read")) {
    const [found, ageS] = await read("/notes?patient_id=7");
    console.log(found.length, ageS);
  }
})();
""",
    "Ruby: net/http": """
note = { "title" => ARGV[0], "body" => "Eats again.", "patient_id" => 7 }
puts create("/notes", note)["id"] if ARGV.include?("create")
if ARGV.include?("read")
  found, age_s = read("/notes?patient_id=7")
  puts "#{found.length} #{age_s}"
end
""",
    "Shell: curl": """
case " $* " in *" create "*)
  note="{\\"title\\": \\"$1\\", \\"body\\": \\"Eats again.\\", \\"patient_id\\": 7}"
  create /notes "$note" | grep -o '"id":[0-9]*' | cut -d: -f2
esac
case " $* " in *" read "*)
  answer=$(read_list '/notes?patient_id=7')
  echo "$(grep -o '"id":' <<< "$answer" | wc -l) $(head -n 1 <<< "$answer")"
esac
""",
}
RUNS = {
    "Python: requests": (sys.executable, "py"),
    "Python: aiohttp": (sys.executable, "py"),
    "JavaScript: axios": ("node", "js"),
    "Ruby: net/http": ("ruby", "rb"),
    "Shell: curl": ("bash", "sh"),
}
"""Heading of an example → its interpreter, and the suffix of its file."""


def examples() -> dict[str, str]:
    """The code below each heading of the page."""
    page = (ROOT / "docs" / "clients.md").read_text("utf-8").partition("\n## Examples\n")[2]
    return dict(_EXAMPLE.findall(page))


@define(eq=False)
class Site:
    """HOSP, the proxy, a relay in front of it that can lose responses, and the examples as programs.

    :param programs: heading → file.
    """

    processes: Processes
    hosp: Hosp
    proxy: Proxy
    relay: Relay
    programs: Mapping[str, Path]

    async def run(self, name: str, *words: str) -> list[str]:
        """Run an example; return the lines that it prints.

        :raise AssertionError: it failed.
        """
        ran = await self.processes.run(
            name,
            RUNS[name][0],
            str(self.programs[name]),
            name,
            *words,
            env={"NODE_PATH": str(AXIOS / "node_modules")},
        )
        assert ran.status == 0, ran.log
        return ran.log.splitlines()

    async def run_all(self, *words: str) -> dict[str, list[str]]:
        """Run all examples at one time."""
        running = [Deferred.fromCoroutine(self.run(name, *words)) for name in self.programs]
        return dict(zip(self.programs, await gatherResults(running), strict=True))

    async def stored(self) -> dict[str, list[str]]:
        """Ids of the notes that HOSP has stored, by title."""
        found: dict[str, list[str]] = {}
        for entry in await journal(self.hosp.control_url, "stored", "notes"):
            found.setdefault(entry["fields"]["title"], []).append(str(entry["id"]))
        return found


@pytest_twisted.async_yield_fixture
async def site(processes: Processes, tmp_path: Path) -> AsyncIterator[Site]:
    hosp = await processes.hosp()
    options = "[cache.lifetimes]\nlistNotes = 0.1\n"
    proxy = await processes.proxy(hosp.url, top="deadline_s = 3.5\n", options=options)
    relay = Relay(proxy.plain_port)
    relay.start()
    programs = {}
    for number, (name, code) in enumerate(examples().items()):
        for old, new in (
            ("https://hosp.example.org", relay.url),
            ("ann", "staff1"),
            ("password", "password1"),
        ):
            assert re.search(rf"\b{old}\b", code), (name, old)
            code = re.sub(rf'(?<=["\':=]){old}\b', new, code)
        programs[name] = tmp_path / f"example-{number}.{RUNS[name][1]}"
        programs[name].write_text(code + CALLS[name])
    yield Site(processes, hosp, proxy, relay, programs)
    await relay.stop()


def test_each_client_has_an_example() -> None:
    assert set(examples()) == set(RUNS)


@pytest_twisted.ensureDeferred
async def test_the_examples(site: Site) -> None:
    # The response to the first attempt is lost on its way: the key finds it again.
    site.relay.losing.extend([("POST", "after")] * len(RUNS))
    told = await site.run_all("create", "read")
    assert not site.relay.losing
    stored = await site.stored()
    assert {name: [lines[0]] for name, lines in told.items()} == stored
    assert all(int(lines[1].split()[0]) >= 1 and lines[1].endswith(" 0") for lines in told.values()), told

    # HOSP stores it and loses its response, and cannot be asked for a while: the outcome is unknown, then found.
    await script(site.hosp.control_url, *["reset_after"] * len(RUNS), method="POST")
    reads = {"error_before": 1.0, "only_methods": ["GET"], "only_paths": ["/notes"]}
    await control(site.hosp.control_url, "POST", "/faults", reads)
    running = Deferred.fromCoroutine(site.run_all("create"))

    async def unknown() -> bool:
        metrics = (await ask(site.proxy.admin_url, "GET", "/metrics")).body.decode()
        return f'hospproxy_writes_total{{outcome="unknown"}} {len(RUNS)}.0' in metrics

    await until(unknown, "all outcomes are unknown")
    await control(site.hosp.control_url, "POST", "/faults", {})
    again = await running
    stored = await site.stored()
    assert {name: [told[name][0], lines[0]] for name, lines in again.items()} == stored

    # Everybody has read the list since these writes. What Accept says belongs to the key of a cached response.
    for accept in ("*/*", "application/json, text/plain, */*"):
        headers = {"Accept": accept}
        answer = await ask(site.relay.url, "GET", "/notes?patient_id=7", user="staff1", headers=headers)
        assert answer.status == 200

    # HOSP is away: what was read before is served, and each says how old it is.
    await control(site.hosp.control_url, "POST", "/offline", {"offline": True})
    for name, [line] in (await site.run_all("read")).items():
        assert int(line.split()[1]) >= 0, (name, line)  # whole seconds

"""``python -m benchmarks.surge``: steady traffic, then five times as much from one source, in one process and over two
machines; prints when the surge was noticed, where it was told, and what became of the requests.

Exit status 1 if it was not noticed within 30 s, was not told once everywhere, or usual users were refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from attrs import define, field

from hosp_standin.service import load_seed

from ..chaos.table import Table, show
from ..machines.site import Machine, Plan, Town, town
from ..plan import world_of
from ..processes import get
from .clients import Crowd

NOTICED_S = 30.0
_LOOK_S = 0.25
_PLACES, _TOOK_S = 5, 0.3
_STANDIN = ("--places", str(_PLACES), "--delay", f"fixed:{_TOOK_S}", "--queue", "200")
_BEGINS = "surge begins (traffic"
_ORDER = "a surge fills the queue"


@define(eq=False)
class Watchers:
    """What an operator sees: status pages, logs and the webhook.

    :ivar first: seconds after the begin of the surge at which each was seen first.
    """

    place: Town | None = None
    began: float = 0.0
    first: dict[str, float] = field(factory=dict)
    posts: list[str] = field(factory=list)

    @property
    def machines(self) -> Sequence[Machine]:
        return () if self.place is None else self.place.machines

    def receiver(self) -> ThreadingHTTPServer:
        """Return a webhook that notes the texts of alerts."""
        posts, saw = self.posts, self.saw

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                posts.extend(each["text"] for each in told["alerts"])
                if any("surge begins" in text for text in posts):
                    saw("webhook")
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Receiver)

    def saw(self, what: str) -> None:
        if self.began:
            self.first.setdefault(what, time.monotonic() - self.began)

    async def look(self) -> None:
        """Look at everything until cancelled."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(_LOOK_S)

    def _look(self) -> None:
        for machine in self.machines:
            told = json.loads(get(machine.admin, "/status.json"))
            if any(each["signal"] == "traffic" for each in told["surges"]["active"]):
                self.saw(f"{machine.name}: status page")
            if told["now"]["surplus_waits"]:
                self.saw(f"{machine.name}: known users first")
            log = machine.daemon.log.read_text(errors="replace")
            for line in (_BEGINS, _ORDER):
                if line in log:
                    self.saw(f"{machine.name}: log: {line}")

    def lines(self, words: str) -> list[int]:
        """How often each machine's log has a line."""
        return [each.daemon.log.read_text(errors="replace").count(words) for each in self.machines]


async def trial(
    folder: Path, seed: int, machines: int, times: tuple[float, float, float], per_s: float
) -> Table:
    """Run one trial.

    :param times: seconds of steady traffic, of the surge, and after it.
    :param per_s: requests a second before the surge, over all machines.
    """
    table = Table(f"surge, {machines} machine{'s' * (machines > 1)}", timed=True)
    watchers = Watchers()
    server = watchers.receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    secret = folder / "webhook.secret"
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything goes on
    secret.write_text("a-secret-of-the-trial-0123456789")
    secret.chmod(0o600)
    options = (
        f'[alerts]\nwebhook_url = "http://127.0.0.1:{server.server_port}/"\nwebhook_secret_file = "{secret}"\n'
        "[cache.lifetimes]\ngetPatient = 0\n"
    )
    plan = Plan(machines, 1, machines > 1, 5, options=options)
    try:
        async with town(folder / "town", plan, *_STANDIN, "--seed", str(seed)) as place:
            watchers.place = place
            world = world_of(load_seed())
            people = [(f"staff{number}", password) for number, password in sorted(world.passwords.items())]
            ports, rng = [each.port for each in place.machines], random.Random(seed)
            usual = Crowd(ports, people[:8], world.patients, rng)
            source = Crowd(ports, people[8:12], world.patients, rng)
            looking = asyncio.create_task(watchers.look())
            steady_s, surge_s, after_s = times
            await usual.send(per_s, steady_s)
            began = watchers.began = time.monotonic()
            await asyncio.gather(usual.send(per_s, surge_s), source.send(4 * per_s, surge_s))
            ended = time.monotonic()
            await usual.send(per_s, after_s)
            await asyncio.gather(usual.settled(), source.settled())
            looking.cancel()
            judge(table, watchers, machines)
            table.tell(
                "HOSP takes at most",
                f"{_PLACES / _TOOK_S:.1f}/s; three quarters of that are for usual users, who ask for {per_s:g}/s",
            )
            table.tell("usual users before", usual.outcomes(0.0, began))
            table.tell("usual users during the surge", usual.outcomes(began, ended))
            table.tell("usual users after it", usual.outcomes(ended, float("inf")))
            table.tell("the source", source.outcomes(0.0, float("inf")))
            refused = sum(each.status == 503 for each in usual.sent)
            table.none("usual users refused", refused)
    finally:
        server.shutdown()
    return table


def judge(table: Table, watchers: Watchers, machines: int) -> None:
    """Add what was seen, and when."""
    for what, seconds in sorted(watchers.first.items()):
        table.in_time(f"{what}: after, s", f"{seconds:.1f}", f"{NOTICED_S:g}", seconds <= NOTICED_S)
    seen = sum("status page" in what for what in watchers.first)
    table.none("machines that did not show the surge", machines - seen)
    table.none("machines without exactly one log line", sum(n != 1 for n in watchers.lines(_BEGINS)))
    for words in ("surge begins (traffic", "surge ends (traffic"):
        number = sum(words in text for text in watchers.posts)
        table.want(f"alerts: {words})", number, "1", number == 1)
    table.tell("alerts sent", "; ".join(watchers.posts) or "none")


def main(arguments: Sequence[str]) -> int:
    """Run the trials; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.surge", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steady", type=float, default=120.0, help="seconds of steady traffic (default 120)")
    parser.add_argument("--surge", type=float, default=40.0, help="seconds of the surge (default 40)")
    parser.add_argument("--after", type=float, default=60.0, help="seconds after it (default 60)")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second before it (default 5)")
    given = parser.parse_args(arguments)
    times = (given.steady, given.surge, given.after)
    good = True
    with tempfile.TemporaryDirectory(prefix="hospproxy-surge-") as name:
        for machines in (1, 2):
            table = asyncio.run(trial(Path(name) / str(machines), given.seed, machines, times, given.rate))
            print(show(table), flush=True)
            good = good and not table.missed
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Serves the status page on a real port of this process, over an invented day with a surge, for browsers.

python -m integration.status_page_server 9445     # http://127.0.0.1:9445/status
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred

from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.listeners import Listener, Listeners
from hospproxy.options.source import OptionsState
from hospproxy.process.clocks import install_monotonic, wall
from hospproxy.process.worker import TaskThread
from hospproxy.watch.admin import Admin
from hospproxy.watch.health import Health
from hospproxy.watch.merge import Overview, Snapshot
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status.counts import Sample
from hospproxy.watch.status.document import About
from hospproxy.watch.status.machines import Figures, Machine, Machines
from hospproxy.watch.status.recorder import Recorder
from hospproxy.watch.status.status_page import StatusPage
from hospproxy.watch.status.surges import Change

_ROUTES = (
    ("GET /hospitals", 45),
    ("GET /patients", 30),
    ("GET /patients/{id}", 12),
    ("POST /notes", 9),
    ("POST /patients/{id}/screen", 3),
)
_BARS = {"0.001": 30, "0.0025": 25, "0.01": 5, "2.5": 6, "5.0": 22, "10.0": 11, "20.0": 1}
_SURGE_AGO_S = (1500.0, 1260.0)


@define(eq=False)
class ServedStatus:
    """A running status page.

    :param url: of the listener.
    """

    url: str
    listeners: Listeners
    worker: TaskThread
    recorder: Recorder

    def stop(self) -> Deferred[None]:
        """Close the port, and end the thread."""
        self.worker.stop()
        return self.listeners.stop(0.5)


def _other(name: str) -> Figures:
    """Return the figures of another machine."""
    return Figures("0.1.0", name, wall() - 4000, True, 2, 2, 1.0, 0.0, 0.0, ())


def serve_status(reactor: Any, folder: Path, port: int = 0, *, hostile: str = "") -> ServedStatus:
    """Open a listener with the page.

    :param hostile: text that stands wherever a text of others stands.
    """
    install_monotonic(reactor)
    meter, worker = Metrics("0.1.0"), TaskThread(reactor, "status")

    async def read() -> Overview:
        return Overview({}, {})

    recorder = Recorder(folder / "status.json", reactor, wall, worker, meter, read, True)
    fill(recorder, wall(), hostile)
    exchange: Any = Machines(cast(Any, None), "proxy-1")
    exchange.seen = {"b": Machine(_other(hostile or "proxy-2"), 2.0)}
    recorder.machines = exchange
    about = About("0.1.0", 2, 5, 512, True, OptionsState(4, wall() - 5430.0, wall() - 600.0), 10_000)
    health = Health({"journal": lambda: hostile or None})
    page = StatusPage(recorder, about, health.reasons, wall)
    context = ListenerContext(handler=Admin(health, meter, status=page), clock=reactor, wall=wall)
    listeners = Listeners([Listener(f"http://127.0.0.1:{port}", plain="serve")], context, folder)
    listeners.listen(reactor)
    host, bound = listeners.addresses()[0]
    return ServedStatus(f"http://{host}:{bound}", listeners, worker, recorder)


def fill(recorder: Recorder, now: float, hostile: str = "") -> None:
    """Invent a week: one sample in five minutes, and one each five seconds in the last hour."""
    chance = random.Random(7)
    at, end = now - 7 * 86400, now
    while at < end:
        step_s = 5.0 if end - at <= 3600 else 300.0
        _sample(recorder, chance, at, step_s, end - at)
        at += step_s
    gauges = {
        "gate_in_flight": 4.0, "gate_left_behind": 0.0, "gate_waiting": 3.0, "gate_limit": 5.0, "breaker_open": 0.0,
        "upstream_stalled": 0.0, "cache_bytes": 31_400_000.0, "cache_entries": 2816.0, "cache_disk_bytes": 5.2e7,
        "ledger_open": 2.0, "screening_pending": 1.0, "redis_up": 1.0, "sharing_lease": 1.0, "members_live": 4.0,
        "members_vanished": 0.0, "arrival_connections": 113.0, "alerts_recent": 2.0, "record_disk_full": 0.0,
    }  # fmt: skip
    files = {
        f"/etc/hospproxy/{hostile or 'site'}.pem": 61 * 86400.0,
        "/etc/hospproxy/admin.pem": 12 * 86400.0,
    }
    sinks = {hostile or "syslog": (True, 0.0), "webhook": (True, 0.0)}
    recorder.latest = Sample({}, gauges, files, sinks)
    snapshot = Snapshot([], {"journal": hostile} if hostile else {})
    recorder.overview = Overview(dict.fromkeys((0, 1), snapshot), {}, [], {0: 0, 1: 1})
    recorder.started_at = now - 9 * 86400
    for ago, change in (
        (_SURGE_AGO_S[0] - 10, Change("traffic", True, 31.0, 6.2)),
        (_SURGE_AGO_S[0] - 25, Change("refusals", True, 4.4, 0.2)),
        (_SURGE_AGO_S[1] - 30, Change("refusals", False, 9.7, 0.2, 245.0)),
        (_SURGE_AGO_S[1] - 35, Change("traffic", False, 41.3, 6.2, 265.0)),
    ):
        recorder.shown.appendleft((now - ago, change))


def _sample(recorder: Recorder, chance: random.Random, at: float, step_s: float, ago_s: float) -> None:
    hour = at % 86400 / 3600
    per_s = 0.6 + 6.0 * max(0.0, math.sin((hour - 5) / 16 * math.pi))
    surge = _SURGE_AGO_S[1] <= ago_s <= _SURGE_AGO_S[0]
    times = 1.0 if step_s == 5.0 else 60.0  # a week of single requests takes too long to invent
    step_s /= times
    number = max(0, round(chance.gauss(per_s * step_s * (6 if surge else 1), math.sqrt(per_s * step_s))))
    counts: dict[str, float] = {}

    def count(key: str, number: float = 1.0) -> None:
        counts[key] = counts.get(key, 0.0) + number * times

    for _ in range(number):
        route = chance.choices([name for name, _ in _ROUTES], [weight for _, weight in _ROUTES])[0]
        failed = chance.random() < (0.12 if surge else 0.0004)
        status = "5xx" if failed else chance.choices(("2xx", "4xx", "none"), (98.5, 1.4, 0.1))[0]
        count(f"request|{route}|{status}")
        count("took|" + chance.choices(list(_BARS), list(_BARS.values()))[0])
        if route.startswith("GET"):
            count("cache|" + chance.choices(("hit", "miss", "collapsed", "stale"), (62, 30, 6, 2))[0])
        if failed:
            count("refused|" + chance.choice(("in_vain", "full")))
        elif chance.random() < (0.1 if surge else 0.4):
            count(
                "hosp|" + chance.choices(("2xx", "4xx", "5xx", "failed after sending"), (96, 1, 2.6, 0.4))[0]
            )
            count("hosp_took|" + chance.choices(("2.5", "5.0", "10.0", "20.0"), (6, 60, 30, 4))[0])
            if route.startswith("POST"):
                count(
                    "write|"
                    + chance.choices(("answered", "found", "absent", "unknown"), (95, 3, 1.8, 0.2))[0]
                )
    count("retry|repeatable", float(chance.random() < 0.2))
    busy = 40.0 * chance.random() if surge else max(0.0, chance.gauss(1, 2))
    peaks = {"gate_waiting": round(busy), "gate_in_flight": 5.0 if surge else float(chance.randint(1, 5))}
    peaks |= {"breaker_open": 0.0, "arrival_connections": 113.0 + round(3 * busy)}
    recorder.history.add(at, step_s, {key: n for key, n in counts.items() if n}, peaks)


def main() -> None:
    """Serve until Ctrl-C."""
    import tempfile

    from twisted.internet import reactor

    served = serve_status(reactor, Path(tempfile.mkdtemp()), int(sys.argv[1]))
    print(f"{served.url}/status", flush=True)
    cast(Any, reactor).run()


if __name__ == "__main__":
    main()

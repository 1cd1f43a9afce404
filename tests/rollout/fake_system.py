"""A system in memory: HAProxy, instances that count, and the time. It can crash before or after any effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field
from rollout.plan import Command
from rollout.system import CommandFailed, Reply

PLAN = """
state = "STATE"

[test]
run = ["test"]

[staging]
start = ["serve", "{new}"]
admin = "http://staging"

[[smoke]]
name = "root"
url = "http://staging/smoke"

[split]
driver = "haproxy"
socket = "admin.sock"
backend = "hosp"
percent = 10

[canary]
start = ["serve", "{new}"]
admin = "http://canary"
server = "canary"

[baseline]
start = ["serve", "{old}"]
admin = "http://baseline"
server = "baseline"

[production]
[[production.instances]]
name = "one"
admin = "http://one"
server = "one"
state = "one"

[[production.instances]]
name = "two"
admin = "http://two"
server = "two"
state = "two"

[rules]
min_s = 60
max_s = 600
min_requests = 300
"""

OWN_COMMANDS = PLAN.replace(
    "[production]\n",
    '[production]\npromote = ["upgrade", "{server}", "{new}"]\nrollback = ["upgrade", "{server}", "{old}"]\n',
)
"""The same with commands of the operator's own."""

REPLACEMENT = (
    PLAN.partition("[split]")[0]
    + '[split]\ndriver = "none"\n[production]'
    + PLAN.partition("[production]")[2]
)
"""The same without a splitter."""


class Crash(BaseException):
    """The rollout is killed."""


@define(eq=False)
class FakeInstance:
    """What one instance counts.

    :ivar failing: share of its requests that fail; `slow` the share that takes longer.
    :ivar is_silent: it accepts connections and replies nothing.
    """

    version: str
    failing: float = 0.0
    slow: float = 0.0
    is_silent: bool = False
    requests: float = 0.0
    failed: float = 0.0
    slower: float = 0.0
    sent: float = 0.0
    doubled: int = 0

    def serve(self, requests: float) -> None:
        self.requests += requests
        self.failed += requests * self.failing
        self.slower += requests * self.slow
        self.sent += requests / 4

    @property
    def metrics(self) -> str:
        good, failed, every = int(self.requests - self.failed), int(self.failed), int(self.requests)
        return "\n".join(
            (
                f'hospproxy_build_info{{python="3.11",version="{self.version}"}} 1.0',
                f'hospproxy_requests_total{{cache="none",method="GET",route="/notes",status_class="2xx"}} {good}.0',
                f'hospproxy_requests_total{{cache="none",method="GET",route="/notes",status_class="5xx"}} {failed}.0',
                f'hospproxy_request_seconds_bucket{{le="0.1",route="/notes"}} {every - int(self.slower)}.0',
                f'hospproxy_request_seconds_bucket{{le="+Inf",route="/notes"}} {every}.0',
                f'hospproxy_writes_total{{outcome="answered"}} {int(self.sent)}.0',
                f"hospproxy_upstream_writes_total {int(self.sent) + self.doubled}.0",
            )
        )


@define(eq=False, slots=False)
class FakeSystem:
    """See `rollout.system.System`.

    :ivar canary: how a canary behaves that is started.
    :ivar goes_on: for an instance: when its upgrade ends whose hospproxyctl has failed, and to which version.
    :ivar crash_at: number of the effect at which it crashes, from 1; `crash_after`: once it has taken place.
    """

    rate: float = 40.0
    canary: Mapping[str, object] = field(factory=dict)
    smoke_status: int = 200
    failing_commands: set[str] = field(factory=set)
    crash_at: int = 0
    crash_after: bool = False
    effects: int = 0
    time: float = 1000.0
    weights: dict[str, int] = field(factory=lambda: {"one": 100, "two": 100, "canary": 0, "baseline": 0})
    instances: dict[str, FakeInstance] = field(
        factory=lambda: {"one": FakeInstance("1.0"), "two": FakeInstance("1.0")}
    )
    goes_on: dict[str, tuple[float, str]] = field(factory=dict)
    is_down: Callable[[str], bool] = field(default=lambda _name: False)
    started: set[str] = field(factory=set)
    done: list[str] = field(factory=list)

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time + 1e9

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for name, (at, version) in list(self.goes_on.items()):
            if self.time >= at:
                del self.goes_on[name]
                self.instances[name] = FakeInstance(version)
        total = sum(weight for name, weight in self.weights.items() if name in self.instances)
        for name, instance in self.instances.items():
            if total and not instance.is_silent:
                instance.serve(self.rate * seconds * self.weights.get(name, 0) / total)

    def _effect(self, words: str, *, after: bool = False) -> None:
        """Crash here, if it is the moment."""
        if not after:
            self.effects += 1
            self.done.append(words)
        if self.effects == self.crash_at and self.crash_after == after:
            raise Crash(words)

    def run(self, command: Command) -> str:
        self._effect(" ".join(command.words))
        what, *rest = command.words
        if what in self.failing_commands:
            raise CommandFailed(f"{what}: exit status 1")
        if what == "hospproxyctl":
            self._control(rest)
        elif what == "upgrade":
            server, version = rest
            if f"upgrade {version}" in self.failing_commands:
                raise CommandFailed(f"{what}: exit status 1")
            self.instances[server] = FakeInstance(version)
        self._effect("", after=True)
        return ""

    def _control(self, words: Sequence[str]) -> None:
        """hospproxyctl: replaces an instance by a version, unless the running one is just being replaced."""
        _, name, command, _, version = words
        if name in self.goes_on:
            raise CommandFailed(f"{command}: upgrade is still running")
        if f"{command} {name}" in self.failing_commands:
            raise CommandFailed(f"{command} {name}: exit status 1")
        if self.instances[name].version != version:
            self.instances[name] = FakeInstance(version)

    def after_each_sleep(self, do: Callable[[], None]) -> None:
        """Call a function whenever time has passed."""
        sleep = self.sleep

        def slept(seconds: float) -> None:
            sleep(seconds)
            do()

        self.sleep = slept  # type: ignore[method-assign]

    def finish_command(self, most_s: float) -> None:
        pass

    def fetch(
        self,
        url: str,
        timeout_s: float,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        ca_file: str | None = "",
    ) -> Reply:
        name, _, path = url.removeprefix("http://").partition("/")
        instance = self.instances.get(name)
        if instance is None or instance.is_silent:
            self.time += timeout_s
            raise OSError("timed out")
        if path == "smoke":
            return Reply(self.smoke_status)
        return Reply(200, {}, instance.metrics.encode() if path == "metrics" else b"")

    def ask_socket(self, address: str, line: str, timeout_s: float) -> str:
        what, *rest = line.split()
        if (what, rest[0]) == ("show", "stat"):
            rows = (f"hosp,{name},0,{'DOWN' if self.is_down(name) else 'UP'}" for name in self.weights)
            return "\n".join(("# pxname,svname,scur,status", *rows, ""))
        name = rest[1].removeprefix("hosp/")
        if name not in self.weights:
            return "No such server.\n"
        if what == "set":
            self._effect(line)
            self.weights[name] = int(rest[3])
            self._effect("", after=True)
            return "\n"
        return f"{self.weights[name]} (initial 0)\n\n"

    def find(self, name: str) -> int | None:
        return 7 if name in self.started else None

    def start(self, name: str, words: Sequence[str]) -> int:
        self._effect(f"start {name}")
        if words[0] in self.failing_commands:
            raise CommandFailed(f"{words[0]}: no such file")
        self.started.add(name)
        self.instances[name] = FakeInstance(words[1])
        if name == "canary":
            for what, value in self.canary.items():
                setattr(self.instances[name], what, value)
        self._effect("", after=True)
        return 7

    def stop(self, name: str, stop_s: float) -> bool:
        if name in self.started:
            self._effect(f"stop {name}")
            self.started.discard(name)
            del self.instances[name]
            self._effect("", after=True)
        return True

    def log(self, name: str) -> bytes:
        return b""

    @property
    def versions(self) -> list[str]:
        """Versions in production."""
        return [self.instances[name].version for name in ("one", "two")]


def plan_text(folder: Path, text: str = PLAN) -> str:
    """A plan with a state folder."""
    return text.replace("STATE", str(folder))

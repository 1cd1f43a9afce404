"""The plan file (TOML): how each stage of a rollout is done. docs/rollout.md has an example with every key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from .plan_table import PlanError, PlanTable

HIGHEST_SHARE = 40.0
HIGHEST_WEIGHT = 256
"""HAProxy's highest weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that ends by itself.

    :param words: no shell reads them; () for none.
    """

    words: tuple[str, ...] = ()
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A process of hospproxy that the rollout starts, or one that is there.

    :param start: runs it in the foreground; (): it is there.
    :param admin: URL of its admin listener.
    :param server: its name at the splitter.
    :param version: that it must say it is; "" for any.
    :param ready_s: seconds after its start until ``/ready`` must be 200.
    :param stop_s: seconds between SIGTERM and SIGKILL.
    :param weight: at the splitter (1 to 256); of canary and baseline it follows from ``split.percent``.
    :param state: its state folder, by which hospproxyctl finds it; of production instances only.
    """

    name: str
    admin: str
    start: tuple[str, ...] = ()
    server: str = ""
    version: str = ""
    ready_s: float = 60.0
    stop_s: float = 45.0
    weight: int = 100
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeRequest:
    """A request and what is expected of its response.

    :param url: complete.
    :param fields: header name in lower case → text that its value must hold; "" for any value.
    :param json: path in the JSON document, as ``items.0.name`` or ``entries.length`` → value.
    :param tls: lowest version of TLS, such as ``TLSv1.3``; "" for any.
    :param ca_file: certificates to trust; "": those of the system.
    """

    name: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] = field(default_factory=dict)
    tls: str = ""
    ca_file: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How traffic is divided.

    :param driver: "haproxy", "command", or "none": there is no canary, and production is replaced at once.
    :param socket: HAProxy's admin socket: a path, or HOST:PORT.
    :param backend: HAProxy's backend.
    :param command: with ``{server}`` and ``{weight}`` (0 to 256).
    :param percent: of the traffic that each of canary and baseline gets.
    """

    driver: str
    socket: str = ""
    backend: str = ""
    command: Command = field(default_factory=Command)
    percent: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a canary fails, passes, or is given up.

    :param min_requests: of each side, before a canary may pass.
    :param alpha: probability that a canary which is as good as its baseline fails.
    :param failed_points: by how many percentage points more requests may fail than at the baseline; `refused_points`
        the same for 4xx, `slower_points` for the share that is slower than any bound of the histogram.
    :param silent_s: seconds without a reply of ``/metrics`` after which an instance has failed.
    :param growth: factor by which samples grow between two looks.
    """

    min_requests: int = 300
    min_writes: int = 0
    min_s: float = 300.0
    max_s: float = 3600.0
    every_s: float = 5.0
    silent_s: float = 20.0
    alpha: float = 0.01
    failed_points: float = 1.0
    refused_points: float = 3.0
    slower_points: float = 10.0
    growth: float = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """The instances that serve, and how one of them is replaced.

    :param promote: with ``{instance}``, ``{server}``, ``{admin}``, ``{state}``, ``{old}`` and ``{new}``; `rollback` the
        same.
    :param by_control: they are ``hospproxyctl upgrade`` and ``hospproxyctl rollback --to``: the second does nothing
        where the old version serves, and is refused while an upgrade goes on.
    :param drain: whether the splitter takes an instance out while it is replaced.
    :param drain_s: the longest wait for its connections to end.
    """

    instances: tuple[Instance, ...]
    promote: Command
    rollback: Command
    by_control: bool = False
    drain: bool = True
    drain_s: float = 60.0
    before_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked plan."""

    state: str
    old: str
    new: str
    production: Production
    split: Split
    rules: Rules
    test: Command = field(default_factory=Command)
    staging: Instance | None = None
    smoke: tuple[SmokeRequest, ...] = ()
    canary: Instance | None = None
    baseline: Instance | None = None
    checks: tuple[Command, ...] = ()


def filled(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of ``{name}``; other braces stay, so that JSON needs no escapes."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def read_plan(text: str, old: str, new: str) -> Plan:
    """Read a plan.

    :param old: version that runs; replaces ``{old}`` everywhere.
    :param new: version that is to run; replaces ``{new}``.
    :raise PlanError: with every error.
    """
    try:
        values = tomllib.loads(filled(text, {"old": old, "new": new}))
    except tomllib.TOMLDecodeError as problem:
        raise PlanError([f"it is not TOML: {problem}"]) from None
    problems: list[str] = []
    top = PlanTable(values, "", problems)
    state = top.text("state")
    test, staging_table = _command(top.table("test")), top.table("staging")
    staging = _instance(staging_table, "staging", new) if top.has("staging") else None
    smoke = tuple(_smoke(each) for each in top.tables("smoke"))
    split = _split(top.table("split"))
    canary_table, baseline_table = top.table("canary"), top.table("baseline")
    canary = baseline = None
    checks: tuple[Command, ...] = ()
    if split.driver != "none":
        checks = tuple(_command(each, required=True) for each in canary_table.tables("checks"))
        canary = _instance(canary_table, "canary", new, served=True)
        baseline = _instance(baseline_table, "baseline", old, served=True)
    elif top.has("canary") or top.has("baseline"):
        top.say("split.driver", 'is "none", so there can be no canary and no baseline')
    production, rules = _production(top.table("production"), split, old, new), _rules(top.table("rules"))
    if canary is not None and baseline is not None and not problems:
        weight = small_weight(split.percent, [each.weight for each in production.instances])
        if not 1 <= weight <= HIGHEST_WEIGHT:
            top.say(
                "split.percent",
                f"needs a weight of {weight} for canary and baseline, and 1 to {HIGHEST_WEIGHT} is possible: change the"
                " weights of production.instances, there and at the splitter",
            )
        canary, baseline = replace(canary, weight=weight), replace(baseline, weight=weight)
    if old == new:
        top.say("new", f"the version that runs is {old}, too: there is nothing to roll out")
    if smoke and staging is None:
        top.say("smoke", "needs a [staging] to ask")
    top.end()
    if problems:
        raise PlanError(problems)
    return Plan(
        state=state, old=old, new=new, test=test, staging=staging, smoke=smoke, split=split, canary=canary,
        baseline=baseline, checks=checks, production=production, rules=rules,
    )  # fmt: skip


def small_weight(percent: float, others: Sequence[int]) -> int:
    """Return the weight by which canary and baseline get `percent` of the traffic each, and all others the rest."""
    share = percent / 100
    return round(share * sum(others) / (1 - 2 * share))


def _command(table: PlanTable, *, required: bool = False) -> Command:
    default = None if required else ()
    found = Command(words=table.command("run", default), timeout_s=table.number("timeout_s", 600.0, 0.1))
    table.end()
    return found


def _url(table: PlanTable, key: str) -> str:
    found = table.text(key)
    try:
        parts = urlsplit(found)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if table.has(key) and not good:
        table.say(key, "a URL was expected, such as https://127.0.0.1:9443")
    return found


def _instance(table: PlanTable, name: str, version: str, *, served: bool = False) -> Instance:
    found = Instance(
        name=name,
        admin=_url(table, "admin").rstrip("/"),
        start=table.command("start"),
        server=table.text("server") if served else "",
        version=version if table.flag("check_version", True) else "",
        ready_s=table.number("ready_s", 60.0, 0.1),
        stop_s=table.number("stop_s", 45.0, 0.1),
    )
    table.end()
    return found


def _smoke(table: PlanTable) -> SmokeRequest:
    found = SmokeRequest(
        name=table.text("name"),
        url=_url(table, "url"),
        method=table.text("method", "GET"),
        headers=table.texts("headers"),
        body=table.text("body", ""),
        status=int(table.number("status", 200, 100, 599)),
        fields={name.lower(): value for name, value in table.texts("fields").items()},
        json=table.values_of("json"),
        tls=table.text("tls", "", ("TLSv1.2", "TLSv1.3")),
        ca_file=table.text("ca_file", ""),
        timeout_s=table.number("timeout_s", 30.0, 0.1),
    )
    table.end()
    return found


def _split(table: PlanTable) -> Split:
    driver = table.text("driver", None, ("haproxy", "command", "none"))
    found = Split(
        driver=driver,
        socket=table.text("socket", None if driver == "haproxy" else ""),
        backend=table.text("backend", None if driver == "haproxy" else ""),
        command=Command(
            words=table.command("run", None if driver == "command" else ()),
            timeout_s=table.number("timeout_s", 30.0, 0.1),
        ),
        percent=table.number("percent", 5.0, 0.1, HIGHEST_SHARE),
    )
    table.end()
    return found


def _production(table: PlanTable, split: Split, old: str, new: str) -> Production:
    timeout_s = table.number("timeout_s", 300.0, 0.1)
    by_control = not (table.has("promote") or table.has("rollback"))
    control = table.command("control", ("hospproxyctl",))
    state, versions = table.text("state", "/var/lib/hospproxy"), table.text("versions", "")
    instances = tuple(
        _production_instance(each, str(number), state, split)
        for number, each in enumerate(table.tables("instances"), 1)
    )
    if not instances:
        table.say("instances", "at least one was expected")
    names = [each.name for each in instances]
    for name in sorted({each for each in names if names.count(each) > 1}):
        table.say("instances", f"{name} stands there twice")
    if by_control:
        where = ("--versions", versions) if versions else ()
        words = (*control, "--state", "{state}")
        promote = (*words, "upgrade", "--version", new, *where)
        rollback = (*words, "rollback", "--to", old)
        asked = [tuple(filled(word, values_of(each)) for word in words) for each in instances]
        for number, each in enumerate(instances, 1):
            if asked.index(asked[number - 1]) < number - 1:
                table.say(
                    f"instances[{number}].state",
                    f"{each.name} and another instance have the same state folder on the same machine: give each its"
                    ' own "state", or name the machine in "control"',
                )
    else:
        for key in ("control", "versions"):
            if table.has(key):
                table.say(key, "belongs to hospproxyctl, and promote and rollback stand in its place")
        promote, rollback = table.command("promote"), table.command("rollback")
    found = Production(
        instances=instances,
        promote=Command(words=promote, timeout_s=timeout_s),
        rollback=Command(words=rollback, timeout_s=timeout_s),
        by_control=by_control,
        # An upgrade loses no request.
        drain=table.flag("drain", not by_control) and split.driver != "none",
        drain_s=table.number("drain_s", 60.0),
        before_s=table.number("before_s", 300.0, 1.0),
    )
    table.end()
    return found


def _production_instance(table: PlanTable, name: str, state: str, split: Split) -> Instance:
    found = Instance(
        name=table.text("name", name),
        admin=_url(table, "admin").rstrip("/"),
        server=table.text("server", None if split.driver != "none" else ""),
        ready_s=table.number("ready_s", 60.0, 0.1),
        weight=int(table.number("weight", 100, 1, HIGHEST_WEIGHT)),
        state=table.text("state", state),
    )
    table.end()
    return found


def values_of(instance: Instance) -> dict[str, str]:
    """Return what the commands of an instance may hold in braces."""
    return {
        "instance": instance.name,
        "server": instance.server,
        "admin": instance.admin,
        "state": instance.state,
    }


def _rules(table: PlanTable) -> Rules:
    default = Rules()
    found = Rules(
        min_requests=int(table.number("min_requests", default.min_requests, 1)),
        min_writes=int(table.number("min_writes", default.min_writes)),
        min_s=table.number("min_s", default.min_s),
        max_s=table.number("max_s", default.max_s, 1),
        every_s=table.number("every_s", default.every_s, 0.1),
        silent_s=table.number("silent_s", default.silent_s, 1),
        alpha=table.number("alpha", default.alpha, 1e-9, 0.2),
        failed_points=table.number("failed_points", default.failed_points, 0.01, 100),
        refused_points=table.number("refused_points", default.refused_points, 0.01, 100),
        slower_points=table.number("slower_points", default.slower_points, 0.01, 100),
        growth=table.number("growth", default.growth, 1.01, 10),
    )
    if found.min_s > found.max_s:
        table.say("min_s", "is longer than max_s")
    table.end()
    return found

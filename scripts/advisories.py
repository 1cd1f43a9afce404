"""Check the packages that we ship and install for known vulnerabilities, offline, from security/advisories.json.

    python scripts/advisories.py                      # the lock files, and the packages installed here
    python scripts/advisories.py --strict             # warnings fail too
    python scripts/advisories.py --update             # fetch from the OSV service at OSV_URL
    python scripts/advisories.py --update --from DIR  # fetch from a folder of OSV files (YAML or JSON)

A known vulnerability fails the check, unless security/accepted.toml names it with a reason and a last day. Missing
knowledge is only a warning: a snapshot older than 30 days, or a package that the snapshot does not cover.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-all.lock")
OLD_AFTER = datetime.timedelta(days=30)
LONGEST_ACCEPTANCE = datetime.timedelta(days=180)
_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)")
_ASK_S = 30


@dataclass
class Report:
    """Result of a check: failures, and warnings that somebody should look at."""

    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Accepted:
    """A vulnerability that is accepted with a reason until a day."""

    id: str
    package: str
    reason: str
    until: datetime.date


def locked(text: str) -> dict[str, str]:
    """Versions that a lock file pins, by normalised package name."""
    return {canonicalize_name(m[1]): m[2] for line in text.splitlines() if (m := _PINNED.match(line))}


def installed() -> dict[str, str]:
    """Versions installed in the running environment, by normalised package name."""
    return {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}


def affects(advisory: Mapping[str, Any], version: str) -> bool:
    """Whether an advisory affects a version, by the rules of OSV's schema.

    :param advisory: `events`, in any order, and `versions`; either may be empty.
    """
    if version in advisory.get("versions", ()):
        return True
    try:
        asked = Version(version)
    except InvalidVersion:
        return True  # a version that cannot be compared counts as affected
    hit = False
    for kind, bound in sorted(_bounds(advisory.get("events", ())), key=lambda each: each[1]):
        if kind == "introduced" and asked >= bound:
            hit = True
        elif (kind == "fixed" and asked >= bound) or (kind == "last_affected" and asked > bound):
            hit = False
    return hit


def _bounds(events: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, Version]]:
    for event in events:
        for kind in ("introduced", "fixed", "last_affected"):
            if kind in event:
                yield kind, Version(event[kind])


def accepted(text: str, today: datetime.date) -> tuple[list[Accepted], list[str]]:
    """Parse security/accepted.toml into (entries that are valid today, problems with the others)."""
    good, wrong = [], []
    for entry in tomllib.loads(text).get("accepted", []):
        name = f"security/accepted.toml: {entry.get('id', 'an entry without id')}"
        missing = [key for key in ("id", "package", "reason", "until") if not entry.get(key)]
        until = entry.get("until")
        if missing or not isinstance(until, datetime.date):
            wrong.append(f"{name}: it needs id, package, reason and until (a date)")
        elif until < today:
            wrong.append(f"{name}: accepted until {until}, which is over; look at it again")
        elif until - today > LONGEST_ACCEPTANCE:
            wrong.append(f"{name}: accepted until {until}; {LONGEST_ACCEPTANCE.days} days are the longest")
        else:
            good.append(Accepted(entry["id"], canonicalize_name(entry["package"]), entry["reason"], until))
    return good, wrong


def check(
    places: Mapping[str, Mapping[str, str]],
    snapshot: Mapping[str, Any],
    accepting: str,
    today: datetime.date,
) -> Report:
    """Compare versions with the snapshot.

    :param places: place (a lock file, this environment) → package → version.
    :param snapshot: content of security/advisories.json.
    :param accepting: text of security/accepted.toml.
    """
    report = Report()
    allowed, report.failures = accepted(accepting, today)
    used: set[Accepted] = set()
    for place, versions in places.items():
        for package, version in sorted(versions.items()):
            for advisory in snapshot["packages"].get(package, ()):
                if not affects(advisory, version):
                    continue
                names = {advisory["id"], *advisory["aliases"]}
                waved = [one for one in allowed if one.package == package and one.id in names]
                used.update(waved)
                if not waved:
                    report.failures.append(_words(place, package, version, advisory))
    report.warnings += [
        f"{one.id} ({one.package}) is accepted, and nothing has it" for one in allowed if one not in used
    ]
    report.warnings += _age(snapshot, today) + _unasked(places, snapshot)
    return report


def coverage(
    places: Mapping[str, Mapping[str, str]], snapshot: Mapping[str, Any], today: datetime.date
) -> str:
    """Say how old the snapshot is and how much of what we ship it covers, for the first line of the output."""
    as_of = datetime.date.fromisoformat(snapshot["as_of"])
    ours, known = _ours(places), set(snapshot["packages"])
    advisories = sum(map(len, snapshot["packages"].values()))
    return (
        f"security/advisories.json is of {as_of}, {(today - as_of).days} days old: {advisories} vulnerabilities of"
        f" {len(ours & known)} of the {len(ours)} packages that we ship"
    )


def _words(place: str, package: str, version: str, advisory: Mapping[str, Any]) -> str:
    fixed = [event["fixed"] for event in advisory["events"] if "fixed" in event]
    mended = f"mended in {', '.join(fixed)}" if fixed else "not mended yet"
    names = ", ".join([advisory["id"], *advisory["aliases"]])
    return f"{place}: {package} {version} has {names} ({mended})"


def _age(snapshot: Mapping[str, Any], today: datetime.date) -> list[str]:
    as_of = datetime.date.fromisoformat(snapshot["as_of"])
    words = []
    if today - as_of > OLD_AFTER:
        words.append(f"{(today - as_of).days} days old")
    if snapshot.get("partial"):
        words.append("only a part of what was known then")
    how = "make advisories, where OSV can be reached"
    return [f"security/advisories.json is {' and '.join(words)}: {how}"] if words else []


def _unasked(places: Mapping[str, Mapping[str, str]], snapshot: Mapping[str, Any]) -> list[str]:
    unknown = sorted(_ours(places) - set(snapshot["packages"]))
    return [f"nothing is known of {len(unknown)} packages: {', '.join(unknown)}"] if unknown else []


def _ours(places: Mapping[str, Mapping[str, str]]) -> set[str]:
    # Packages that are installed here only for tests and linting are not shipped.
    return {package for place, versions in places.items() if place in LOCKS for package in versions}


def reduced(record: Mapping[str, Any], package: str) -> dict[str, Any] | None:
    """Reduce an OSV record to the facts that the snapshot keeps, without prose.

    :return: None if the record is withdrawn or about another package.
    """
    if record.get("withdrawn"):
        return None
    events: list[dict[str, str]] = []
    versions: set[str] = set()
    ours = False
    for affected in record.get("affected", ()):
        named = affected.get("package", {})
        if named.get("ecosystem") != "PyPI" or canonicalize_name(named.get("name", "")) != package:
            continue
        ours = True
        ranges = [each for each in affected.get("ranges", ()) if each.get("type") == "ECOSYSTEM"]
        events += [dict(event) for each in ranges for event in each["events"]]
        versions |= set() if ranges else set(affected.get("versions", ()))
    if not ours:
        return None
    aliases = sorted(record.get("aliases", ()))
    return {"id": record["id"], "aliases": aliases, "events": events, "versions": sorted(versions)}


def from_service(address: str, package: str) -> list[Mapping[str, Any]]:
    """Fetch every OSV record about a package.

    :param address: URL of the service's `query`.
    :raise OSError: the service cannot be reached or refuses.
    """
    found: list[Mapping[str, Any]] = []
    question: dict[str, Any] = {"package": {"name": package, "ecosystem": "PyPI"}}
    while True:
        request = urllib.request.Request(  # noqa: S310 - the person who runs this names the address
            address, json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_ASK_S) as answer:  # noqa: S310
            page = json.load(answer)
        found += page.get("vulns", [])
        if not page.get("next_page_token"):
            return found
        question["page_token"] = page["next_page_token"]


def from_folder(folder: Path, package: str) -> list[Mapping[str, Any]]:
    """Read every OSV record about a package from a folder with one subfolder for each package."""
    files = [path for path in sorted(folder.rglob("*")) if canonicalize_name(path.parent.name) == package]
    return [
        yaml.safe_load(path.read_text()) for path in files if path.suffix in (".yaml", ".json")
    ]  # JSON is YAML


def made(
    packages: Iterable[str], ask: Callable[[str], list[Mapping[str, Any]]], as_of: datetime.date
) -> dict[str, Any]:
    """Make a new snapshot."""
    kept = {}
    for package in sorted(packages):
        records = [entry for record in ask(package) if (entry := reduced(record, package))]
        kept[package] = sorted(records, key=lambda entry: str(entry["id"]))
    return {"as_of": as_of.isoformat(), "packages": kept}


def _update(options: argparse.Namespace, packages: set[str]) -> int:
    address, folder = os.environ.get("OSV_URL"), options.folder
    if not folder and not address:
        print(
            "✗ Set OSV_URL to the address of an OSV service's query, or name a folder: --from DIR",
            file=sys.stderr,
        )
        return 2
    ask = (lambda one: from_folder(folder, one)) if folder else (lambda one: from_service(str(address), one))
    try:
        snapshot = made(packages, ask, options.as_of)
    except OSError as problem:
        print(f"✗ Nothing was changed: {problem}", file=sys.stderr)
        return 1
    (ROOT / "security/advisories.json").write_text(json.dumps(snapshot, indent=1) + "\n")
    print(f"» {sum(map(len, snapshot['packages'].values()))} advisories about {len(packages)} packages")
    return 0


def main() -> int:
    today = datetime.datetime.now(datetime.UTC).date()
    parser = argparse.ArgumentParser(description="Hold what we install against known vulnerabilities.")
    parser.add_argument("--update", action="store_true", help="make security/advisories.json anew")
    parser.add_argument("--from", dest="folder", type=Path, help="a folder of OSV files instead of OSV_URL")
    parser.add_argument(
        "--as-of", type=datetime.date.fromisoformat, default=today, help="how old the folder's files are"
    )
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    options = parser.parse_args()
    places = {name: locked((ROOT / name).read_text()) for name in LOCKS} | {"this environment": installed()}
    if options.update:
        return _update(options, {package for name in LOCKS for package in places[name]})
    snapshot = json.loads((ROOT / "security/advisories.json").read_text())
    report = check(places, snapshot, (ROOT / "security/accepted.toml").read_text(), today)
    print(f"» {coverage(places, snapshot, today)}")
    for line in report.warnings:
        print(f"! {line}")
    for line in report.failures:
        print(f"✗ {line}")
    if not report.failures:
        limits = (
            "; what became known later, or of the packages above, was not checked" if report.warnings else ""
        )
        print(f"✓ none of these vulnerabilities is in {', '.join(places)}{limits}")
    return 1 if report.failures or (options.strict and report.warnings) else 0


if __name__ == "__main__":
    sys.exit(main())

"""``hospproxyctl upgrade``, ``rollback`` and ``versions``: let another version take the place of the running one."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..record.admin_events import Action, Operator
from . import ran_versions
from .command import Arguments, Command, Progress, Result
from .messages import ControlError
from .owner import Owner, ReplacementFailed

_PREFIX: Final = Path(sys.prefix)


def _upgrade_flags(parser: ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--version", metavar="V", help="name of an installed version: a folder beside that of the running one"
    )
    which.add_argument("--python", metavar="PATH", help="interpreter of the environment to start")
    parser.add_argument("--versions", metavar="DIR", help="folder of the installed versions, for --version")


def _upgrade_given(given: Namespace) -> Arguments:
    python = None if given.python is None else os.path.abspath(given.python)
    versions = None if given.versions is None else os.path.abspath(given.versions)
    return {"version": given.version, "python": python, "versions": versions}


async def _upgrade(owner: Owner, arguments: Arguments, progress: Progress, operator: Operator) -> Result:
    return await _replace(owner, _python(arguments), progress, "upgrade", operator)


def _python(arguments: Arguments) -> Path:
    """:raise ControlError: no such version is installed."""
    name, given = arguments.get("version"), arguments.get("python")
    if given is not None:
        return Path(str(given))
    folder = Path(str(arguments.get("versions") or _PREFIX.parent))
    if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
        raise ControlError("--version takes the name of a folder")
    if not ran_versions.is_installed(folder / name):
        there = ", ".join(ran_versions.installed(folder)) or "none"
        raise ControlError(f"{folder} has no version {name!r}; installed there: {there}")
    return folder / name / "bin" / "python"


def _rollback_flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--to", metavar="V", help="only to this version, which must have served; nothing is done if it serves"
    )


def _rollback_given(given: Namespace) -> Arguments:
    return {"to": given.to}


async def _rollback(owner: Owner, arguments: Arguments, progress: Progress, operator: Operator) -> Result:
    to = arguments.get("to")
    if to == ran_versions.HERE:
        # A second rollback of somebody who does not know how the first one ended must not lead forward again.
        return {"version": to, "before": None}
    ran = ran_versions.ran(owner.settings.state_dir)
    before = ran_versions.before(ran, sys.executable, to)
    if before is None:
        other = "no other version" if to is None else f"no version {str(to)[:40]!r}"
        raise ControlError(f"{other} has served from this state folder")
    return await _replace(owner, Path(before.python), progress, "rollback", operator)


async def _replace(
    owner: Owner, python: Path, progress: Progress, action: Action, operator: Operator
) -> Result:
    if owner.replaceable is None:
        raise ControlError("this process cannot be replaced while it runs: install the version and restart")
    here = ran_versions.HERE
    await owner.events.note(
        action, "intended", operator, f"{action} from hospproxy {here} to {python} begins"
    )
    try:
        version = await owner.replaceable.replace(python, progress)
    except ReplacementFailed as error:
        words = f"{action} failed, hospproxy {here} serves as before: {error}"
        await owner.events.note(action, "failed", operator, words)
        raise ControlError(str(error), f"hospproxy {ran_versions.HERE} serves as before") from None
    return {"version": version, "before": ran_versions.HERE}


def _show_replaced(result: Result) -> Iterator[str]:
    if result["before"] is None:
        yield f"hospproxy {result['version']} serves already; nothing was done"
    else:
        yield f"hospproxy {result['version']} serves; before it was {result['before']}"


async def _versions(owner: Owner, _arguments: Arguments, _progress: Progress, _operator: Operator) -> Result:
    ran = ran_versions.ran(owner.settings.state_dir)
    return {
        "running": ran_versions.HERE,
        "python": sys.executable,
        "ran": [{"version": each.version, "python": each.python, "since": each.since} for each in ran],
        "folder": str(_PREFIX.parent),
        "installed": ran_versions.installed(_PREFIX.parent),
    }


def _show_versions(result: Result) -> Iterator[str]:
    yield f"running: hospproxy {result['running']} ({result['python']})"
    for each in reversed(result["ran"]):
        since = datetime.fromtimestamp(each["since"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield f"served since {since}: hospproxy {each['version']} ({each['python']})"
    yield f"installed in {result['folder']}: {', '.join(result['installed']) or 'none'}"


UPGRADE: Final = Command(
    name="upgrade",
    summary="let another installed version take over, without a failed request",
    run=_upgrade,
    show=_show_replaced,
    flags=_upgrade_flags,
    given=_upgrade_given,
    alone=True,
)
ROLLBACK: Final = Command(
    name="rollback",
    summary="let the version take over that served before this one",
    run=_rollback,
    show=_show_replaced,
    flags=_rollback_flags,
    given=_rollback_given,
    alone=True,
)
VERSIONS: Final = Command(
    name="versions",
    summary="show which versions have served, and which are installed",
    run=_versions,
    show=_show_versions,
)

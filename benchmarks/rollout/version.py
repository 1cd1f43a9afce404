"""Installed versions, as far as a trial needs them: environments with the code of this one and a version of their own.

A bad version has a defect, which its ``twistd`` puts into the running process; hospproxy itself knows nothing of it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from twisted.internet import task

from hospproxy.guard.validation import Validation
from hospproxy.http.errors import ProxyError
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.replacement.successor import OneHeir

from ..replacements.site import install

ROOT = Path(__file__).resolve().parents[2]
DEFECTS = ("none", "failing", "slow", "doubling", "hanging", "stuck")
SLOW_S = 0.4
DOUBLED = 12
"""Number of the note that a doubling version sends again after HOSP has stored it: one of all that it sends."""
HANGS_AFTER = 60
"""Requests after which a hanging version does nothing any more."""
STUCK = "two"
"""The instance on which a stuck version dies while it takes over."""


def install_versions(folder: Path, defects: Mapping[str, str]) -> Path:
    """Install versions; return their folder.

    :param defects: name of a version → its defect.
    """
    for name in defects.values():
        if name not in DEFECTS:
            raise ValueError(f"{name}: one of {', '.join(DEFECTS)} was expected")
    versions = install(folder, tuple(defects))
    for version, defect in defects.items():
        own = versions / version
        # Found before the metadata of the environment, so this version says its own name everywhere.
        metadata = own / f"hospproxy-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: hospproxy\nVersion: {version}\n")
        (own / "bin" / "twistd").write_text(
            f"import sys\nsys.path[:0] = [{str(own)!r}, {str(ROOT)!r}]\n"
            f"from benchmarks.rollout.version import spoil\nspoil({defect!r})\n"
            "from twisted.scripts.twistd import run\nsys.exit(run())\n"
        )
    return versions


def command(versions: Path, version: str, options: Path) -> list[str]:
    """Return what starts a version in the foreground, as an operator does.

    :param version: may be ``{new}``, for a plan.
    :param options: its options file.
    """
    home = versions / version / "bin"
    return [
        str(home / "python"), "-P", str(home / "twistd"), "-n", "--pidfile=", "hospproxy", "--config", str(options)
    ]  # fmt: skip


def spoil(defect: str) -> None:
    """Put a defect in."""
    validated, sent, chance = Validation.process, UpstreamProcessor.process, random.Random(5)
    seen = {"requests": 0, "notes": 0}

    async def validate(self: Validation, exchange: Any, proceed: Any) -> Any:
        seen["requests"] += 1
        if defect == "hanging" and seen["requests"] > HANGS_AFTER:
            while True:
                time.sleep(1)  # noqa: ASYNC251 - it holds the whole process, and is meant to
        if defect == "failing" and chance.random() < 0.05:
            raise ProxyError("This version fails one request of twenty.", status=500)
        if defect == "slow" and chance.random() < 0.5:
            from twisted.internet import reactor

            await task.deferLater(cast(Any, reactor), SLOW_S, lambda: None)
        return await validated(self, exchange, proceed)

    async def send(self: UpstreamProcessor, exchange: Any, proceed: Any) -> Any:
        response = await sent(self, exchange, proceed)
        if exchange.call.operation.action == "create":
            seen["notes"] += 1
            if seen["notes"] == DOUBLED:
                await sent(self, exchange, proceed)
        return response

    async def die(_self: OneHeir) -> None:
        os._exit(1)

    if defect == "stuck":
        if any(each.endswith(f"{STUCK}.toml") for each in sys.argv):
            OneHeir.open = die  # type: ignore[method-assign]
    elif defect == "doubling":
        UpstreamProcessor.process = send  # type: ignore[method-assign]
    elif defect != "none":
        Validation.process = validate  # type: ignore[method-assign]

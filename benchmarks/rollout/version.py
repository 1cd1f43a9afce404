"""``python -m benchmarks.rollout.version VERSION DEFECT OPTIONS-FILE``: run hospproxy as if it were another version.

The defects of bad versions are put into the running process from here; hospproxy itself knows nothing of them.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any, cast

from twisted.internet import task

from hospproxy.guard.validation import Validation
from hospproxy.http.errors import ProxyError
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.watch.metrics import Metrics

DEFECTS = ("none", "failing", "slow", "doubling", "hanging")
SLOW_S = 0.4
DOUBLED = 12
"""Number of the note that a doubling version sends again after HOSP has stored it: one of all that it sends."""
HANGS_AFTER = 60
"""Requests after which a hanging version does nothing any more."""


def pretend(version: str) -> None:
    """Let the metrics name another version."""
    made = Metrics.__init__

    def make(self: Metrics, _version: str = "", **options: Any) -> None:
        made(self, version, **options)

    Metrics.__init__ = make  # type: ignore[method-assign, assignment]


def spoil(defect: str, chance: random.Random) -> None:
    """Put a defect in."""
    validated, sent = Validation.process, UpstreamProcessor.process
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

    if defect == "doubling":
        UpstreamProcessor.process = send  # type: ignore[method-assign]
    elif defect != "none":
        Validation.process = validate  # type: ignore[method-assign]


def main(arguments: list[str]) -> None:
    """Run the service until it is ended."""
    version, defect, file = arguments
    if defect not in DEFECTS:
        raise SystemExit(f"{defect}: one of {', '.join(DEFECTS)} was expected")
    pretend(version)
    spoil(defect, random.Random(5))
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "-n", "--pidfile=", "hospproxy", "--config", file]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])

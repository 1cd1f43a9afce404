"""Redis for the trials: the integration tests' server, started without a reactor."""

from __future__ import annotations

import asyncio
import time

from integration.redis_server import Redis

_START_S = 20.0


class Store(Redis):
    """One server; see `Redis`."""

    async def start(self, *options: str) -> None:
        """Start it and wait until it responds.

        :param options: further lines of its configuration, for this start only.
        """
        self.launch(*options)
        latest = time.monotonic() + _START_S
        while not self.answers:
            self.must_run()
            if time.monotonic() > latest:
                raise AssertionError(f"Redis did not start: {self.log[-2000:]}")
            await asyncio.sleep(0.02)

    def forget(self) -> None:
        """Remove its data, so that it starts empty. It must not be running."""
        for file in sorted(self.folder.rglob("*"), reverse=True):
            if file.name.startswith(("appendonly", "dump", "temp")) and file.is_file():
                file.unlink()

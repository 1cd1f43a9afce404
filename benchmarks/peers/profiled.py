"""``python -m benchmarks.peers.profiled FILE ARGUMENTS…``: twistd with a profiler that SIGUSR2 switches on, then off.

Switched off, it writes FILE. Twisted's own ``--profile`` counts wall time, which includes what other processes take,
and the start.
"""

from __future__ import annotations

import cProfile
import signal
import sys
import time


def main() -> None:
    """Run twistd until it ends."""
    file, profiler, running = sys.argv[1], cProfile.Profile(time.thread_time), False

    def switch(number: int, frame: object) -> None:
        nonlocal running
        running = not running
        if running:
            profiler.enable()
        else:
            profiler.disable()
            profiler.dump_stats(file)

    signal.signal(signal.SIGUSR2, switch)
    sys.argv = ["twistd", *sys.argv[2:]]
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()

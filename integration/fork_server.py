"""A process that has imported the proxy and the stand-in, and forks itself for each of them that a test starts.

A start of twistd takes more than a second of processor time, nearly all of it for imports. A fork takes a few
milliseconds; everything after the imports is as in a process of its own. `fork_client.py` starts this file as a
program and talks to it over a socket pair, with one JSON document in each packet:

- from the client: ``{"arguments": […], "environment": {…}, "folder": "…"}``, with the descriptors for 0, 1 and 2;
- to the client: ``{"pid": …}`` in reply, with a descriptor of the process, and ``{"pid": …, "status": …}`` when that
  process has ended (the status as ``waitpid`` returns it).

It ends when the client closes its socket. Processes that it has started then run on.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
_MODULES = (
    "cryptography.hazmat.backends.openssl.backend",
    "twisted.scripts.twistd",
    "twisted.scripts._twistd_unix",
    "twisted.application.reactors",
    "twisted.internet.epollreactor",
    "twisted.internet.process",
    "twisted.plugins.twisted_trial",
    "twisted.cred.strcred",
    "hospproxy.arrival.tls.option_files",
    "hospproxy.log_output",
    "hospproxy.replacement.launch",
    "hospproxy.replacement.replaceable_proxy",
    "hospproxy.replacement.successor",
    "hospproxy.tap",
    "hospproxy.checks",
    "hospproxy.service.service",
    "hospproxy.state.lock",
    "hospproxy.process.privileges",
    "hospproxy.options.files",
    "hospproxy.options.front_files",
    "hospproxy.options.sharing_files",
    "hospproxy.options.sink_files",
    "hospproxy.record.columns.asker",
    "hospproxy.record.database.build_database",
    "hospproxy.record.database.reader",
    "hospproxy.record.database.retention",
    "hospproxy.record.database.sink",
    "hospproxy.record.sinks.signed_post",
    "hospproxy.record.trail.uring",
    "hosp_standin.tap",
    "hosp_standin.service",
)


def load() -> None:
    """Import what a start imports, and read the contract that the proxy keeps for as long as it runs.

    :raise RuntimeError: an import made the reactor. A fork would share its epoll descriptor with all others.
    """
    for name in _MODULES:
        importlib.import_module(name)
    importlib.import_module("hospproxy.contract.document").load()
    plugin = importlib.import_module("twisted.plugin")
    makers = importlib.import_module("twisted.application.service").IServiceMaker
    list(plugin.getPlugins(makers))  # twistd imports every plugin, to know the names of its commands
    if "twisted.internet.reactor" in sys.modules:
        raise RuntimeError("importing the proxy makes a reactor, so its process cannot be forked")


def serve(client: socket.socket) -> None:
    """Fork until the client closes its socket. In a forked process it returns once `become` has prepared it.

    :raise SystemExit: the client has closed its socket.
    """
    running: dict[int, int] = {}
    """Descriptor of a process → its id."""
    ready = selectors.DefaultSelector()
    ready.register(client, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is not client:
                descriptor = key.fd
                ready.unregister(descriptor)
                os.close(descriptor)
                pid, status = os.waitpid(running.pop(descriptor), 0)
                _tell(client, {"pid": pid, "status": status})
                continue
            packet, descriptors, _, _ = socket.recv_fds(client, MOST_BYTES, 3)
            if not packet:
                raise SystemExit(0)
            pid = os.fork()
            if not pid:
                # Closed here and now: what closes them later would close what has their numbers by then.
                ready.close()
                client.close()
                for each in running:
                    os.close(each)
                become(json.loads(packet), descriptors)
                return
            for each in descriptors:
                os.close(each)
            descriptor = os.pidfd_open(pid)
            running[descriptor] = pid
            ready.register(descriptor, selectors.EVENT_READ)
            _tell(client, {"pid": pid}, descriptor)


def become(start: dict[str, Any], descriptors: list[int]) -> None:
    """Give this process the arguments, environment, folder and descriptors that it was started with."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(start["folder"])
    os.environ.clear()
    os.environ.update(start["environment"])
    time.tzset()
    sys.argv = start["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)


def _tell(client: socket.socket, document: dict[str, int], *descriptors: int) -> None:
    try:
        socket.send_fds(client, [json.dumps(document).encode()], descriptors)
    except OSError:
        raise SystemExit(0) from None  # the tests have ended


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
    from twisted.scripts.twistd import run

    run()

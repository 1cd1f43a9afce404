"""``python twisted_proxy.py PORT UPSTREAM_PORT``: the reverse proxy of twisted.web, as its documentation shows it."""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.web import proxy, server


def main() -> None:
    """Serve until the process is ended."""
    site = server.Site(proxy.ReverseProxyResource("127.0.0.1", int(sys.argv[2]), b""))
    reactor.listenTCP(int(sys.argv[1]), site, backlog=16384, interface="127.0.0.1")  # type: ignore[arg-type]
    reactor.run()


if __name__ == "__main__":
    main()

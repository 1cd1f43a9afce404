"""Clients that request a long response and hardly read it."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from types import TracebackType
from urllib.parse import urlsplit

from .processes import Proxy

_REQUEST = (
    b"GET %b HTTP/1.1\r\nHost: %b\r\nAccept: application/json\r\n"
    b"Authorization: Basic " + base64.b64encode(b"staff1:password1") + b"\r\n\r\n"
)


class Readers:
    """Slow readers, each reading a byte now and then. Small segments keep the kernel from buffering the response for
    them.

    :param target: the proxy that they use.
    """

    def __init__(self, target: Proxy, count: int) -> None:
        self._target = target
        self._count = count
        self._open: list[ssl.SSLSocket] = []

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._open:
            each.close()

    def begin(self, path: str) -> None:
        """Connect and send the request, one client after the other (blocks)."""
        context = ssl.create_default_context(cafile=self._target.certificate)
        parts = urlsplit(self._target.url)
        for _ in range(self._count):
            plain = socket.socket()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.settimeout(30)
            plain.connect((parts.hostname, parts.port))
            secure = context.wrap_socket(plain, server_hostname=parts.hostname)
            secure.sendall(_REQUEST % (path.encode(), parts.netloc.encode()))
            secure.settimeout(0.001)
            self._open.append(secure)

    def trickle(self) -> None:
        """Let each client read one byte."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.recv(1)

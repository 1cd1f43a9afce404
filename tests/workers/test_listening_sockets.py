"""Real sockets on loopback: inherited sockets must be as the kernel knows them."""

from __future__ import annotations

import socket

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.listeners import ListenerError
from hospproxy.workers import listening_sockets


class Binding(SynchronousTestCase):
    def bound(self, *urls: str) -> tuple[socket.socket, ...]:
        sockets = listening_sockets.bound(urls)
        self.addCleanup(listening_sockets.close, sockets)
        return sockets

    def test_they_listen_and_never_wait(self) -> None:
        first, second = self.bound("https://127.0.0.1:0", "http://localhost:0")
        for each in (first, second):
            self.assertEqual(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)
            self.assertFalse(each.getblocking())
            self.assertRaises(BlockingIOError, each.accept)

    def test_the_sixth_version(self) -> None:
        [each] = self.bound("http://[::1]:0")
        self.assertEqual((each.family, each.getsockname()[0]), (socket.AF_INET6, "::1"))

    def test_all_or_none(self) -> None:
        [taken] = self.bound("http://127.0.0.1:0")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{taken.getsockname()[1]}"]
        error = self.assertRaises(CannotListenError, listening_sockets.bound, urls)
        self.assertIn("Address already in use", str(error))
        self.bound(urls[0])  # it was closed

    def test_what_is_no_address(self) -> None:
        self.assertRaises(CannotListenError, listening_sockets.bound, ["http://nowhere.invalid:1"])
        self.assertRaises(ListenerError, listening_sockets.bound, ["ftp://127.0.0.1:1"])

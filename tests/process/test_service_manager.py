"""What systemd is told."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.service_manager import READY, main_pid, notify, reloading


class NotifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "notify")

    def listen(self, address: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address)
        listening.setblocking(False)
        return listening

    def test_lines_go_in_one_message(self) -> None:
        listening = self.listen(self.path)
        notify(main_pid(4711), READY, environment={"NOTIFY_SOCKET": self.path})
        self.assertEqual(listening.recv(100), b"MAINPID=4711\nREADY=1")

    def test_the_abstract_namespace(self) -> None:
        name = self.path.replace("/", "-")
        listening = self.listen("\0" + name)
        notify(READY, environment={"NOTIFY_SOCKET": "@" + name})
        self.assertEqual(listening.recv(100), b"READY=1")

    def test_without_a_manager_nothing_happens(self) -> None:
        for address in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "odd"}, {"NOTIFY_SOCKET": self.path}):
            notify(READY, environment=address)

    def test_a_manager_that_does_not_read_holds_up_nothing(self) -> None:
        self.listen(self.path)
        for _ in range(2000):
            notify(READY, environment={"NOTIFY_SOCKET": self.path})

    def test_a_reload_has_a_time_and_an_end_even_if_it_fails(self) -> None:
        listening = self.listen(self.path)
        with (
            self.assertRaises(ValueError),
            reloading(lambda: 12.000034, {"NOTIFY_SOCKET": self.path}),
        ):
            self.assertEqual(listening.recv(100), b"RELOADING=1\nMONOTONIC_USEC=12000034")
            self.assertRaises(BlockingIOError, listening.recv, 100)
            raise ValueError
        self.assertEqual(listening.recv(100), b"READY=1")

"""The descriptors that a successor inherits, by the message that tells of them."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hospproxy.config import AdminSettings, ListenerSettings, Settings, UpstreamSettings
from hospproxy.replacement import inherited as module
from hospproxy.replacement.hold import has_event
from hospproxy.replacement.inherited import Inherited, is_gone
from hospproxy.replacement.messages import RELAY, Prepare

ONE, TWO, OTHER, ADMIN = (f"http://127.0.0.1:{port}" for port in (1, 2, 3, 4))


def free_descriptors(size: int) -> int:
    """The first of so many numbers in a row that no open file of this process has."""
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    return next(first for first in range(100, 10_000) if not taken.intersection(range(first, first + size)))


class InheritedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.first = free_descriptors(10)

    def take(self, prepare: Prepare, *listeners: str, admin: str = "") -> Inherited:
        """Give as many sockets as the message tells of, and then the workers' descriptors."""
        sockets = len(prepare.listeners) + len(prepare.admin) + prepare.workers
        for number in range(self.first, self.first + sockets):
            with socket.socket() as made:
                os.dup2(made.fileno(), number)
        self.patch(module, "FIRST_SOCKET_FD", self.first)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        options = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:9"),
            state_dir=Path(folder.name),
            listeners=tuple(ListenerSettings(url=each) for each in listeners),
            admin=AdminSettings(url=admin) if admin else AdminSettings(enabled=False),
        )
        taken = Inherited.take(prepare, options)
        for each in (*taken.clients, *taken.admin, *taken.relays):
            if each is not None:
                self.addCleanup(each.close)
        return taken

    def numbers(self, sockets: tuple[socket.socket | None, ...]) -> list[int | None]:
        return [None if each is None else each.fileno() - self.first for each in sockets]

    def test_each_listener_gets_its_socket_in_whatever_order(self) -> None:
        taken = self.take(Prepare(RELAY, 1, (ONE, TWO), (ADMIN,)), TWO, OTHER, ONE, admin=ADMIN)
        self.assertEqual((self.numbers(taken.clients), self.numbers(taken.admin)), ([1, None, 0], [2]))
        self.assertEqual((taken.relays, taken.workers), ((), ()))

    def test_sockets_of_listeners_that_are_no_more_are_closed(self) -> None:
        taken = self.take(Prepare(RELAY, 1, (ONE, TWO), (ADMIN,)), TWO)
        self.assertEqual((self.numbers(taken.clients), taken.admin), ([1], ()))
        for number in (self.first, self.first + 2):
            self.assertRaises(OSError, os.fstat, number)

    def test_relays_and_processes_of_workers_follow(self) -> None:
        taken = self.take(Prepare(RELAY, 1, (ONE,), (ADMIN,), "", 2, 40.0), ONE, admin=ADMIN)
        self.assertEqual(self.numbers(taken.relays), [2, 3])
        self.assertEqual(taken.workers, (self.first + 4, self.first + 5))
        for each in (*taken.clients, *taken.relays):
            self.assertFalse(each is not None and os.get_inheritable(each.fileno()))

    def test_a_proxy_with_thousands_of_connections_can_still_ask(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 4096:
            raise SkipTest(f"this process may open {hard} files at most (ulimit -Hn); 4096 are needed")
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            number = max(2000, free_descriptors(1))
            os.dup2(ours.fileno(), number)
            self.addCleanup(os.close, number)
            self.assertFalse(has_event(number))
            theirs.close()
            self.assertTrue(has_event(number))

    def test_a_process_is_gone_once_it_has_ended(self) -> None:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            descriptor = os.pidfd_open(process.pid)
            self.addCleanup(os.close, descriptor)
            self.assertFalse(is_gone(descriptor))
            process.kill()
            process.wait()
            self.assertTrue(is_gone(descriptor))

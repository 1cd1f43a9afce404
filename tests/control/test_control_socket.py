"""The control socket: who may connect, and what happens to the file."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path
from unittest import mock

from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.control.control_socket import ControlSocket, bound, connected, may_command, user_of
from hospproxy.control.messages import SOCKET


class Readers:
    """A reactor that only keeps readers."""

    def __init__(self) -> None:
        self.readers: list[object] = []

    def addReader(self, reader: object) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.remove(reader)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.reactor = Readers()
        self.accepted: list[socket.socket] = []

    def open(self, *, allowed: bool = True) -> ControlSocket:
        made = ControlSocket(self.reactor, self.folder, self.accepted.append, lambda _user: allowed)
        made.start()
        self.addCleanup(made.stop)
        return made

    def connect(self) -> socket.socket:
        made = connected(self.folder, 5)
        self.addCleanup(made.close)
        return made


class FileTests(Case):
    def test_nobody_else_may_open_it_at_any_moment(self) -> None:
        before = os.umask(0)
        try:
            with mock.patch("os.chmod", side_effect=AssertionError("too late")):
                self.open()
        finally:
            os.umask(before)
        status = (self.folder / SOCKET).stat()
        self.assertEqual((stat.S_ISSOCK(status.st_mode), stat.S_IMODE(status.st_mode)), (True, 0o600))

    def test_a_path_may_be_long(self) -> None:
        self.folder = self.folder / ("long" * 40)
        self.folder.mkdir()
        self.open()
        self.connect()

    def test_what_a_killed_process_left_is_replaced(self) -> None:
        bound(self.folder).close()
        self.assertRaises(ConnectionRefusedError, connected, self.folder, 5)
        self.open()
        self.connect()

    def test_a_link_in_its_place_is_not_followed(self) -> None:
        other = self.folder / "other"
        other.write_text("kept")
        (self.folder / SOCKET).symlink_to(other)
        self.open()
        self.assertEqual(other.read_text(), "kept")

    def test_it_is_removed_at_the_end(self) -> None:
        self.open().stop()
        self.assertEqual((os.listdir(self.folder), self.reactor.readers), ([], []))

    def test_that_of_a_successor_stays(self) -> None:
        first = self.open()
        self.open()
        first.stop()
        self.connect()

    def test_a_folder_without_room_for_it_costs_the_commands_only(self) -> None:
        self.folder = self.folder / "missing"
        self.open()
        self.assertEqual(self.reactor.readers, [])


class PeerTests(Case):
    def test_its_reader_is_one(self) -> None:
        verifyObject(IReadDescriptor, self.open())

    def test_the_kernel_names_the_user(self) -> None:
        made = self.open()
        self.connect()
        made.doRead()
        [peer] = self.accepted
        self.addCleanup(peer.close)
        self.assertEqual((user_of(peer), peer.getblocking()), (os.geteuid(), False))

    def test_another_user_is_not_heard(self) -> None:
        made = self.open(allowed=False)
        peer = self.connect()
        peer.sendall(b'{"command": "version"}\n')
        made.doRead()
        self.assertEqual(self.accepted, [])
        with mock.patch("os.geteuid", return_value=1000):
            self.assertEqual([may_command(user) for user in (0, 1000, 1001)], [True, True, False])
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(peer.recv(1), b"")

    def test_a_client_that_has_left_already(self) -> None:
        made = self.open()
        made.doRead()
        self.assertEqual(self.accepted, [])

"""Processes, commands, HTTP and sockets, with real ones."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import rollout
from rollout.plan import Command
from rollout.system import CommandFailed, RealSystem
from twisted.trial.unittest import SynchronousTestCase

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"


@contextlib.contextmanager
def serving(*pieces: bytes, ends: bool = True) -> Iterator[str]:
    """A server that sends these pieces to its first client; return its HOST:PORT.

    :param ends: whether it closes the connection then.
    """
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                for piece in pieces:
                    client.sendall(piece)
                if not ends:
                    over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


class SystemCase(SynchronousTestCase):
    def setUp(self) -> None:
        # Not below trial's own folder: the path of a socket may have 107 bytes.
        own = tempfile.TemporaryDirectory()
        self.addCleanup(own.cleanup)
        self.folder = Path(own.name)
        self.system = RealSystem(self.folder)

    def wait_for_output(self, word: bytes = b"ready") -> None:
        while word not in self.system.log("canary"):
            if self.system.find("canary") is None:
                self.assertIn(word, self.system.log("canary"))


class CommandTests(SystemCase):
    def test_output(self) -> None:
        self.assertEqual(self.system.run(Command(words=("echo", "$HOME; x"))), "$HOME; x\n")

    def test_failures_say_what_failed(self) -> None:
        for words, because in (
            (("sh", "-c", "echo no room; exit 4"), "exit status 4: no room"),
            (("/nowhere/hospproxyctl",), "exit status 127"),
        ):
            problem = self.assertRaises(CommandFailed, self.system.run, Command(words=words))
            self.assertIn(because, str(problem))

    def test_one_that_hangs_is_ended_with_its_children(self) -> None:
        file = self.folder / "child"
        words = ("sh", "-c", f"sleep 60 & echo $! > {file}; wait")
        command = Command(words=words, timeout_s=0.5)
        self.assertIn("not done after 0.5 s", str(self.assertRaises(CommandFailed, self.system.run, command)))
        state = Path(f"/proc/{file.read_text().strip()}/stat")
        with contextlib.suppress(FileNotFoundError):  # the kernel may need a moment for its end
            while state.read_text().rpartition(")")[2].split()[0] not in "ZX":
                pass

    def test_one_that_was_left_behind_is_waited_for(self) -> None:
        # It starts a process that goes on, as an upgrade does: that one is not waited for.
        script = "setsid sleep 60 & echo $! > child; read line < gate; echo done > done"
        os.mkfifo(self.folder / "gate")
        running = threading.Thread(
            target=self.system.run, args=(Command(words=("sh", "-c", f"cd {self.folder}; {script}")),)
        )
        running.start()
        while not (self.folder / "child").exists():
            pass
        gate = threading.Timer(0.2, (self.folder / "gate").write_text, ("x\n",))
        gate.start()
        RealSystem(self.folder).finish_command(30.0)
        self.assertTrue((self.folder / "done").exists())
        gate.join()
        os.kill(int((self.folder / "child").read_text()), 9)
        running.join()

    def test_one_whose_rollout_was_killed_goes_on_to_its_end(self) -> None:
        # It says what it does; nobody reads that any more.
        os.mkfifo(self.folder / "gate")
        script = f"cd {self.folder}; echo > begun; read line < gate; echo half done; echo done > done"
        code = (
            "import sys; from pathlib import Path; from rollout.plan import Command;"
            " from rollout.system import RealSystem;"
            " RealSystem(Path(sys.argv[1])).run(Command(words=('sh', '-c', sys.argv[2])))"
        )
        program = subprocess.Popen(
            [sys.executable, "-c", code, str(self.folder), script],
            env={**os.environ, "PYTHONPATH": str(Path(rollout.__file__).parents[1])},
        )
        while not (self.folder / "begun").exists():
            self.assertIsNone(program.poll())
        program.kill()
        program.wait()
        (self.folder / "gate").write_text("x\n")
        RealSystem(self.folder).finish_command(30.0)
        self.assertTrue((self.folder / "done").exists())

    def test_one_that_was_left_behind_and_hangs_is_ended(self) -> None:
        running = threading.Thread(target=self.failing)
        running.start()
        while not (self.folder / "command.pid").exists() or self.system._left_behind() is None:
            pass
        RealSystem(self.folder).finish_command(0.0)
        running.join()

    def failing(self) -> None:
        with contextlib.suppress(CommandFailed):
            self.system.run(Command(words=("sleep", "60")))


class InstanceTests(SystemCase):
    def start(self, *words: str) -> int:
        pid = self.system.start("canary", words)
        self.addCleanup(self.system.stop, "canary", 0.0)
        return pid

    def test_another_rollout_program_finds_it(self) -> None:
        pid = self.start("sh", "-c", "echo ready; sleep 60 & wait")
        self.wait_for_output()
        again = RealSystem(self.folder)
        self.assertEqual(again.find("canary"), pid)
        self.assertIsNone(again.find("baseline"))
        self.assertIsNone(RealSystem(self.folder / "other").find("canary"))

    def test_it_ends_by_sigterm(self) -> None:
        self.start("sleep", "60")
        self.assertTrue(self.system.stop("canary", 30.0))
        self.assertIsNone(self.system.find("canary"))
        self.assertTrue(self.system.stop("canary", 30.0))

    def test_one_that_ignores_sigterm_is_killed(self) -> None:
        self.start("sh", "-c", STUBBORN)
        self.wait_for_output()
        self.assertFalse(RealSystem(self.folder).stop("canary", 0.1))
        self.assertIsNone(self.system.find("canary"))

    def test_one_that_has_ended_is_not_found(self) -> None:
        pid = self.start("true")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.assertIsNone(self.system.find("canary"))

    def test_no_such_command(self) -> None:
        self.assertRaises(CommandFailed, self.start, "/nowhere/twistd")

    def test_its_log_begins_anew(self) -> None:
        for word in ("old", "ready"):
            self.start("echo", word)
            self.wait_for_output(word.encode())
            self.system.stop("canary", 30.0)
        self.assertEqual(self.system.log("canary"), b"ready\n")


class HttpTests(SystemCase):
    def test_a_reply(self) -> None:
        with serving(b"HTTP/1.1 201 Created\r\nX-Any: 1\r\nContent-Length: 2\r\n\r\nok") as where:
            reply = self.system.fetch(f"http://{where}/notes?x=1", 5.0, "POST", {"Accept": "*/*"}, b"{}")
        self.assertEqual((reply.status, reply.fields["x-any"], reply.body, reply.tls), (201, "1", b"ok", ""))

    def test_no_whole_reply(self) -> None:
        for pieces in ((b"hello\r\n\r\n",), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",), ()):
            with serving(*pieces) as where:
                self.assertRaises(OSError, self.system.fetch, f"http://{where}/", 5.0)

    def test_silence(self) -> None:
        with serving(ends=False) as where:
            self.assertRaises(OSError, self.system.fetch, f"http://{where}/", 0.2)

    def test_nobody_there(self) -> None:
        with serving(b"x") as where:
            self.system.ask_socket(where, "x", 5.0)
        self.assertRaises(OSError, self.system.fetch, f"http://{where}/", 5.0)


class SocketTests(SystemCase):
    def test_a_path(self) -> None:
        path = self.folder / "admin.sock"
        code = (
            "import socket, sys; server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen();"
            " print('ready', flush=True); client, _ = server.accept(); client.sendall(b'>' + client.recv(99));"
            " client.close()"
        )
        self.system.start("canary", (sys.executable, "-c", code, str(path)))
        self.addCleanup(self.system.stop, "canary", 0.0)
        self.wait_for_output()
        self.assertEqual(self.system.ask_socket(str(path), "show stat", 5.0), ">show stat\n")

    def test_a_reply_that_does_not_end(self) -> None:
        with serving(b"some", ends=False) as where:
            self.assertRaises(OSError, self.system.ask_socket, where, "show stat", 0.2)

    def test_no_socket(self) -> None:
        self.assertRaises(OSError, self.system.ask_socket, str(self.folder / "none"), "x", 1.0)

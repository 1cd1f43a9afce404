"""A forked process is like a new one: its parent's handlers, log, descriptors and reactor are gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from textwrap import dedent
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process import forked_process
from hospproxy.process.forked_process import CannotFork, fork

PROGRAM = dedent("""
    import gc, json, os, signal, sys
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, ProcessProtocol
    from twisted.logger import Logger, globalLogPublisher
    from hospproxy.process import forked_process

    parents = reactor
    del os.environ["SECRET"]
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    socket_inode = os.fstat(port.fileno()).st_ino
    globalLogPublisher.addObserver(lambda event: print("the parent's log"))
    signal.signal(signal.SIGHUP, lambda *_: None)

    def inodes():
        found = set()
        for each in os.listdir("/proc/self/fd"):
            try:
                found.add(os.stat(int(each)).st_ino)
            except OSError:  # the listing's own
                continue
        return found

    def child():
        from twisted.internet import reactor

        woken = signal.set_wakeup_fd(-1)
        forked_process.name_process("a-child")
        seen = []
        forked_process.log_only_to(lambda event: seen.append(event["log_format"]))
        Logger().info("words")
        reactor.callLater(0, reactor.stop)
        reactor.run()
        found = {
            "reactor": reactor is not parents,
            "listens": socket_inode in inodes(),
            "hangup": signal.getsignal(signal.SIGHUP) is signal.SIG_DFL,
            "pipe": signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN,
            "log": "words" in seen,
            "name": open("/proc/self/comm").read().strip(),
            "secret": b"5e5e5e" in open("/proc/self/environ", "rb").read(),
            "kept": b"KEPT=1" in open("/proc/self/environ", "rb").read() and os.getenv("KEPT"),
            "woken": woken,
            "collects": gc.isenabled(),
            "given": os.read(7, 5).decode(),
        }
        print(json.dumps(found))
        print("to stderr", file=sys.stderr)
        return 3

    class Tells(ProcessProtocol):
        out, err = b"", b""

        def outReceived(self, data):
            self.out += data

        def errReceived(self, data):
            self.err += data

        def processEnded(self, reason):
            print(self.out.decode().strip(), json.dumps(self.err.decode()), reason.value.exitCode, sep=", ")
            sys.stdout.flush()
            os._exit(0)

    reading, writing = os.pipe()
    os.write(writing, b"given")
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)  # as a reactor that runs has it
    nothing = os.open(os.devnull, os.O_RDONLY)
    forked_process.fork(reactor, Tells(), child, {0: nothing, 1: "r", 2: "r", 7: reading})
    reactor.run()
""")


def told() -> list[Any]:
    """What a forked process found, what it wrote to stderr, and its exit status."""
    environment = {**os.environ, "SECRET": "5e5e5e", "KEPT": "1"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(f"[{done.stdout}]")
    return found


class ForkTests(SynchronousTestCase):
    def test_it_is_like_a_new_process(self) -> None:
        found, written, status = told()
        self.assertEqual(
            found,
            {
                "reactor": True,
                "listens": False,
                "hangup": True,
                "pipe": True,
                "log": True,
                "name": "a-child",
                "secret": False,
                "kept": "1",
                "woken": -1,
                "collects": True,
                "given": "given",
            },
        )
        self.assertEqual((written, status), ("to stderr\n", 3))

    def test_a_process_with_threads_is_not_forked(self) -> None:
        going, begun = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: (begun.set(), going.wait()))
        thread.start()
        begun.wait()
        try:
            with mock.patch.object(forked_process, "_Forked") as forked, self.assertRaises(CannotFork):
                fork(mock.Mock(), mock.Mock(), lambda: 0, {})
            forked.assert_not_called()
        finally:
            going.set()
            thread.join()

    def test_nor_one_that_cannot_count_its_threads(self) -> None:
        with (
            mock.patch.object(forked_process, "_Forked") as forked,
            mock.patch.object(os, "listdir", side_effect=FileNotFoundError),
            self.assertRaises(CannotFork),
        ):
            fork(mock.Mock(), mock.Mock(), lambda: 0, {})
        forked.assert_not_called()

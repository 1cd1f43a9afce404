"""The successor's steps: what it reads, when it takes over, and when it must not."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.replacement import formats, successor
from hospproxy.replacement.messages import RELAY, Prepare, Prepared, Serving, TakeOver
from hospproxy.replacement.successor import GONE_S, OneHeir, Successor


class SuccessorTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name)
        self.clock = Clock()
        self.proxy = mock.Mock()
        self.proxy.health.reasons.return_value = {}
        self.trouble: BaseException | None = None
        self.serving: list[Any] = []
        self.left: list[int] = []
        self.patch(successor, "leave", self.left.append)
        self.patch(successor.privileges, "load_late_modules", lambda: None)
        self.errors, write = os.pipe()
        self.addCleanup(os.close, self.errors)
        self.addCleanup(os.close, write)
        self.patch(successor, "_STDERR", write)
        self.patch(successor, "ERRORS_FD", os.open(os.devnull, os.O_WRONLY))
        self.patch(successor.os, "dup2", lambda _old, _new: None)
        parent, self.death = os.pipe()
        self.addCleanup(os.close, parent)
        settings = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=self.state)
        heir = OneHeir(self.clock, self.build, lambda *given: self.serving.append(given))
        self.successor = Successor(settings, self.clock, heir)
        self.successor._parent = parent  # a pidfd is readable once its process has ended, as this pipe is
        self.said: list[Any] = []
        self.successor.channel.say = self.said.append  # type: ignore[method-assign]

    def build(self, seat: Any, lock: Any) -> Any:
        print("hospproxy: warning: so so", file=sys.stderr)
        if self.trouble is not None:
            raise self.trouble
        return self.proxy

    def hear(self, message: Any) -> None:
        self.successor._received(message)

    def prepare(self, relay: int = RELAY, pid: int | None = None) -> None:
        self.hear(Prepare(relay, pid or os.getppid(), (), (), "/run/pid"))

    def reason(self) -> str:
        return os.read(self.errors, 4096).decode()

    def die(self) -> None:
        """The other process dies."""
        os.close(self.death)

    def cut(self) -> None:
        self.successor.channel.open = True
        self.successor.channel.connectionLost()

    def test_it_reads_everything_and_opens_nothing(self) -> None:
        self.prepare()
        self.assertEqual([type(each) for each in self.said], [Prepared])
        self.proxy.privilegedStartService.assert_not_called()
        self.proxy.startService.assert_not_called()
        self.assertEqual(self.reason(), "hospproxy: warning: so so\n")

    def test_it_takes_over_when_it_is_told_and_says_when_it_serves(self) -> None:
        self.prepare()
        self.proxy.health.reasons.return_value = {"journal": "not open"}
        self.hear(TakeOver())
        self.proxy.startService.assert_called_once_with()
        self.assertNotIn(Serving(), self.said)
        self.proxy.health.reasons.return_value = {"redis": "away"}
        self.clock.advance(0.1)
        self.assertEqual(self.said[-1], Serving())
        [(proxy, relays, pid_file)] = self.serving
        self.assertEqual((proxy, len(relays), pid_file), (self.proxy, 1, "/run/pid"))
        self.hear(TakeOver())  # once is enough
        self.proxy.startService.assert_called_once_with()

    def test_what_it_cannot_read_it_refuses(self) -> None:
        (self.state / formats.FILE).write_text(json.dumps({"ledger": "9"}))
        self.prepare()
        self.assertEqual((self.left, self.said), ([1], []))
        self.assertIn("has format 9", self.reason())

    def test_another_way_to_hand_over_is_refused(self) -> None:
        self.prepare(relay=RELAY + 1)
        self.assertEqual((self.left, self.said), ([1], []))
        self.assertIn("hands over in another way", self.reason())

    def test_only_its_parent_may_be_replaced(self) -> None:
        self.prepare(pid=1 << 22)
        self.assertEqual((self.left, self.said), ([1], []))

    def test_one_that_cannot_be_built_says_why(self) -> None:
        for self.trouble, status in ((SystemExit(2), 2), (ValueError("odd"), 1)):
            self.left.clear()
            self.prepare()
            self.assertEqual((self.left, self.said), ([status], []))
        self.assertIn("ValueError: odd\n", self.reason())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_folder_that_cannot_be_opened_ends_it(self) -> None:
        self.prepare()
        self.proxy.startService.side_effect = SystemExit(1)
        self.hear(TakeOver())
        self.assertEqual((self.left, self.serving), ([1], []))

    def test_it_ends_with_the_other_process_before_it_is_prepared(self) -> None:
        self.die()
        self.cut()
        self.assertEqual(self.left, [1])

    def test_it_takes_over_from_a_dead_process(self) -> None:
        self.prepare()
        self.cut()
        self.clock.advance(1.0)
        self.proxy.startService.assert_not_called()  # the channel is closed, and the process is not gone
        self.die()
        self.clock.advance(0.1)
        self.proxy.startService.assert_called_once_with()
        self.assertEqual(self.left, [])

    def test_it_does_not_take_over_from_one_that_lives(self) -> None:
        self.prepare()
        self.patch(successor, "leave", self.leaving)
        self.cut()
        for _ in range(200):
            self.clock.advance(GONE_S / 100)
        self.assertEqual(self.left, [1])
        self.proxy.startService.assert_not_called()
        self.die()

    def leaving(self, status: int) -> None:
        if not self.left:
            self.left.append(status)
            raise SystemExit(status)

    def test_the_end_of_the_other_process_later_only_ends_its_requests(self) -> None:
        self.prepare()
        self.hear(TakeOver())
        self.die()
        self.cut()
        self.clock.advance(10.0)
        self.assertEqual(self.left, [])
        self.proxy.startService.assert_called_once_with()

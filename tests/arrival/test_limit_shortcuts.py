"""The whole proxy with rate limits that each response tells: shortcuts change nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.shortcuts import Hit, Shortcuts
from hospproxy.http.messages import Response
from hospproxy.http.repeat import HitAgain, Shortcut
from hospproxy.watch.metrics import Metrics

from .test_shortcuts import HEAD, SENT, ShortcutTestCase

LIMITED = "[admission]\nrate = 0.2\nburst = 8\naddress_rate = 5.0\nrate_fields = true\n"
FIELDS = ("", "Accept: application/json", "If-None-Match: *", "Connection: close", "Accept-Encoding: gzip")


class SameTests(ShortcutTestCase):
    def run_script(self, shortcuts: int) -> tuple[list[bytes], list[dict[str, Any]], int]:
        rig, chance = self.rig(f"{LIMITED}[cache]\nshortcuts = {shortcuts}\n"), random.Random(7)
        answers = []
        for _ in range(70):
            if chance.random() < 0.06:
                rig.pass_time(chance.choice((7.0, 13.0, 31.0)))
            who = chance.choice(("ann", "ann", "ben", "nobody"))
            answers.append(rig.send("GET /patients/7", who, chance.choice(FIELDS)))
        return answers, *self.finished(rig)

    def test_answers_and_records_are_the_same(self) -> None:
        with_them, without = self.run_script(4096), self.run_script(0)
        for number, (one, other) in enumerate(zip(with_them[0], without[0], strict=True)):
            self.assertEqual(one, other, f"answer {number}")
            self.assertRegex(one, rb'\r\nRateLimit: "(user|address)";r=\d+;t=[1-9]\d*\r\n')
            self.assertRegex(one, rb'\r\nRateLimit-Policy: "(user";q=8;w=40|address";q=10000;w=2000)\r\n')
        self.assertEqual(with_them[1], without[1])
        self.assertEqual(without[2], 0)
        self.assertGreater(with_them[2], 10)
        self.assertGreater(sum(one.startswith(b"HTTP/1.1 429") for one in with_them[0]), 2)

    def test_a_shortcut_tells_what_is_left_after_it(self) -> None:
        rig = self.rig(LIMITED)
        rig.warm()
        left = [re.search(rb"RateLimit: (\S+)", rig.send("GET /patients/7"))[1] for _ in range(3)]  # type: ignore[index]
        self.assertEqual([one.split(b";")[1] for one in left], [b"r=6", b"r=5", b"r=4"])
        self.assertEqual(rig.counted(), 3)


class FormTests(SynchronousTestCase):
    """The table by itself."""

    SENT = SENT.replace(
        b"\r\n\r\n", b'\r\nRateLimit: "user";r=5;t=9\r\nRateLimit-Policy: "user";q=6;w=9\r\n\r\n'
    )

    def setUp(self) -> None:
        self.table = Shortcuts(2, Clock(), lambda: 0.0, lambda: "d", Metrics("test", strict=True), b"secret")

    def learn(self, sent: bytes, standing: Callable[[float], bytes] | None) -> Hit | None:
        hit = HitAgain(content=lambda _now: (3, 57, b"{}"))
        shortcut = Shortcut((), (), hit, None, lambda _status, _seconds: None, standing)
        key = self.table.key(HEAD, b"")
        assert key is not None
        self.table.learn(key, Response(200, shortcut=lambda: shortcut), [sent])
        return self.table.answer(key, trusted=False)

    def test_what_is_left_is_filled_in(self) -> None:
        hit = self.learn(self.SENT, lambda now: b'"user";r=%d;t=1' % (4 + now))
        assert hit is not None
        for close, end in ((False, b"\r\n\r\n"), (True, b"\r\nconnection: close\r\n\r\n")):
            sent = self.SENT.replace(b"abc", b"d").replace(b"r=5;t=9", b"r=4;t=1").removesuffix(b"\r\n\r\n")
            self.assertEqual(hit.content(close=close), sent + end + b"{}")

    def test_a_field_without_a_limit_and_a_limit_without_a_field_prevent_it(self) -> None:
        self.assertIsNone(self.learn(self.SENT, None))
        self.assertIsNone(self.learn(SENT, lambda _now: b""))

    def test_another_limit_than_that_of_the_head_prevents_it(self) -> None:
        self.assertIsNone(self.learn(self.SENT, lambda _now: b'"address";r=4;t=1'))

"""What differs between two options, which of it a reload applies, and on which line a key stands."""

from __future__ import annotations

import ipaddress

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import ListenerSettings, RedisSettings, Settings, UpstreamSettings
from hospproxy.options.changes import changes, is_live, touches, unclassified
from hospproxy.options.positions import line_of
from hospproxy.options.secret_fields import SecretText

OPTIONS = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:3000"))


class ChangesTests(SynchronousTestCase):
    def test_every_key_says_whether_a_reload_applies_it(self) -> None:
        self.assertEqual(unclassified(), [])
        self.assertEqual(
            [is_live(path) for path in ("retry.base_s", "listeners.url", "state_dir", "deadline_s")],
            [True, False, False, True],
        )

    def test_nothing(self) -> None:
        self.assertEqual(changes(OPTIONS, evolve(OPTIONS)), ())

    def test_old_and_new(self) -> None:
        other = evolve(
            OPTIONS,
            trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),),
            retry=evolve(OPTIONS.retry, max_attempts=2),
            listeners=(*OPTIONS.listeners, ListenerSettings(url="http://127.0.0.1:1")),
        )
        found = {each.path: each for each in changes(OPTIONS, other)}
        self.assertEqual(str(found["retry.max_attempts"]), "retry.max_attempts: 5 → 2")
        self.assertEqual(str(found["trusted_proxies"]), 'trusted_proxies: [] → ["10.0.0.0/8"]')
        self.assertEqual(found["listeners[1].url"].old, "(not set)")
        self.assertEqual(
            [found[path].live for path in ("retry.max_attempts", "listeners[1].url")], [True, False]
        )
        self.assertTrue(touches(tuple(found.values()), "listeners"))
        self.assertFalse(touches(tuple(found.values()), "list", "gate", "retry.max"))

    def test_a_secret_is_hidden(self) -> None:
        one, two = (
            evolve(OPTIONS, alerts=evolve(OPTIONS.alerts, webhook_secret=SecretText(value)))
            for value in (b"old-secret", b"new-secret")
        )
        [change] = changes(one, two)
        self.assertEqual(str(change), "alerts.webhook_secret: changed (hidden)")

    def test_slots_that_machines_share_need_a_restart(self) -> None:
        for redis, live in ((False, True), (True, False)):
            before = evolve(OPTIONS, redis=RedisSettings(enabled=redis))
            after = evolve(before, gate=evolve(before.gate, concurrency=4))
            self.assertEqual([each.live for each in changes(before, after)], [live])


class PositionTests(SynchronousTestCase):
    text = """# a comment
deadline_s = 5
upstream.url = "x"
[retry]
base_s = 1 # here
"cap_s"=2
[[listeners]]
url = "a"
[[listeners]]
url = "b"
[[listeners.certificates]]
certificate_file = "c"
[cache.lifetimes]
text = \"\"\"
base_s = 5
\"\"\"
listHospitals = 5
"""

    def test_lines(self) -> None:
        for path, line in (
            ("deadline_s", 2),
            ("upstream.url", 3),
            ("retry", 4),
            ("retry.base_s", 5),
            ("retry.cap_s", 6),
            ("listeners[0].url", 8),
            ("listeners[1].url", 10),
            ("listeners[1].certificates[0].certificate_file", 12),
            ("cache.lifetimes.listHospitals", 17),
            ("retry.max_attempts", 4),
            ("listeners[1].plain", 9),
            ("gate.concurrency", None),
            ("cache.lifetimes.base_s", 13),
            ("trusted_proxies[3]", None),
        ):
            self.assertEqual(line_of(self.text, path), line, path)

    def test_any_text_has_an_answer(self) -> None:
        for text in ("[[", "=", '"""', "[a]\n[[a.b]]\nx='''", "a.b.c = [\n1,\n]"):
            line_of(text, "a.b[0].c")

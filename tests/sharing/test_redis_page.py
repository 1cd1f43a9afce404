"""The ACL user of docs/redis.md may do everything that the scripts and the link do."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
LINK = {"auth", "ping", "info", "select", "eval", "evalsha", "subscribe"}


class PageTests(SynchronousTestCase):
    def test_every_command_is_permitted(self) -> None:
        """Integration tests log in with that line; this test finds commands that none of them uses."""
        [line] = re.findall(
            r"^ {4}user hospproxy (.*)$", (ROOT / "docs" / "redis.md").read_text(), re.MULTILINE
        )
        permitted = set(re.findall(r"\+(\S+)", line))
        used = set(LINK)
        for file in (ROOT / "hospproxy" / "sharing" / "scripts").glob("*.lua"):
            used |= {found.lower() for found in re.findall(r"redis\.p?call\(\s*['\"](\w+)", file.read_text())}
        self.assertIn("time", used)
        self.assertEqual(used, permitted)

"""What a backup takes of each worker; integration/test_backup.py tests a running proxy."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.state.backup import _copy_small


class Small(SynchronousTestCase):
    def test_what_every_worker_has_learnt(self) -> None:
        folder = Path(self.mktemp())
        state, content = folder / "state", folder / "content"
        state.mkdir(parents=True)
        for name in ("noticing.json", "noticing-1.json", "noticing-12.json", "noticing-1.json.new"):
            (state / name).write_bytes(name.encode())
        _copy_small(Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=state), content)
        copied = {path.name: path.read_bytes().decode() for path in content.glob("noticing*")}
        self.assertEqual(
            copied, {name: name for name in ("noticing.json", "noticing-1.json", "noticing-12.json")}
        )

"""The master key: created once, kept private, never used directly."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.keys import secrets
from hospproxy.keys.secrets import KeyFileError, MasterKey
from hospproxy.options.secret_values import master_key

KEY = MasterKey(bytes(range(32)))


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, one block: a second implementation to compare with."""
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


class DerivedTests(SynchronousTestCase):
    def test_a_subkey_never_changes(self) -> None:
        """With another value, data of an older version would be unreadable."""
        self.assertEqual(KEY.subkey("ledger"), hkdf(KEY.secret, b"hospproxy/1/ledger"))
        self.assertEqual(KEY.key_id, hkdf(KEY.secret, b"hospproxy/1/key id")[:4].hex())

    @given(st.text(), st.text())
    def test_each_purpose_has_its_own(self, one: str, other: str) -> None:
        self.assertEqual(KEY.subkey(one) == KEY.subkey(other), one == other)
        self.assertNotEqual(KEY.subkey(one), KEY.secret)

    def test_a_keyed_hash(self) -> None:
        expected = hmac.digest(KEY.subkey("credentials"), b"data", hashlib.sha256)
        self.assertEqual(KEY.hmac("credentials")(b"data"), expected)

    def test_it_shows_nothing(self) -> None:
        for shown in (repr(KEY), repr(KEY.hmac("x"))):
            self.assertNotIn("\\x", shown)
            self.assertNotIn(repr(KEY.subkey("x")), shown)

    def test_a_short_key_is_none(self) -> None:
        self.assertRaises(ValueError, MasterKey, b"short")


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "state" / "master.key"

    def refusal(self, path: Path) -> str:
        return str(self.assertRaises(KeyFileError, MasterKey.load, path)).replace(str(path), "FILE")

    def write(self, content: bytes, mode: int) -> Path:
        path = self.folder / "given.key"
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def test_made_at_the_first_start_and_kept(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        made = MasterKey.load_or_create(self.path)
        self.assertEqual(self.path.read_bytes(), made.secret)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)
        self.assertEqual(os.listdir(self.path.parent), ["master.key"])
        self.assertEqual(MasterKey.load_or_create(self.path), made)

    def test_two_machines_do_not_make_the_same(self) -> None:
        other = MasterKey.load_or_create(self.folder / "other")
        self.assertNotEqual(MasterKey.load_or_create(self.path), other)

    def test_a_process_that_was_first_wins(self) -> None:
        """The other process creates its file between this one's check and its link."""
        link = os.link

        def late(draft: Path, path: Path) -> None:
            self.path.write_bytes(KEY.secret)
            self.path.chmod(0o600)
            link(draft, path)

        self.patch(os, "link", late)
        self.assertEqual(MasterKey.load_or_create(self.path), KEY)
        self.assertEqual(os.listdir(self.path.parent), ["master.key"])

    def test_nothing_is_left_where_it_cannot_be_made(self) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        error = self.assertRaises(KeyFileError, MasterKey.load_or_create, self.path)
        self.assertIn("No space left on device", str(error))
        self.assertEqual(os.listdir(self.path.parent), [])

    def test_open_to_others(self) -> None:
        for mode in (0o644, 0o604, 0o640, 0o602, 0o660):
            self.assertIn(
                f"(mode {mode:04o}): run chmod 600 on it", self.refusal(self.write(KEY.secret, mode))
            )
        for mode in (0o600, 0o400):
            self.assertEqual(MasterKey.load(self.write(KEY.secret, mode)), KEY)

    def test_owners(self) -> None:
        """A file of root may belong to the process's group: secrets are mounted like this for other users than root."""
        path = Path("key")
        us = os.geteuid()
        self.patch(os, "geteuid", lambda: us + 1000)

        def looked_at(mode: int, owner: int) -> None:
            secrets._refuse_others(path, os.stat_result((mode, 0, 0, 1, owner, 0, 32, 0, 0, 0)))

        looked_at(0o100440, 0)
        for mode, owner in ((0o100444, 0), (0o100460, 0), (0o100440, us + 1000), (0o100400, us + 1)):
            self.assertRaises(KeyFileError, looked_at, mode, owner)

    def test_not_a_key(self) -> None:
        for content in (b"", KEY.secret[:-1], KEY.secret + b"\n"):
            self.assertIn("must hold exactly 32 bytes", self.refusal(self.write(content, 0o600)))

    def test_not_a_file(self) -> None:
        self.assertIn("cannot be read: No such file", self.refusal(self.path))
        self.assertEqual(self.refusal(self.folder), "FILE is not a regular file")
        pipe = self.folder / "pipe"
        os.mkfifo(pipe, 0o600)
        self.assertEqual(self.refusal(pipe), "FILE is not a regular file")

    def test_a_link_to_nowhere_is_not_filled(self) -> None:
        link = self.folder / "link"
        link.symlink_to(self.folder / "nowhere")
        self.assertRaises(KeyFileError, MasterKey.load_or_create, link)

    def test_a_named_key_is_never_made(self) -> None:
        upstream = UpstreamSettings(url="http://127.0.0.1:1")
        named = Settings(upstream=upstream, master_key_file=self.path)
        self.assertRaises(KeyFileError, master_key, named)
        self.assertFalse(self.path.exists())
        self.assertEqual(
            master_key(Settings(upstream=upstream, state_dir=self.path.parent)).secret, self.path.read_bytes()
        )

"""Compressed files are ordinary gzip files, and can be read from any offset without the part before it."""

from __future__ import annotations

import gzip
import io
import random
import zlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.trail.packed import MEMBER, open_at, write_packed

OFFSETS = (0, 1, MEMBER - 1, MEMBER, MEMBER + 1, 3 * MEMBER, 3 * MEMBER + 77, 4 * MEMBER - 1)


class PackedTests(SynchronousTestCase):
    def setUp(self) -> None:
        chance = random.Random(1)
        self.plain = b"".join(b"%064x\n" % chance.getrandbits(256) for _ in range(4 * MEMBER // 65 + 50))
        self.path = Path(self.mktemp())

    def read(self, offset: int) -> bytes:
        with open_at(self.path, offset) as file:
            return file.read()

    def test_it_is_an_ordinary_gzip_file(self) -> None:
        write_packed(io.BytesIO(self.plain), self.path)
        self.assertEqual(gzip.decompress(self.path.read_bytes()), self.plain)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(
            [p.name for p in self.path.parent.iterdir() if p.name.startswith(self.path.name)],
            [self.path.name],
        )

    def test_it_is_read_from_any_offset(self) -> None:
        write_packed(io.BytesIO(self.plain), self.path)
        for offset in (*OFFSETS, len(self.plain) - 1, len(self.plain), len(self.plain) + 5):
            self.assertEqual(self.read(offset), self.plain[offset:])

    def test_what_is_before_the_offset_is_not_uncompressed(self) -> None:
        """All but the last two members may be destroyed: only their headers are read."""
        write_packed(io.BytesIO(self.plain), self.path)
        content = bytearray(self.path.read_bytes())
        for at in range(40, 1000):
            content[at] ^= 255
        self.path.write_bytes(content)
        self.assertEqual(self.read(4 * MEMBER), self.plain[4 * MEMBER :])
        with self.assertRaises((OSError, zlib.error)):
            self.read(MEMBER - 1)

    def test_what_older_versions_packed_is_read_from_its_start(self) -> None:
        self.path.write_bytes(gzip.compress(self.plain))
        for offset in OFFSETS:
            self.assertEqual(self.read(offset), self.plain[offset:])

    def test_a_file_that_was_cut_off_is_an_error(self) -> None:
        write_packed(io.BytesIO(self.plain), self.path)
        self.path.write_bytes(self.path.read_bytes()[:-30])
        with self.assertRaises(EOFError):
            self.read(4 * MEMBER)

    def test_sizes_that_are_lies_do_not_lead_out_of_the_file(self) -> None:
        write_packed(io.BytesIO(self.plain), self.path)
        content = bytearray(self.path.read_bytes())
        content[16:20] = b"\xff\xff\xff\x7f"
        self.path.write_bytes(content)
        self.assertEqual(self.read(2 * MEMBER), self.plain[2 * MEMBER :])

    def test_no_gzip_file_at_all(self) -> None:
        self.path.write_bytes(self.plain)
        with self.assertRaises(OSError):
            self.read(3)

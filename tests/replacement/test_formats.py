"""A version takes over only a state folder whose formats it reads."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.replacement import formats


class FormatTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, text: str) -> None:
        (self.folder / formats.FILE).write_text(text)

    def test_a_folder_of_this_version_or_without_the_file_is_readable(self) -> None:
        self.assertEqual(formats.problems(self.folder), [])
        formats.note(self.folder)
        self.assertEqual(formats.problems(self.folder), [])
        self.assertEqual(json.loads((self.folder / formats.FILE).read_text()), formats.WRITTEN)

    def test_this_version_reads_what_it_writes(self) -> None:
        self.assertEqual(set(formats.READ), set(formats.WRITTEN))
        for name, written in formats.WRITTEN.items():
            self.assertIn(written, formats.READ[name])

    def test_a_newer_format_is_named(self) -> None:
        self.write(json.dumps({**formats.WRITTEN, "ledger": "9"}))
        [problem] = formats.problems(self.folder)
        self.assertIn("the ledger in", problem)
        self.assertIn("has format 9, and this version reads 1", problem)

    def test_an_unknown_kind_of_file_may_not_be_ignored(self) -> None:
        self.write(json.dumps({**formats.WRITTEN, "new thing": "1"}))
        self.assertEqual(len(formats.problems(self.folder)), 1)

    def test_a_file_that_cannot_be_read_is_a_problem(self) -> None:
        for text in ("{", "[1]", '{"ledger": 1}', "x" * (1 << 17)):
            self.write(text)
            [problem] = formats.problems(self.folder)
            self.assertIn("cannot be read", problem)

    def test_a_full_disk_does_not_end_the_owner(self) -> None:
        with mock.patch.object(formats, "write_whole", side_effect=OSError(28, "full")):
            formats.note(self.folder)

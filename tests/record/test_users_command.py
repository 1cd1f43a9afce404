"""The command ``hospproxy-audit user``."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys import audit_users as users
from hospproxy.record.commands.cli import main


class UserCommand(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()) / "audit-users"

    def run_it(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        self.patch(sys, "stdin", io.StringIO(typed))
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            status = main(["user", "--file", str(self.file), *arguments])
        return status, said.getvalue()

    def test_add_list_remove(self) -> None:
        self.assertEqual(
            self.run_it("add", "ann", typed="secret\n"), (0, "ann can now use the audit page.\n")
        )
        self.assertEqual(self.run_it("add", "ann", typed="other\n"), (0, "ann has a new password.\n"))
        self.assertEqual(self.run_it("list"), (0, "ann\n"))
        self.assertTrue(users.load(self.file)["ann"].fits("other"))
        self.assertEqual(self.run_it("remove", "ann"), (0, "ann can no longer use the audit page.\n"))
        self.assertEqual(self.run_it("list"), (0, ""))

    def test_what_cannot_be(self) -> None:
        for arguments in (("add", "a:b"), ("add", "ann"), ("remove", "nobody"), ("list",)):
            status, said = self.run_it(*arguments)
            self.assertEqual(status, 2, arguments)
            self.assertTrue(said.startswith("hospproxy-audit: "), said)

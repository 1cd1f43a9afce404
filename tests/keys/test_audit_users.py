from __future__ import annotations

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys import audit_users as users

from ..watch.audit_page.page_rig import QUICK


class UsersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "folder" / "audit-users"

    def test_added_loaded_removed(self) -> None:
        self.assertTrue(users.add(self.path, "ann", "one", QUICK))
        self.assertTrue(users.add(self.path, "bob", "two", QUICK))
        self.assertFalse(users.add(self.path, "ann", "three", QUICK))
        found = users.load(self.path)
        self.assertEqual(list(found), ["ann", "bob"])
        self.assertTrue(found["ann"].fits("three"))
        self.assertFalse(found["ann"].fits("one"))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        users.remove(self.path, "ann")
        self.assertEqual(list(users.load(self.path)), ["bob"])
        self.assertRaises(users.UsersError, users.remove, self.path, "ann")
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["audit-users"])

    def test_no_password_is_in_the_file(self) -> None:
        users.add(self.path, "ann", "correct horse", QUICK)
        self.assertRegex(
            self.path.read_text(), r"\Aann:scrypt\$2\$1\$1\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+\n\Z"
        )
        self.assertNotIn("horse", self.path.read_text() + repr(users.load(self.path)))

    def test_equal_passwords_look_different(self) -> None:
        one, other = users.StoredPassword.of("same", QUICK), users.StoredPassword.of("same", QUICK)
        self.assertNotEqual(str(one), str(other))

    def test_names_and_passwords_that_cannot_be(self) -> None:
        for name in ("", "a:b", "a\nb", " a", "ä", "-a", "a" * 65):
            self.assertRaises(users.UsersError, users.add, self.path, name, "x", QUICK)
        for password in ("", "x" * 1025):
            self.assertRaises(users.UsersError, users.add, self.path, "ann", password, QUICK)

    def test_a_file_that_others_can_read_is_refused(self) -> None:
        users.add(self.path, "ann", "one", QUICK)
        self.path.chmod(0o640)
        self.assertRaises(users.UsersError, users.load, self.path)

    def test_malformed_lines_are_named(self) -> None:
        good = str(users.StoredPassword.of("x", QUICK))
        users.add(self.path, "ann", "one", QUICK)
        for line in (
            "ann", f":{good}", "ann:md5$1", "ann:scrypt$3$1$1$AAAA$AAAA", f"ann:{good}\nann:{good}",
            good, f"ann:{good[:-8]}", "ann:scrypt$1073741824$8$1$" + good.split("$", 4)[4],
        ):  # fmt: skip
            self.path.write_text("# a comment\n\n" + line + "\n")
            error = self.assertRaises(users.UsersError, users.load, self.path)
            self.assertRegex(str(error), r"line \d")

    def test_the_first_user_is_made_once(self) -> None:
        password_file = self.path.with_name("audit-page-password")
        self.assertTrue(users.make_first(self.path, password_file))
        self.assertFalse(users.make_first(self.path, password_file))
        password = password_file.read_text().strip()
        self.assertGreaterEqual(len(password), 20)
        self.assertTrue(users.load(self.path)["auditor"].fits(password))
        for path in (self.path, password_file):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_who_is_not_there_costs_as_much_as_who_is(self) -> None:
        self.assertEqual(users.NOBODY.cost, users.Cost())
        self.assertFalse(users.NOBODY.fits("anything"))

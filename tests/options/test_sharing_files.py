"""What --check reports on [redis] and on the master keys that only open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.checks import check
from hospproxy.config import structure
from hospproxy.keys.secrets import HEIR, KeyFileError, MasterKey
from hospproxy.options.secret_values import master_key
from tests.arrival.certificates import TestAuthority

SECURE = "rediss://redis.example"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = TestAuthority()

    def file(self, name: str, content: bytes, mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    def settings(self, redis: dict[str, Any] | None = None, **top: Any) -> Any:
        given = {"enabled": True, "url": SECURE, **(redis or {})}
        upstream = {"url": "http://127.0.0.1:3000"}
        return structure({"state_dir": str(self.folder), "upstream": upstream, "redis": given, **top})

    def find(self, redis: dict[str, Any] | None = None, **top: Any) -> tuple[list[str], list[str]]:
        found = check(self.settings(redis, **top))
        warnings = [each for each in found.warnings if each.startswith("redis")]
        return list(found.errors), warnings


class RedisTests(Case):
    """Tests of [redis]."""

    def test_good(self) -> None:
        certificate, key = self.authority.issue("proxy.example").write(self.folder, "own")
        given = {
            "ca_file": str(self.authority.write(self.folder / "ca.pem")),
            "certificate_file": str(certificate),
            "private_key_file": str(key),
            "user": "hospproxy",
            "password_file": self.file("password", b"secret\n"),
        }
        self.assertEqual(self.find(given), ([], []))

    def test_files_that_cannot_be_used(self) -> None:
        """Each is reported with its key path, and without any of its content."""
        certificate, _ = self.authority.issue("a.example").write(self.folder, "a")
        _, other = self.authority.issue("b.example").write(self.folder, "b")
        missing, nonsense = str(self.folder / "missing"), self.file("nonsense", b"secret-words")
        for given, path in (
            ({"ca_file": missing}, "redis.ca_file"),
            ({"ca_file": nonsense}, "redis.ca_file"),
            (
                {"certificate_file": str(certificate), "private_key_file": str(other)},
                "redis.private_key_file",
            ),
            ({"certificate_file": nonsense, "private_key_file": str(other)}, "redis.certificate_file"),
            ({"password_file": missing}, "redis.password_file"),
            ({"password_file": str(self.folder)}, "redis.password_file"),
            ({"password_file": self.file("empty", b"\n")}, "redis.password_file"),
            ({"password_file": self.file("long", b"x" * 5000)}, "redis.password_file"),
            ({"user": "hospproxy"}, "redis.user"),
            ({"url": "rediss://redis.example:0"}, "redis.url"),
        ):
            errors, _ = self.find(given)
            self.assertEqual([line.split(": ")[0] for line in errors], [path])
            self.assertNotIn("secret-words", errors[0])

    def test_files_that_the_user_who_comes_after_cannot_read(self) -> None:
        """Otherwise the proxy would start, and never reach Redis."""
        given = {"password_file": self.file("password", b"secret", 0o600)}
        for uid, found in ((os.geteuid() + 1, ["redis.password_file"]), (os.geteuid(), [])):
            token = HEIR.set(uid)
            try:
                errors, _ = self.find(given)
            finally:
                HEIR.reset(token)
            self.assertEqual([line.split(": ")[0] for line in errors], found)
        token = HEIR.set(os.geteuid() + 1)
        self.addCleanup(HEIR.reset, token)
        Path(given["password_file"]).chmod(0o640)  # perhaps readable by its group
        self.assertEqual(self.find(given)[0], [])

    def test_what_is_switched_off_is_not_looked_at(self) -> None:
        self.assertEqual(self.find({"enabled": False, "ca_file": str(self.folder / "missing")}), ([], []))

    def test_more_workers_than_places(self) -> None:
        """While Redis is away for long, some workers could send no requests to HOSP."""
        for workers, concurrency, gate, warned in ((5, 5, True, 0), (6, 5, True, 1), (6, 5, False, 0)):
            given = {"concurrency": concurrency, "enabled": gate}
            warnings = check(self.settings(workers=workers, gate=given)).warnings
            said = [each for each in warnings if each.startswith("workers") and "slots at HOSP" in each]
            self.assertEqual(len(said), warned, (workers, warnings))

    def test_warnings(self) -> None:
        certificate, key = self.authority.issue("a.example", days=3).write(self.folder, "a")
        key.chmod(0o644)
        given = {"certificate_file": str(certificate), "private_key_file": str(key)}
        errors, warnings = self.find({**given, "password_file": self.file("password", b"secret", 0o644)})
        self.assertEqual(errors, [])
        self.assertEqual(
            [line.split(": ")[0] for line in warnings],
            ["redis.certificate_file", "redis.password_file", "redis.private_key_file"],
        )


class KeyTests(Case):
    """Tests of master_key_next_file and master_key_previous_file."""

    def test_good(self) -> None:
        """They supplement the master key, and are only used to decrypt."""
        names = {
            name: self.file(name, bytes([number]) * 32)
            for number, name in enumerate(
                ("master_key_file", "master_key_next_file", "master_key_previous_file")
            )
        }
        self.assertEqual(self.find(**names)[0], [])
        key = master_key(self.settings(**names))
        self.assertEqual(key.secret, b"\0" * 32)
        self.assertEqual(key.further, (MasterKey(b"\1" * 32), MasterKey(b"\2" * 32)))
        self.assertNotIn("\\x01", repr(key))

    def test_files_that_cannot_be_used(self) -> None:
        for name in ("master_key_next_file", "master_key_previous_file"):
            for file in (
                str(self.folder / "missing"),
                self.file("short", b"x" * 31),
                self.file("open", b"x" * 32, 0o644),
            ):
                errors, _ = self.find(**{name: file})
                self.assertEqual([line.split(": ")[0] for line in errors], [name])
                with self.assertRaises(KeyFileError):
                    master_key(self.settings(**{name: file}))

"""The sinks' sections: meaningless values are refused, risky ones give a warning."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from attrs import evolve

from hospproxy.config import AuditSettings
from hospproxy.options.access_log_section import AccessLogBucketSettings, AccessLogSettings
from hospproxy.options.bucket_section import BucketSettings
from hospproxy.options.loader import ConfigError, structure
from hospproxy.options.syslog_section import SyslogSettings

from ..test_checks import Case
from .test_files import FilesTests


class WriterChecks(Case):
    pair = FilesTests.pair

    def syslog(self, **section: Any) -> dict[str, Any]:
        return {"audit_syslog": SyslogSettings(**{"enabled": True, "url": "tls://syslog.example", **section})}

    def bucket(self, **section: Any) -> dict[str, Any]:
        return {"audit_bucket": BucketSettings(**{"enabled": True, "bucket": "trails", **section})}

    def private(self, content: bytes) -> Path:
        path = self.folder / "secret"
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def test_good_ones(self) -> None:
        certificate, key = self.pair("client")
        full = {"ca_file": certificate, "certificate_file": certificate, "private_key_file": key}
        self.assertEqual(self.warned(**self.syslog(**full)), [])
        self.assertEqual(self.warned(**self.bucket()), [])
        secret = self.private(b"secret\n")
        self.assertEqual(self.warned(**self.bucket(access_key_id="k", secret_access_key_file=secret)), [])

    def test_switched_off_nothing_of_it_matters(self) -> None:
        more = {**self.syslog(enabled=False, url=None), **self.bucket(enabled=False, bucket=None)}
        self.assertEqual(self.warned(**more), [])

    def test_syslog_that_makes_no_sense(self) -> None:
        certificate, key = self.pair("client")
        for section, path in (
            ({"url": None}, "url"),
            ({"url": "tcp://a:0"}, "url"),
            ({"url": "tcp://a", "ca_file": certificate}, "ca_file"),
            ({"certificate_file": certificate}, "private_key_file"),
            ({"private_key_file": key}, "certificate_file"),
            ({"ca_file": self.folder / "nowhere"}, "ca_file"),
            ({"ca_file": key}, "ca_file"),
            ({"certificate_file": certificate, "private_key_file": self.pair("b")[1]}, "private_key_file"),
        ):
            self.assertEqual(self.paths(**self.syslog(**section)), [f"audit_syslog.{path}"], section)

    def test_a_bucket_that_makes_no_sense(self) -> None:
        secret = self.private(b"secret")
        certificate, _ = self.pair("ca")
        for section, path in (
            ({"bucket": None}, "bucket"),
            ({"access_key_id": "k"}, "secret_access_key_file"),
            ({"secret_access_key_file": secret}, "access_key_id"),
            ({"endpoint_url": "http://127.0.0.1:1", "ca_file": certificate}, "ca_file"),
            ({"endpoint_url": "https://127.0.0.1:0"}, "endpoint_url"),
            ({"ca_file": secret}, "ca_file"),
            ({"access_key_id": "k", "secret_access_key_file": self.folder}, "secret_access_key_file"),
        ):
            self.assertEqual(self.paths(**self.bucket(**section)), [f"audit_bucket.{path}"], section)

    def test_an_access_log_that_makes_no_sense(self) -> None:
        log, bucket = AccessLogSettings(format="alb"), AccessLogBucketSettings(enabled=True, bucket="logs")
        self.assertEqual(self.warned(access_log=log, access_log_bucket=bucket), [])
        self.assertEqual(self.paths(access_log_bucket=bucket), ["access_log_bucket.enabled"])
        self.assertEqual(
            self.paths(access_log=log, audit=AuditSettings(enabled=False)), ["access_log.format"]
        )
        for section, path in (
            ({"bucket": None}, "bucket"),
            ({"access_key_id": "k"}, "secret_access_key_file"),
            ({"endpoint_url": "https://127.0.0.1:0"}, "endpoint_url"),
            ({"access_key_id": "k", "secret_access_key_file": self.folder}, "secret_access_key_file"),
        ):
            given = evolve(bucket, **section)
            self.assertEqual(
                self.paths(access_log=log, access_log_bucket=given), [f"access_log_bucket.{path}"]
            )
        given = evolve(bucket, endpoint_url="http://s3.example")
        self.assertEqual(
            self.warned(access_log=log, access_log_bucket=given), ["access_log_bucket.endpoint_url"]
        )

    def test_secrets_that_are_none_or_no_secret(self) -> None:
        for content, mode in ((b"", 0o600), (b"\n", 0o600), (b"x" * 5000, 0o600), (b"secret", 0o644)):
            secret = self.private(content)
            secret.chmod(mode)
            found = self.errors(**self.bucket(access_key_id="k", secret_access_key_file=secret))
            self.assertEqual(len(found), 1, content[:9])
            self.assertTrue(found[0].startswith("audit_bucket.secret_access_key_file: DIR/secret "), found)
            self.assertNotIn("xxx", found[0])

    def test_boto3_that_is_not_installed(self) -> None:
        self.patch(sys, "path", [])
        self.patch(sys, "modules", {name: each for name, each in sys.modules.items() if name != "boto3"})
        sys.path_importer_cache.clear()
        [error] = [line for line in self.errors(**self.bucket()) if "boto3" in line]
        self.assertIn("pip install 'hospproxy[bucket]'", error)

    def test_without_a_trail_there_is_nothing_to_carry(self) -> None:
        paths = self.paths(audit=AuditSettings(enabled=False), **self.syslog(), **self.bucket())
        self.assertEqual(paths, ["audit_syslog.enabled", "audit_bucket.enabled"])

    def test_unencrypted_over_a_network(self) -> None:
        self.assertEqual(self.warned(**self.syslog(url="tcp://syslog.example")), ["audit_syslog.url"])
        self.assertEqual(self.warned(**self.syslog(url="tcp://127.0.0.1:1")), [])
        self.assertEqual(
            self.warned(**self.bucket(endpoint_url="http://s3.example")), ["audit_bucket.endpoint_url"]
        )

    def test_values_that_keys_do_not_take(self) -> None:
        for section, key, value in (
            ("audit_syslog", "url", "udp://a:514"),
            ("audit_syslog", "url", "http://a:514"),
            ("audit_syslog", "app_name", "two words"),
            ("audit_syslog", "facility", 24),
            ("audit_bucket", "bucket", "Upper"),
            ("audit_bucket", "prefix", "/a"),
            ("audit_bucket", "prefix", "a//b"),
            ("audit_bucket", "access_key_id", "a b"),
            ("access_log", "format", "clf"),
            ("access_log", "account", "1234"),
            ("access_log", "name", "a/b"),
            ("access_log", "region", "../x"),
            ("access_log", "rotate_s", 1),
            ("access_log_bucket", "prefix", "/a"),
        ):
            document = {"upstream": {"url": "http://127.0.0.1:1"}, section: {key: value}}
            error = self.assertRaises(ConfigError, structure, document)
            self.assertEqual([line.split(":")[0] for line in error.problems], [f"{section}.{key}"])

    def test_a_syslog_receiver_is_no_upstream(self) -> None:
        error = self.assertRaises(ConfigError, structure, {"upstream": {"url": "tcp://127.0.0.1:1"}})
        self.assertIn("tcp cannot be used here", str(error))

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.interfaces import IAuditFileWriter
from hospproxy.keys.secrets import KeyFileError
from hospproxy.options.bucket_section import BucketSettings
from hospproxy.record.sinks.bucket import BucketLocation, BucketSink, ObjectDiffers, client_for, writer_for
from hospproxy.record.trail.follower import ClosedFile, Cursor

STEM = "audit-w0-00000007-20261124T131536.123Z.jsonl"
KEY = f"hospital/5f0c/{STEM}.gz"
CONTENT = b'{"kind":"begin"}\n' * 1000


def refusal(status: int, code: str) -> ClientError:
    meta: Any = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": meta}, "any")


class FakeS3:
    """A bucket in memory.

    :ivar next: errors for the next puts; "lost" keeps the object and loses the response.
    """

    def __init__(self, conditional: bool = True) -> None:
        self.conditional = conditional
        self.objects: dict[str, dict[str, Any]] = {}
        self.next: list[Any] = []
        self.puts = 0
        self.closed = False
        self.race: Callable[[], None] = lambda: None

    def head_object(self, **request: Any) -> dict[str, Any]:
        assert request["Bucket"] == "trails"
        if request["Key"] not in self.objects:
            raise refusal(404, "404")
        found = dict(self.objects[request["Key"]])
        if request.get("ChecksumMode") != "ENABLED":
            found.pop("ChecksumSHA256", None)
        return found

    def get_object(self, **request: Any) -> dict[str, Any]:
        return {"Body": BytesIO(self.objects[request["Key"]]["Content"])}

    def put_object(self, **request: Any) -> None:
        self.puts += 1
        self.race()
        content = request.pop("Body").read()
        assert b64encode(sha256(content).digest()).decode() == request["ChecksumSHA256"]
        if request.pop("IfNoneMatch", None) is not None:
            if not self.conditional:
                raise refusal(501, "NotImplemented")
            if request["Key"] in self.objects:
                raise refusal(412, "PreconditionFailed")
        problem = self.next.pop(0) if self.next else None
        if problem not in (None, "lost"):
            raise problem
        self.objects[request["Key"]] = {**request, "Content": content}
        if problem == "lost":
            raise TimeoutError

    def close(self) -> None:
        self.closed = True


class Here:
    """Does each task of a thread at once."""

    def __init__(self) -> None:
        self.stopped = False

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        return maybeDeferred(task)

    def stop(self) -> None:
        self.stopped = True


class BucketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.s3 = FakeS3()
        self.worker = Here()
        self.writer = self.made()

    def made(self) -> BucketSink:
        writer = BucketSink(BucketLocation("trails", "hospital"), lambda: self.s3, lambda: self.worker)
        self.successResultOf(Deferred.fromCoroutine(writer.open()))
        return writer

    def plain(self, content: bytes = CONTENT) -> ClosedFile:
        return self.file(STEM, content)

    def packed(self, content: bytes = CONTENT, level: int = 9) -> ClosedFile:
        return self.file(STEM + ".gz", gzip.compress(content, level))

    def file(self, name: str, content: bytes) -> ClosedFile:
        (self.folder / name).write_bytes(content)
        return ClosedFile(self.folder / name, STEM, "ab" * 32, Cursor("w0", 8, 0, 99), "5f0c")

    def put(self, file: ClosedFile) -> Deferred[None]:
        return Deferred.fromCoroutine(self.writer.write_file(file))

    def content(self) -> bytes:
        return gzip.decompress(self.s3.objects[KEY]["Content"])

    def test_it_is_a_writer_of_files(self) -> None:
        verifyObject(IAuditFileWriter, self.writer)

    def test_a_file_with_what_it_is_an_anchor_of(self) -> None:
        for file in (self.packed(), self.plain()):
            self.s3.objects.clear()
            self.successResultOf(self.put(file))
            self.assertEqual(list(self.s3.objects), [KEY])
            self.assertEqual(self.content(), CONTENT)
            metadata = self.s3.objects[KEY]["Metadata"]
            self.assertEqual(metadata, {"trail": "5f0c", "journal": "w0", "head": "ab" * 32})
        left = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(left, [STEM, STEM + ".gz"], "nothing is left behind")

    def test_a_plain_file_that_is_packed_just_then(self) -> None:
        self.packed()
        gone = self.plain()
        gone.path.unlink()
        self.successResultOf(self.put(gone))
        self.assertEqual(self.content(), CONTENT)

    def test_a_file_that_is_there_already_is_not_sent_again(self) -> None:
        self.successResultOf(self.put(self.packed()))
        self.successResultOf(self.put(self.packed()))
        self.assertEqual(self.s3.puts, 1)

    def test_the_same_content_packed_otherwise_counts_as_the_same(self) -> None:
        self.successResultOf(self.put(self.packed(level=9)))
        before = self.s3.objects[KEY]
        self.successResultOf(self.put(self.packed(level=1)))
        self.assertIs(self.s3.objects[KEY], before)

    def test_a_service_that_keeps_no_checksums(self) -> None:
        self.successResultOf(self.put(self.packed()))
        del self.s3.objects[KEY]["ChecksumSHA256"]
        self.successResultOf(self.put(self.packed()))

    def test_another_object_of_that_name_is_an_alarm_and_stays(self) -> None:
        for content in (gzip.compress(CONTENT + b"{}\n"), b"no gzip", gzip.compress(CONTENT)[:-20], b""):
            self.s3.objects[KEY] = {"Content": content, "ChecksumSHA256": "other"}
            failure = self.failureResultOf(self.put(self.packed()), ObjectDiffers)
            self.assertIn(KEY, failure.getErrorMessage())
            self.assertEqual(self.s3.objects[KEY]["Content"], content)
        self.assertEqual(self.s3.puts, 0)

    def test_whoever_is_first_between_the_look_and_the_put(self) -> None:
        def other(content: bytes) -> Callable[[], None]:
            return lambda: self.s3.objects.update({KEY: {"Content": content, "ChecksumSHA256": "other"}})

        self.s3.race = other(gzip.compress(CONTENT))
        self.successResultOf(self.put(self.packed()))
        self.s3.objects.clear()
        self.s3.race = other(gzip.compress(b"another"))
        self.failureResultOf(self.put(self.packed()), ObjectDiffers)
        self.assertEqual(self.content(), b"another")

    def test_an_answer_that_is_lost(self) -> None:
        self.s3.next = ["lost"]
        self.failureResultOf(self.put(self.plain()), TimeoutError)
        self.successResultOf(self.put(self.plain()))
        self.assertEqual(self.s3.puts, 1)

    def test_a_service_that_knows_no_conditions(self) -> None:
        self.s3 = FakeS3(conditional=False)
        self.writer = self.made()
        self.successResultOf(self.put(self.packed()))
        self.assertEqual((self.content(), self.s3.puts), (CONTENT, 2))

    def test_refusals_are_the_carriers(self) -> None:
        for error in (refusal(503, "SlowDown"), refusal(507, "507"), refusal(403, "AccessDenied")):
            self.s3.next = [error]
            self.failureResultOf(self.put(self.packed()), ClientError)
        self.successResultOf(self.put(self.packed()))

    def test_close(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.writer.close()))
        self.assertTrue(self.s3.closed and self.worker.stopped)

    def test_settings(self) -> None:
        def made(**section: Any) -> Any:
            upstream = UpstreamSettings(url="http://127.0.0.1:1")
            settings = Settings(upstream=upstream, audit_bucket=BucketSettings(**section))
            return writer_for(settings, None)

        self.assertIsNone(made())
        verifyObject(IAuditFileWriter, made(enabled=True, bucket="trails"))

    def test_the_secret_stays_in_its_file(self) -> None:
        secret = self.folder / "secret"
        secret.write_text("wJalrXUtnFEMI\n")
        section = BucketSettings(bucket="trails", access_key_id="AKIA", secret_access_key_file=secret)
        secret.chmod(0o644)
        failure = self.assertRaises(KeyFileError, client_for, section)
        self.assertNotIn("wJalr", str(failure) + repr(section))
        secret.chmod(0o600)
        client = client_for(section)
        self.addCleanup(client.close)
        self.assertNotIn("wJalr", repr(client) + repr(client.meta.config))
        self.assertEqual(client.meta.config.retries["total_max_attempts"], 1)

"""The S3 sink: stores each closed file as one object in an S3-compatible bucket, and never overwrites one."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from attrs import frozen
from twisted.logger import Logger
from zope.interface import implementer

from ...interfaces import IAuditFileWriter
from ...options.secret_values import content_of
from ...process.host import REAL, Host
from ...process.worker import TaskRunner
from ..trail.follower import ClosedFile
from ..trail.names import PACKED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...config import Settings
    from ...options.bucket_section import BucketSettings

_BLOCK = 1 << 20
_SECRET_BYTES = 4096
_log = Logger()


class ObjectDiffers(Exception):
    """An object with this file's name exists and has other content. It is not overwritten."""


@frozen(slots=True)
class BucketLocation:
    """Where objects go in the bucket.

    :param prefix: without a slash at its end.
    """

    bucket: str
    prefix: str

    def key(self, file: ClosedFile) -> str:
        """The object's name for a file. Objects are always compressed."""
        return "/".join(part for part in (self.prefix, file.trail, file.stem + PACKED) if part)


@frozen(slots=True)
class Upload:
    """A file to store as an object.

    :param path: compressed if its name ends in ``.gz``; else it is compressed on the way.
    :param metadata: of the object.
    """

    bucket: str
    key: str
    path: Path
    metadata: dict[str, str]


@implementer(IAuditFileWriter)
class BucketSink:
    """The sink for one bucket: stores each closed file as an object.

    :param connect: makes boto3's S3 client; called in the worker's thread, as is everything that blocks.
    :param make_worker: makes that thread.
    """

    name = "bucket"

    def __init__(
        self, place: BucketLocation, connect: Callable[[], Any], make_worker: Callable[[], TaskRunner]
    ) -> None:
        self._place = place
        self._connect = connect
        self._make_worker = make_worker
        self._worker: TaskRunner | None = None
        self._client: Any = None

    async def open(self) -> None:
        """Read the secret and make the client. Sends nothing yet.

        :raise Exception: the secret's file cannot be used.
        """
        if self._worker is None:
            self._worker = self._make_worker()
        self._client = await self._worker.run(self._connect)

    async def write_file(self, file: ClosedFile) -> None:
        """Store a file, unless the bucket already has it.

        :raise ObjectDiffers: an object with this name has other content.
        :raise Exception: the service does not respond, or refuses.
        """
        assert self._worker is not None, "open() comes first"
        await self._worker.run(partial(put, self._client, self._place, file))

    async def close(self) -> None:
        worker, self._worker = self._worker, None
        client, self._client = self._client, None
        if worker is not None and client is not None:
            # Runs after the call in flight: boto3's calls cannot be cancelled and end by their own timeout.
            worker.run(client.close).addErrback(lambda _: None)
        if worker is not None:
            worker.stop()


def put(client: Any, place: BucketLocation, file: ClosedFile) -> None:
    """Store a closed file of the journal as an object; see ``store``. Blocks.

    :raise ObjectDiffers: an object with this name has other content.
    """
    metadata = {"trail": file.trail, "journal": file.position.journal, "head": file.head}
    store(client, Upload(place.bucket, place.key(file), file.path, metadata))


def store(client: Any, upload: Upload) -> None:
    """Store a file as an object. Blocks.

    Looks for an object of that name first, and also asks the service not to overwrite one (``If-None-Match``),
    which not every service supports.

    :raise ObjectDiffers: an object with this name has other content.
    """
    with packed(upload.path) as (content, digest):
        if _is_there(client, upload, digest):
            return
        content.seek(0)
        request = {
            "Bucket": upload.bucket,
            "Key": upload.key,
            "Body": content,
            "ChecksumSHA256": digest,
            "ContentType": "application/gzip",
            "Metadata": upload.metadata,
        }
        code = _tried(client.put_object, {**request, "IfNoneMatch": "*"})
        if code == "NotImplemented":
            content.seek(0)
            code = _tried(client.put_object, request, strict=True)
        # 412: the object was stored first, perhaps by this very request, whose response was lost. 409: another
        # request is storing it now.
        if code and not _is_there(client, upload, digest):
            raise ObjectDiffers(
                f"{upload.key}: the bucket reported that it exists, and then that it does not"
            )


_EXPECTED = frozenset({"NotImplemented", "PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


def _tried(call: Callable[..., Any], request: dict[str, Any], *, strict: bool = False) -> str:
    """Call S3; return "" for success, or the error code if it is one of _EXPECTED.

    :param strict: raise for those codes too.
    """
    from botocore.exceptions import ClientError

    try:
        call(**request)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if strict or code not in _EXPECTED:
            raise
        return code
    return ""


def _is_there(client: Any, upload: Upload, digest: str) -> bool:
    """Whether the bucket already has this file.

    :raise ObjectDiffers: it has an object of this name with other content.
    """
    from botocore.exceptions import ClientError

    name = {"Bucket": upload.bucket, "Key": upload.key}
    try:
        found = client.head_object(**name, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return False
        raise
    if found.get("ChecksumSHA256") == digest:
        return True
    # The same file may have been compressed at another time, which gives different bytes, so compare the
    # content.
    theirs = _content_of(client.get_object(**name)["Body"])
    with packed(upload.path) as (content, _):
        ours = _content_of(content)
    if theirs is not None and theirs == ours:
        return True
    _log.critical(
        "ALARM: the object {key} in the bucket {bucket} exists with other content and is not overwritten;"
        " later files wait until it is moved away",
        key=name["Key"],
        bucket=upload.bucket,
    )
    raise ObjectDiffers(f"{name['Key']}: an object with other content exists already")


def _content_of(source: Any) -> str | None:
    """SHA-256 of a stream's uncompressed content; None if the stream is not gzip."""
    content = sha256()
    try:
        with gzip.GzipFile(fileobj=cast("IO[bytes]", _Readable(source)), mode="rb") as file:
            while block := file.read(_BLOCK):
                content.update(block)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return None
    return content.hexdigest()


@frozen(slots=True)
class _Readable:
    """Adapts boto3's response body, which lacks some methods that gzip expects."""

    source: Any

    def read(self, size: int = -1) -> bytes:
        return bytes(self.source.read(None if size < 0 else size))


@contextmanager
def packed(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """A closed file in compressed form, and the SHA-256 of that form (Base64).

    A file that is still plain is compressed into an unnamed temporary file beside it, since only the disk
    bounds its size.

    :raise OSError: the file cannot be read.
    """
    if path.suffix != PACKED:
        with _plain(path) as plain:
            if plain is not None:
                with TemporaryFile(dir=path.parent) as draft:
                    with gzip.GzipFile(
                        filename="", fileobj=draft, mode="wb", compresslevel=6, mtime=0
                    ) as file:
                        while block := plain.read(_BLOCK):
                            file.write(block)
                    yield cast(BinaryIO, draft), _digest(cast(BinaryIO, draft))
                return
        path = path.with_name(path.name + PACKED)  # it was compressed in the meantime
    with path.open("rb") as file_:
        yield file_, _digest(file_)


@contextmanager
def _plain(path: Path) -> Iterator[BinaryIO | None]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file


def _digest(file: BinaryIO) -> str:
    content = sha256()
    file.seek(0)
    while block := file.read(_BLOCK):
        content.update(block)
    file.seek(0)
    return b64encode(content.digest()).decode()


def client_for(section: BucketSettings) -> Any:
    """boto3's S3 client. It does not retry: the carrier does, with backoff.

    :raise KeyFileError: the secret's file cannot be used.
    """
    import boto3
    from botocore.config import Config

    content = content_of(section, "secret_access_key", _SECRET_BYTES)
    secret = content.decode("ascii").strip() if content is not None else None
    session = boto3.session.Session(section.access_key_id, secret, region_name=section.region)
    config = Config(
        connect_timeout=section.timeout_s,
        read_timeout=section.timeout_s,
        retries={"total_max_attempts": 1},
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if section.path_style else "auto"},
    )
    return session.client(
        "s3",
        endpoint_url=section.endpoint_url,
        verify=str(section.ca_file) if section.ca_file else None,
        config=config,
    )


def writer_for(settings: Settings, reactor: Any, host: Host = REAL) -> IAuditFileWriter | None:
    """The S3 sink if the settings enable it, else None."""
    section = settings.audit_bucket
    if not section.enabled or section.bucket is None:  # checks.py refuses the latter
        return None
    return BucketSink(
        BucketLocation(section.bucket, section.prefix),
        partial(client_for, section),
        lambda: host.worker(reactor, "audit-bucket"),
    )

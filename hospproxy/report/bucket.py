"""Downloads log files from an S3-compatible bucket, such as the one to which a load balancer delivers.

Needs boto3 (``hospproxy[bucket]``), which takes region, endpoint and credentials from its usual places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from .log_files import ReportError

SCHEME: Final = "s3://"

MOST_BYTES: Final = 20_000_000_000
MOST_OBJECTS: Final = 100_000
"""Bounds of one download: a wrong prefix must not fill the disk."""


def fetch(url: str, folder: Path, client: Any = None) -> dict[Path, str]:
    """Download all objects below a prefix; return the place of each in the bucket, by its file.

    :param url: ``s3://bucket/prefix``.
    :param folder: for the files. Their names are numbers, since keys may hold anything.
    :param client: of boto3; None makes one.
    :raise ReportError: there is nothing, or too much, or the bucket cannot be read.
    """
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise ReportError(f"{url}: expected s3://BUCKET/PREFIX")
    try:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ReportError(f"{url}: needs boto3; install hospproxy[bucket]") from None
    try:
        if client is None:
            import boto3

            client = boto3.client("s3")
        keys = _keys(url, bucket, prefix, client)
        files = {}
        for number, key in enumerate(keys):
            path = folder / f"{number:06d}"
            client.download_file(bucket, key, str(path))
            files[path] = f"{SCHEME}{bucket}/{key}"
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise ReportError(f"{url}: cannot be read ({' '.join(str(error).split())[:300]})") from None
    return files


def _keys(url: str, bucket: str, prefix: str, client: Any) -> list[str]:
    keys: list[str] = []
    size = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for each in page.get("Contents", ()):
            if each["Size"]:
                keys.append(each["Key"])
                size += each["Size"]
        if size > MOST_BYTES or len(keys) > MOST_OBJECTS:
            raise ReportError(
                f"{url}: more than {MOST_OBJECTS:,} objects or {MOST_BYTES // 10**9} GB; name a longer prefix,"
                " such as that of a day"
            )
    if not keys:
        raise ReportError(f"{url}: there are no objects")
    return keys

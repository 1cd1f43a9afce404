"""The section [audit_bucket]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import address, number, path, pattern, switch


@frozen(slots=True, kw_only=True)
class BucketSettings:
    """The trail to an S3-compatible bucket, one object a file."""

    enabled: bool = field(default=False, metadata=switch("Whether closed files are put there."))
    endpoint_url: str | None = field(
        default=None,
        metadata=address("Where the service is. Default: Amazon's for the region.", "https", "http"),
    )
    bucket: str | None = field(
        default=None,
        metadata=pattern(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name", "The bucket. Required."),
    )
    prefix: str = field(
        default="hospproxy",
        metadata=pattern(
            r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*",
            "names joined by /",
            "Objects are called `PREFIX/TRAIL/audit-….jsonl.gz`.",
        ),
    )
    region: str = field(
        default="us-east-1",
        metadata=pattern(r"[a-z0-9-]{1,40}", "a region's name", "The region, which signatures name."),
    )
    access_key_id: str | None = field(
        default=None,
        metadata=pattern(
            r"[!-~]{1,128}",
            "an access key's id",
            "Whose key. Without one boto3 looks where it always does (environment, the machine's role).",
        ),
    )
    secret_access_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("The secret that belongs to it, alone in a file that nobody else may read."),
    )
    secret_access_key_env: str | None = field(
        default=None,
        metadata=secret_fields.variable("Variable of the environment that holds it, instead of the file."),
    )
    secret_access_key: secret_fields.Text | None = field(
        default=None, repr=False, metadata=secret_fields.text("The secret itself, instead of the file.")
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificates (PEM) to trust instead of the usual ones."),
    )
    path_style: bool = field(
        default=False,
        metadata=switch(
            "Whether the bucket's name goes into the path, not the host: most services but Amazon's."
        ),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=number("seconds", 0.1, 600, "For a connection, and for each read or write on it."),
    )

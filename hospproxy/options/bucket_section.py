"""The section [audit_bucket]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import address, names, number, path, pattern, switch


@frozen(slots=True, kw_only=True)
class BucketSettings:
    """Audit sink: an S3-compatible bucket, one object for each closed journal file."""

    LIVE: ClassVar = names(
        "enabled endpoint_url bucket prefix region access_key_id secret_access_key_file "
        "secret_access_key_env secret_access_key ca_file path_style timeout_s"
    )
    RESTART: ClassVar = names("")

    enabled: bool = field(default=False, metadata=switch("Upload closed files."))
    endpoint_url: str | None = field(
        default=None,
        metadata=address("Address of the service. Default: Amazon's for the region.", "https", "http"),
    )
    bucket: str | None = field(
        default=None,
        metadata=pattern(
            r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name", "Name of the bucket. Required."
        ),
    )
    prefix: str = field(
        default="hospproxy",
        metadata=pattern(
            r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*",
            "names joined by /",
            "Prefix of object names: `PREFIX/TRAIL/audit-….jsonl.gz`.",
        ),
    )
    region: str = field(
        default="us-east-1",
        metadata=pattern(
            r"[a-z0-9-]{1,40}", "a region's name", "Region; it is part of each request's signature."
        ),
    )
    access_key_id: str | None = field(
        default=None,
        metadata=pattern(
            r"[!-~]{1,128}",
            "an access key's id",
            "Access key ID. Default: boto3's own search (environment, the machine's role).",
        ),
    )
    secret_access_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("File with the secret access key and nothing else, readable by nobody else."),
    )
    secret_access_key_env: str | None = field(default=None, metadata=secret_fields.variable("secret"))
    secret_access_key: secret_fields.SecretText | None = field(
        default=None, repr=False, metadata=secret_fields.text_of("secret")
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust, instead of boto3's own."),
    )
    path_style: bool = field(
        default=False,
        metadata=switch(
            "Put the bucket's name into the path, not the host. Most services other than Amazon's need it."
        ),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=number("seconds", 0.1, 600, "Timeout for connecting, and for each read or write."),
    )

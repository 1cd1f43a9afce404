"""The sections [access_log] and [access_log_bucket]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from .bucket_section import BucketSettings
from .fields import choice, names, number, path, pattern, switch, whole

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class AccessLogSettings:
    """The access log: one line for each request, made from its audit record."""

    LIVE: ClassVar = names(
        "format directory rotate_bytes rotate_s keep_files keep_bytes query_values record_ids name account region"
    )
    RESTART: ClassVar = names("")

    format: str = field(
        default="off",
        metadata=choice(
            "`alb`: as an Application Load Balancer of AWS writes it. `combined`: as Apache and nginx do."
            " `json`: an object on each line.",
            "off",
            "alb",
            "combined",
            "json",
        ),
    )
    directory: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Folder of the log's files. Default: `state_dir`/access-log."),
    )
    rotate_bytes: int = field(
        default=64 * MiB,
        metadata=whole("bytes", 64 * KiB, GiB, "The open file is closed when it reaches this size."),
    )
    rotate_s: float = field(
        default=300.0,
        metadata=number(
            "seconds",
            60,
            86400,
            "The open file is closed at the end of each interval of this length, counted from midnight UTC.",
        ),
    )
    keep_files: int = field(
        default=10_000,
        metadata=whole("files", 1, 1_000_000, "Most closed files that are kept; the oldest go first."),
    )
    keep_bytes: int = field(
        default=GiB,
        metadata=whole("bytes", MiB, 1024 * GiB, "Most bytes of closed files that are kept."),
    )
    query_values: bool = field(
        default=False,
        metadata=switch(
            "Write the values of query parameters. They may name a patient; they are then in the audit"
            " records too."
        ),
    )
    record_ids: bool = field(
        default=False,
        metadata=switch("Write the id of the record in the path, not only the route. It may be a patient's."),
    )
    name: str = field(
        default="hospproxy",
        metadata=pattern(
            r"[A-Za-z0-9-]{1,32}",
            "1 to 32 letters, digits and -",
            "Name of this proxy in lines and file names, where a load balancer has its own.",
        ),
    )
    account: str = field(
        default="000000000000",
        metadata=pattern(r"[0-9]{12}", "12 digits", "Account in file names and object names."),
    )
    region: str = field(
        default="us-east-1",
        metadata=pattern(r"[a-z0-9-]{1,40}", "a region's name", "Region in file names and object names."),
    )

    @property
    def enabled(self) -> bool:
        """Whether an access log is written."""
        return self.format != "off"


@frozen(slots=True, kw_only=True)
class AccessLogBucketSettings(BucketSettings):
    """Ships closed files of the access log to an S3-compatible bucket."""

    prefix: str = field(
        default="hospproxy",
        metadata=pattern(
            r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*",
            "names joined by /",
            "Prefix of object names: `PREFIX/AWSLogs/ACCOUNT/elasticloadbalancing/REGION/yyyy/mm/dd/….log.gz`.",
        ),
    )

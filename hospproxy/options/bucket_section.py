"""The section [audit_bucket]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import switch


@frozen(slots=True, kw_only=True)
class BucketSettings:
    """The trail to an S3-compatible bucket, one object a file."""

    enabled: bool = field(default=False, metadata=switch("Whether closed files are put there."))

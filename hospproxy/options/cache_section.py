"""Options of the cache: sizes, and for how long a response is fresh or may be stale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from .fields import names, seconds_by_name, switch, whole

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB


@frozen(slots=True, kw_only=True)
class CacheSettings:
    """Caches responses, separately for each set of credentials."""

    LIVE: ClassVar = names("enabled max_bytes max_entry_bytes disk_max_bytes lifetimes shortcuts")
    RESTART: ClassVar = names("")

    enabled: bool = field(default=True, metadata=switch("Cache responses. Needs `identity.enabled`."))
    max_bytes: int = field(
        default=64 * MiB,
        metadata=whole("bytes", 64 * KiB, 64 * GiB, "Memory for all cache entries together."),
    )
    max_entry_bytes: int = field(
        default=4 * MiB, metadata=whole("bytes", KiB, GiB, "Longest response body that is cached.")
    )
    disk_max_bytes: int = field(
        default=256 * MiB,
        metadata=whole(
            "bytes",
            0,
            1024 * GiB,
            "Disk space for encrypted cache entries that survive a restart. 0: no cache on disk.",
        ),
    )
    lifetimes: Mapping[str, float] = field(
        factory=dict,
        metadata=seconds_by_name(
            0,
            86400,
            "How long an entry is fresh, by the contract's `operationId`; overrides the contract's"
            " `cache_s`.",
        ),
    )
    shortcuts: int = field(
        default=2048,
        metadata=whole(
            "requests",
            0,
            1_000_000,
            "Most different requests that each listener of a process answers from memory without going through"
            " every check again, as long as nothing has changed. 0: none.",
        ),
    )

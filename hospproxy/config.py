"""The options (``Settings``) and how to load them. The implementation is in hospproxy/options/."""

from __future__ import annotations

import sys

from .options.addresses import Address, parse_address
from .options.admin_section import AdminSettings
from .options.arrival_section import ArrivalSettings
from .options.audit_section import AuditSettings
from .options.cache_section import CacheSettings
from .options.gate_section import BreakerSettings, GateSettings
from .options.listeners_section import CertificateSettings, ListenerSettings
from .options.loader import NO_FLAGS, ConfigError, Overrides, load, structure
from .options.page_section import AuditPageSettings
from .options.redis_section import RedisSettings
from .options.sections import (
    IdentitySettings,
    OwnershipSettings,
    RetrySettings,
    ScreeningSettings,
    Settings,
    UpstreamSettings,
    ValidationSettings,
    WritesSettings,
)

__all__ = [
    "NO_FLAGS",
    "Address",
    "AdminSettings",
    "ArrivalSettings",
    "AuditPageSettings",
    "AuditSettings",
    "BreakerSettings",
    "CacheSettings",
    "CertificateSettings",
    "ConfigError",
    "GateSettings",
    "IdentitySettings",
    "ListenerSettings",
    "Overrides",
    "OwnershipSettings",
    "RedisSettings",
    "RetrySettings",
    "ScreeningSettings",
    "Settings",
    "UpstreamSettings",
    "ValidationSettings",
    "WritesSettings",
    "load",
    "parse_address",
    "structure",
]


def main(arguments: list[str]) -> int:
    """``python -m hospproxy.config --markdown`` prints the tables of docs/options.md; returns the exit status."""
    if arguments != ["--markdown"]:
        print("usage: python -m hospproxy.config --markdown", file=sys.stderr)
        return 2
    from .options.markdown import markdown

    print(markdown(), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

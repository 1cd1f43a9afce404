"""The options: what they are (``Settings``), and how they are read. Its parts are in hospproxy/options/."""

from __future__ import annotations

from .options.addresses import Address, parse_address
from .options.sections import (
    AdminSettings,
    ArrivalSettings,
    AuditSettings,
    CacheSettings,
    GateSettings,
    IdentitySettings,
    ListenerSettings,
    OwnershipSettings,
    RetrySettings,
    ScreeningSettings,
    Settings,
    UpstreamSettings,
    ValidationSettings,
    WritesSettings,
)

__all__ = [
    "Address",
    "AdminSettings",
    "ArrivalSettings",
    "AuditSettings",
    "CacheSettings",
    "GateSettings",
    "IdentitySettings",
    "ListenerSettings",
    "OwnershipSettings",
    "RetrySettings",
    "ScreeningSettings",
    "Settings",
    "UpstreamSettings",
    "ValidationSettings",
    "WritesSettings",
    "parse_address",
]

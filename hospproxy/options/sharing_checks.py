"""Checks of [redis] and ``workers``: combinations that cannot work or are risky. ``checks.py`` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sections import Settings

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """Find combinations that cannot work; the proxy does not start with them."""
    redis = settings.redis
    if settings.workers > 1 and not redis.enabled:
        yield (
            "workers",
            "more than one worker needs redis.enabled: otherwise workers serve data that another has changed",
        )
    if redis.address.port == 0:
        yield "redis.url", "it needs a port"
    if redis.user is not None and not any((redis.password, redis.password_env, redis.password_file)):
        yield "redis.user", "it needs a password: set redis.password_file"
    if redis.lease_s < 2 * redis.heartbeat_s + redis.timeout_s:
        yield (
            "redis.lease_s",
            "it must be at least 2 * heartbeat_s + timeout_s, or one lost heartbeat ends the lease",
        )
    if (redis.certificate_file is None) != (redis.private_key_file is None):
        missing = "private_key_file" if redis.private_key_file is None else "certificate_file"
        yield f"redis.{missing}", "it is missing: a certificate and its key must be given together"
    if not redis.address.secure:
        for name in ("ca_file", "certificate_file"):
            if getattr(redis, name) is not None:
                yield f"redis.{name}", "it is only for a rediss:// redis.url"


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find combinations that are risky but may be intended; the proxy starts with them."""
    redis = settings.redis
    places = settings.gate.concurrency
    if redis.enabled and settings.gate.enabled and settings.workers > places:
        yield (
            "workers",
            f"there are {settings.workers} workers but only {places} slots at HOSP (gate.concurrency): while Redis is "
            "away for long, some workers can send HOSP no requests",
        )
    if redis.enabled and not redis.address.secure and not redis.address.loopback:
        yield (
            "redis.url",
            "without TLS the password of Redis crosses the network unencrypted (values are sealed): use rediss://",
        )

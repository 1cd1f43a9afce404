"""Combinations of keys of the writers that make no sense or are risky. Pure, but for the look whether boto3 is here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from .addresses import parse_address
from .sections import Settings

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """What cannot be started with."""
    if settings.audit_syslog.enabled:
        if not settings.audit.enabled:
            yield (
                "audit_syslog.enabled",
                "there is nothing to carry on: audit is switched off (audit.enabled)",
            )
        yield from _syslog(settings)
    if settings.audit_bucket.enabled:
        if not settings.audit.enabled:
            yield (
                "audit_bucket.enabled",
                "there is nothing to carry on: audit is switched off (audit.enabled)",
            )
        if find_spec("boto3") is None:
            yield "audit_bucket.enabled", "boto3 is not installed: pip install 'hospproxy[bucket]'"
        yield from _bucket(settings)


def warnings(settings: Settings) -> Iterator[Finding]:
    """Where patients' data cross a network in the clear."""
    for path, enabled, url in (
        ("audit_syslog.url", settings.audit_syslog.enabled, settings.audit_syslog.url),
        ("audit_bucket.endpoint_url", settings.audit_bucket.enabled, settings.audit_bucket.endpoint_url),
    ):
        if enabled and url:
            address = parse_address(url)
            if not address.secure and not address.loopback:
                yield path, f"records of patients go to {address.host} unencrypted"


def _syslog(settings: Settings) -> Iterator[Finding]:
    section = settings.audit_syslog
    if not section.url:
        yield "audit_syslog.url", "it is missing"
        return
    address = parse_address(section.url)
    if address.port == 0:
        yield "audit_syslog.url", "it needs a port"
    names = ("ca_file", "certificate_file", "private_key_file")
    for name in names:
        if getattr(section, name) is not None and not address.secure:
            yield f"audit_syslog.{name}", "it is for tls:// only"
    if (section.certificate_file is None) != (section.private_key_file is None):
        given, missing = names[1:] if section.private_key_file is None else names[:0:-1]
        yield f"audit_syslog.{missing}", f"{given} is named without it"


def _bucket(settings: Settings) -> Iterator[Finding]:
    section = settings.audit_bucket
    if not section.bucket:
        yield "audit_bucket.bucket", "it is missing"
    if section.access_key_id and section.secret_access_key_file is None:
        yield "audit_bucket.secret_access_key_file", "access_key_id is named without it"
    if section.secret_access_key_file is not None and not section.access_key_id:
        yield "audit_bucket.access_key_id", "secret_access_key_file is named without it"
    if section.endpoint_url:
        address = parse_address(section.endpoint_url)
        if address.port == 0:
            yield "audit_bucket.endpoint_url", "it needs a port"
        if section.ca_file is not None and not address.secure:
            yield "audit_bucket.ca_file", "it is only for an https:// endpoint_url"

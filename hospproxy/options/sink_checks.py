"""Checks of the audit sinks' keys: combinations that cannot work or are risky.

Pure, except that they look whether boto3, psycopg and SQLAlchemy are installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from .addresses import parse_address
from .bucket_section import BucketSettings
from .sections import Settings

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """Find combinations in [audit_syslog], the two sections of buckets and [access_log] that cannot work."""
    if settings.audit_syslog.enabled:
        yield from _syslog(settings)
    for name, section in _buckets(settings):
        if find_spec("boto3") is None:
            yield f"{name}.enabled", "boto3 is not installed: pip install 'hospproxy[bucket]'"
        yield from _bucket(name, section)
    if settings.access_log.enabled and not settings.audit.enabled:
        yield "access_log.format", "its lines are made from audit records: it needs audit.enabled"
    if settings.access_log_bucket.enabled and not settings.access_log.enabled:
        yield "access_log_bucket.enabled", "there is nothing to ship while access_log.format is off"


def _buckets(settings: Settings) -> Iterator[tuple[str, BucketSettings]]:
    """The sections of buckets that are in use, with their names."""
    for name in ("audit_bucket", "access_log_bucket"):
        section: BucketSettings = getattr(settings, name)
        if section.enabled:
            yield name, section


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find syslog and bucket sinks that send patients' data unencrypted over a network."""
    for path, enabled, url in (
        ("audit_syslog.url", settings.audit_syslog.enabled, settings.audit_syslog.url),
        *((f"{name}.endpoint_url", True, section.endpoint_url) for name, section in _buckets(settings)),
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
        yield f"audit_syslog.{missing}", f"it is missing, but {given} is given"


def _bucket(name: str, section: BucketSettings) -> Iterator[Finding]:
    if not section.bucket:
        yield f"{name}.bucket", "it is missing"
    given = section.secret_access_key_file or section.secret_access_key or section.secret_access_key_env
    if section.access_key_id and not given:
        yield f"{name}.secret_access_key_file", "it is missing, but access_key_id is given"
    if given and not section.access_key_id:
        yield f"{name}.access_key_id", "it is missing, but a secret access key is given"
    if section.endpoint_url:
        address = parse_address(section.endpoint_url)
        if address.port == 0:
            yield f"{name}.endpoint_url", "it needs a port"
        if section.ca_file is not None and not address.secure:
            yield f"{name}.ca_file", "it is only for an https:// endpoint_url"


def alerts(settings: Settings) -> Iterator[Finding]:
    """Find webhook keys that do not fit together."""
    given = settings.alerts
    if given.webhook_url is None:
        for name in ("webhook_secret_file", "webhook_secret_env", "webhook_secret", "webhook_ca_file"):
            if getattr(given, name) is not None:
                yield f"alerts.{name}", "it has no effect without alerts.webhook_url"
    elif given.webhook_ca_file is not None and not given.webhook_url.startswith("https:"):
        yield "alerts.webhook_ca_file", "it is only for an https:// alerts.webhook_url"


def traces(settings: Settings) -> Iterator[Finding]:
    """Find keys of [traces] that do not fit together."""
    given = settings.traces
    for name in ("headers_file", "ca_file"):
        if given.endpoint is None and getattr(given, name) is not None:
            yield f"traces.{name}", "it has no effect without traces.endpoint"
    if given.endpoint is not None and given.ca_file is not None and not given.endpoint.startswith("https:"):
        yield "traces.ca_file", "it is only for an https:// traces.endpoint"


def writers(settings: Settings) -> Iterator[Finding]:
    """Find HTTP and plugin sinks that cannot work, and sinks that have no trail to send."""
    http = settings.audit_http
    if http.enabled and http.url is None:
        yield "audit_http.url", "it is required where audit_http.enabled"
    if http.ca_file and not (http.url or "").startswith("https:"):
        yield "audit_http.ca_file", "it is only for an https:// audit_http.url"
    taken = {
        "database",
        "syslog",
        "http",
        "bucket",
        "webhook",
        "alert-rules",
        "access_log",
        "access_log_bucket",
    }
    for index, plugin in enumerate(settings.audit_plugins):
        if plugin.name in taken:
            yield f"audit_plugins[{index}].name", f"another sink already has the name {plugin.name}"
        taken.add(plugin.name)
    if settings.audit.enabled:
        return
    for name in ("audit_syslog", "audit_http", "audit_bucket"):  # the database is there by default
        if getattr(settings, name).enabled:
            yield f"{name}.enabled", "it gets no records: audit.enabled is false"
    if settings.audit_plugins:
        yield "audit_plugins", "they get no records: audit.enabled is false"


def databases(settings: Settings) -> Iterator[Finding]:
    """Find database settings that cannot work: a missing driver, or a password without a URL."""
    section = settings.audit_database
    if not section.enabled:
        return
    missing = [name for name in ("psycopg", "sqlalchemy") if section.url and find_spec(name) is None]
    if missing:
        yield (
            "audit_database.url",
            f"PostgreSQL needs packages that are not installed ({', '.join(missing)}):"
            " pip install hospproxy[postgresql]",
        )
    if section.password_file is not None and not section.url:
        yield (
            "audit_database.password_file",
            "it is for PostgreSQL only: set audit_database.url, or remove it",
        )


def open_record(settings: Settings) -> Iterator[Finding]:
    """Find an HTTP sink that sends records unencrypted or unsigned."""
    http = settings.audit_http
    if not http.enabled or http.url is None:
        return
    target = parse_address(re.match(r"[^/]*//[^/?]*", http.url)[0])  # type: ignore[index]
    if not target.secure and not target.loopback:
        yield "audit_http.url", f"who saw which patient goes to {target.host} unencrypted"
    if not (http.secret_file or http.secret or http.secret_env):
        yield (
            "audit_http.secret_file",
            "it is missing: the receiver cannot tell real records from forged ones",
        )


def unheard(settings: Settings) -> Iterator[Finding]:
    """Find a webhook that gets no alerts, or whose alerts anyone could forge or read."""
    given = settings.alerts
    if not given.enabled or given.webhook_url is None:
        return
    if not settings.audit.enabled:
        yield "alerts.webhook_url", "it gets no alerts: audit.enabled is false"
    if not (given.webhook_secret_file or given.webhook_secret or given.webhook_secret_env):
        yield (
            "alerts.webhook_url",
            "without a webhook_secret_file the receiver cannot tell alerts from forged ones",
        )
    host = urlsplit(given.webhook_url)
    if host.scheme == "http" and not parse_address(f"http://{host.netloc}").loopback:
        yield "alerts.webhook_url", "names of staff are sent there unencrypted: use https"


ERRORS = (errors, writers, databases, alerts, traces)
WARNINGS = (warnings, open_record, unheard)

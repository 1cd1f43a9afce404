"""Checks the files that the sections of the audit sinks name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..keys.secrets import KeyFileError, read_key_file
from .files import UnusableError, certificates, wrong_pair
from .sections import Settings

Finding = tuple[str, str]
_SECRET_BYTES = 4096


def errors(settings: Settings) -> Iterator[Finding]:
    """Find files that cannot be used."""
    syslog = settings.audit_syslog
    if syslog.enabled:
        yield from _authority("audit_syslog.ca_file", syslog.ca_file)
        for key, why in wrong_pair(syslog.certificate_file, syslog.private_key_file):
            yield f"audit_syslog.{key}", why
    for name, bucket in (
        ("audit_bucket", settings.audit_bucket),
        ("access_log_bucket", settings.access_log_bucket),
    ):
        if not bucket.enabled:
            continue
        yield from _authority(f"{name}.ca_file", bucket.ca_file)
        if bucket.secret_access_key_file is not None and (why := _no_secret(bucket.secret_access_key_file)):
            yield f"{name}.secret_access_key_file", why


def _authority(path: str, file: Path | None) -> Iterator[Finding]:
    if file is not None:
        try:
            certificates(file)
        except UnusableError as error:
            yield path, str(error)


def _no_secret(file: Path) -> str:
    """Say why a file holds no usable secret, without showing its content; "" if it holds one."""
    try:
        content = read_key_file(file, _SECRET_BYTES)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except KeyFileError as error:
        return str(error)
    if not content.strip() or len(content) > _SECRET_BYTES or not content.isascii():
        return f"{file} holds no secret access key"
    return ""

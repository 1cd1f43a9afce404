"""Checks the files that [redis] names, and the next and previous master keys, which only open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..keys.secrets import HEIR, KeyFileError, MasterKey
from .files import UnusableError, certificates, exposed, out_of_date, wrong_pair
from .secret_fields import MOST
from .sections import Settings

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """Find files that cannot be used."""
    for key, file in _further_keys(settings):
        try:
            MasterKey.load(file)
        except KeyFileError as error:
            yield key, str(error)
    redis = settings.redis
    if not redis.enabled:
        return
    if redis.ca_file is not None:
        try:
            certificates(redis.ca_file)
        except UnusableError as error:
            yield "redis.ca_file", str(error)
    for name, why in wrong_pair(redis.certificate_file, redis.private_key_file):
        yield f"redis.{name}", why
    if redis.password_file is not None and (why := _no_password(redis.password_file)):
        yield "redis.password_file", why
    for name in ("password_file", "ca_file", "certificate_file", "private_key_file"):
        read: Path | None = getattr(redis, name)
        if read is not None and _only_now(read):
            yield f"redis.{name}", f"it is read at each connection, and user {HEIR.get()} may not read {read}"


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find certificates that expire soon or are not valid yet, and secret files that everyone can read or change."""
    redis = settings.redis
    if not redis.enabled:
        return
    if redis.certificate_file is not None:
        yield from _soon_over(redis.certificate_file)
    for name in ("password_file", "private_key_file"):
        file: Path | None = getattr(redis, name)
        yield from exposed(f"redis.{name}", file)


def _further_keys(settings: Settings) -> Iterator[tuple[str, Path]]:
    for name in ("master_key_next_file", "master_key_previous_file"):
        file = getattr(settings, name)
        if file is not None:
            yield name, file


def _only_now(file: Path) -> bool:
    """Whether the user that the proxy will run as (twistd's ``--uid``) surely cannot read a file."""
    heir = HEIR.get()
    if heir is None or not file.is_file():
        return False
    status = file.stat()
    # The user may belong to the file's group, so group read permission counts.
    return not status.st_mode & (0o444 if status.st_uid == heir else 0o044)


def _no_password(file: Path) -> str:
    """Say why a file holds no usable password, without showing its content; "" if it holds one."""
    try:
        if not file.is_file():
            return f"{file} is not a regular file" if file.exists() else f"{file} does not exist"
        with file.open("rb") as opened:
            content = opened.read(MOST + 1)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    if not content.rstrip(b"\r\n"):
        return f"{file} is empty"
    return f"{file} holds more than {MOST} bytes" if len(content) > MOST else ""


def _soon_over(file: Path) -> Iterator[Finding]:
    try:
        own = certificates(file)[0]
    except UnusableError:
        return
    yield from out_of_date("redis.certificate_file", own)

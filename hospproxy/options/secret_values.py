"""The values of the secrets in the options: from a file, the environment, or the options file. ``SECRETS`` lists them.

At most one of the three keys of a secret (``secret_fields.py``) is given.
"""

from __future__ import annotations

import os
import re
import stat
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from ..keys.secrets import KEY_BYTES, KeyFileError, MasterKey, read_key_file
from ..keys.signing_key import Signer
from .secret_fields import MOST, SecretText
from .sections import Settings
from .source import SecretEnvironment

Finding = tuple[str, str]


@frozen(slots=True)
class SecretLocation:
    """Where one stands in the settings.

    :param section: "" for the top.
    :param check: raises ValueError with words that hold nothing of it.
    """

    section: str
    name: str
    check: Callable[[bytes], object]

    @property
    def path(self) -> str:
        """The key path of this secret, as error messages name it."""
        return f"{self.section}.{self.name}" if self.section else self.name

    def of(self, settings: Settings) -> Any:
        """The settings section that holds the keys of this secret."""
        return getattr(settings, self.section) if self.section else settings

    def ways(self, settings: Settings) -> list[str]:
        """Which of its keys are given."""
        section = self.of(settings)
        names = (self.name, f"{self.name}_env", f"{self.name}_file")
        return [name for name in names if getattr(section, name) is not None]


def key_of(value: bytes) -> bytes:
    """A master key that is written as text: 64 hexadecimal digits, or Base64.

    :raise ValueError: it is neither.
    """
    written = value.strip()
    try:
        hexadecimal = len(written) == 2 * KEY_BYTES
        key = bytes.fromhex(written.decode("ascii")) if hexadecimal else b64decode(written, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"it must be {KEY_BYTES} bytes in Base64, or as {2 * KEY_BYTES} hexadecimal digits")
    return key


def _long(value: bytes) -> None:
    if not 16 <= len(value) <= MOST:
        raise ValueError(f"it must have 16 to {MOST} bytes")


def _ascii(value: bytes) -> None:
    if not value.strip() or not value.isascii():
        raise ValueError("it must be printable ASCII")


def _any(_value: bytes) -> None:
    return None


def _signing(value: bytes) -> None:
    try:
        Signer.of_pem(value, "it")
    except KeyFileError as error:
        raise ValueError(str(error)) from None


SECRETS = (
    SecretLocation("", "master_key", key_of),
    SecretLocation("audit", "signing_key", _signing),
    SecretLocation("audit_database", "password", _any),
    SecretLocation("audit_http", "secret", _long),
    SecretLocation("audit_bucket", "secret_access_key", _ascii),
    SecretLocation("access_log_bucket", "secret_access_key", _ascii),
    SecretLocation("alerts", "webhook_secret", _long),
    SecretLocation("redis", "password", _any),
)
"""Every secret that is a text. (Keys of certificates are files, which are read again on SIGHUP.)"""


def taken(settings: Settings, environment: SecretEnvironment) -> tuple[Settings, list[Finding]]:
    """The settings with what the environment holds, and what is wrong with any secret.

    :param environment: what is read is removed from it, so that no child inherits it.
    """
    found: list[Finding] = []
    values: dict[str, bytes | None] = {}
    for secret in SECRETS:
        section, ways = secret.of(settings), secret.ways(settings)
        if len(ways) > 1:
            found.append(
                (secret.path, f"it is given more than once ({', '.join(ways)}): keep one of these keys")
            )
            continue
        name = getattr(section, f"{secret.name}_env")
        if name is not None:
            value = values[name] = values[name] if name in values else _pop(environment, name)
            if value is None:
                found.append((f"{secret.path}_env", f"the environment variable {name} is not set, or empty"))
                continue
            settings = _with(settings, secret, SecretText(value))
        given = getattr(secret.of(settings), secret.name)
        if given is not None:
            try:
                secret.check(given.value)
            except ValueError as error:
                found.append((secret.path if name is None else f"{secret.path}_env", str(error)))
    return settings, found


def _pop(environment: SecretEnvironment, name: str) -> bytes | None:
    value = environment.take(name)
    return os.fsencode(value) if value else None


def _with(settings: Settings, secret: SecretLocation, value: SecretText) -> Settings:
    changed: dict[str, Any] = {secret.name: value}
    if secret.section:
        changed = {secret.section: evolve(secret.of(settings), **changed)}
    return evolve(settings, **changed)


def content_of(section: Any, name: str, most: int = MOST) -> bytes | None:
    """A secret's bytes, wherever they come from; None if it is not given.

    :param section: that has it, once the environment was taken in.
    :param most: bytes that a file may have; one more is read.
    :raise KeyFileError: its file cannot be used.
    """
    given: SecretText | None = getattr(section, name)
    if given is not None:
        return given.value
    file: Path | None = getattr(section, f"{name}_file")
    if file is None:
        return None
    try:
        return read_key_file(file, most)
    except OSError as error:
        raise KeyFileError(f"{file} cannot be read: {error.strerror}") from None


def shared_secret(section: Any, name: str) -> bytes | None:
    """A secret that is shared with somebody else; a line end after it is not part of it.

    :raise KeyFileError: its file cannot be used, or it has not 16 to 4096 bytes.
    """
    secret = content_of(section, name, MOST + 2)
    if secret is None:
        return None
    secret = secret.rstrip(b"\r\n")
    if not 16 <= len(secret) <= MOST:
        raise KeyFileError(f"{getattr(section, f'{name}_file') or name} must hold 16 to {MOST} bytes")
    return secret


def written(settings: Settings) -> Iterator[str]:
    """Key paths of secrets that stand in the options file itself. Ask before the environment is taken in."""
    for secret in SECRETS:
        if getattr(secret.of(settings), secret.name) is not None:
            yield secret.path
    if re.match(r"[^/]*//[^/@]*:[^/@]*@", settings.audit_database.url):
        yield "audit_database.url"


def file_errors(file: Path, paths: list[str]) -> Iterator[Finding]:
    """Whether others can read an options file that holds secrets: the rule is that of key files.

    :param paths: of the secrets in it.
    """
    if paths:
        try:
            read_key_file(file, 0)
        except KeyFileError as error:
            yield paths[0], f"it is a secret, and {error}"
        except OSError:
            return


def file_warnings(file: Path) -> Iterator[str]:
    """Whether others can change an options file."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if mode & 0o022:
        yield f"{file}: others can change it (mode {mode:04o})"


def master_key(settings: Settings, entropy: Callable[[int], bytes] = os.urandom) -> MasterKey:
    """Return the key that the settings name; by default the one in ``state_dir``, which is created if missing.

    A named key is never created: other machines may share it, and a second key would make their state unreadable.

    :param entropy: returns this many random bytes.
    :raise KeyFileError: the file is not usable, or a named one is missing.
    """
    others = (settings.master_key_next_file, settings.master_key_previous_file)
    further = tuple(MasterKey.load(path) for path in others if path is not None)
    return MasterKey(_first(settings, entropy).secret, further)


def _first(settings: Settings, entropy: Callable[[int], bytes]) -> MasterKey:
    if settings.master_key is not None:
        return MasterKey(key_of(settings.master_key.value))
    if settings.master_key_file is not None:
        return MasterKey.load(settings.master_key_file)
    return MasterKey.load_or_create(settings.master_key_path, entropy)

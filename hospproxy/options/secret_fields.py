"""The keys of secrets in the options: each comes from a file, from an environment variable, or from the options file.

A section has three keys for each secret: ``NAME_file``, ``NAME_env`` and ``NAME``. At most one of them may be given.
``secret_values.py`` reads the values. A secret from the environment or the options file is kept in a ``Text``, whose
``repr`` and ``str`` do not show it.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import field, frozen

from .fields import SPEC, BadValueError, Metadata, Spec

MOST = 4096
"""Most bytes of a secret."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@frozen(slots=True)
class Text:
    """A secret that no message or traceback shows.

    :param value: the secret itself.
    """

    value: bytes = field(repr=False)

    def __str__(self) -> str:
        return "Text()"


def text(doc: str) -> Metadata:
    """A secret written in the options file; no error message shows it."""
    takes = "a text"

    def read(value: Any) -> Text:
        if not isinstance(value, str) or not value.strip() or len(value.encode("utf-8", "replace")) > MOST:
            raise BadValueError(f"expected a text of 1 to {MOST} bytes")
        return Text(value.encode("utf-8"))

    return {SPEC: Spec(doc, takes, "", read)}


def variable(doc: str) -> Metadata:
    """The name of an environment variable that holds a secret."""
    takes = "the name of a variable"

    def read(value: Any) -> str:
        # Do not show an invalid name: it may be the secret itself, put here by mistake.
        if not isinstance(value, str) or _NAME.fullmatch(value) is None:
            raise BadValueError(f"expected {takes} of the environment, not its value")
        return value

    return {SPEC: Spec(doc, takes, "", read)}
<<<<<<< HEAD


@frozen(slots=True)
class Secret:
    """The place of one secret in the settings.

    :param section: name of its section; "" for the top of the file.
    :param name: its key, without ``_file`` and ``_env``.
    :param check: raises ValueError if the secret cannot be used; the text must not hold any of it.
    """

    section: str
    name: str
    check: Callable[[bytes], object]

    @property
    def path(self) -> str:
        """The key path of the secret."""
        return f"{self.section}.{self.name}" if self.section else self.name

    def of(self, settings: Settings) -> Any:
        """Return the section that holds it."""
        return getattr(settings, self.section) if self.section else settings

    def ways(self, settings: Settings) -> list[str]:
        """Return which of its three keys are given."""
        section = self.of(settings)
        names = (self.name, f"{self.name}_env", f"{self.name}_file")
        return [name for name in names if getattr(section, name) is not None]


def key_of(value: bytes) -> bytes:
    """Decode a master key from text: 64 hexadecimal digits, or Base64.

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
    Secret("", "master_key", key_of),
    Secret("audit", "signing_key", _signing),
    Secret("audit_database", "password", _any),
    Secret("audit_http", "secret", _long),
    Secret("audit_bucket", "secret_access_key", _ascii),
    Secret("alerts", "webhook_secret", _long),
    Secret("redis", "password", _any),
)
"""Every secret that is a text. (Private keys of certificates are always files, which are read again on SIGHUP.)"""


def taken(settings: Settings, environment: MutableMapping[str, str]) -> tuple[Settings, list[Finding]]:
    """Read secrets from the environment and check all secrets; return the new settings, and what is wrong.

    :param environment: os.environ; variables that are read are removed, so that no child process inherits them.
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
            settings = _with(settings, secret, Text(value))
        given = getattr(secret.of(settings), secret.name)
        if given is not None:
            try:
                secret.check(given.value)
            except ValueError as error:
                found.append((secret.path if name is None else f"{secret.path}_env", str(error)))
    return settings, found


def _pop(environment: MutableMapping[str, str], name: str) -> bytes | None:
    value = environment.pop(name, None)
    return os.fsencode(value) if value else None


def _with(settings: Settings, secret: Secret, value: Text) -> Settings:
    changed: dict[str, Any] = {secret.name: value}
    if secret.section:
        changed = {secret.section: evolve(secret.of(settings), **changed)}
    return evolve(settings, **changed)


def content_of(section: Any, name: str, most: int = MOST) -> bytes | None:
    """Return the bytes of a secret from any of its sources; None if it is not given.

    :param section: the section that holds it, after ``taken`` has read the environment.
    :param most: most bytes that a file may have; one more is read.
    :raise KeyFileError: its file cannot be used.
    """
    given: Text | None = getattr(section, name)
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
    """Read a secret that the other side knows too, for example a webhook's; a line end after it is removed.

    :raise KeyFileError: its file cannot be used, or it does not have 16 to 4096 bytes.
    """
    secret = content_of(section, name, MOST + 2)
    if secret is None:
        return None
    secret = secret.rstrip(b"\r\n")
    if not 16 <= len(secret) <= MOST:
        raise KeyFileError(f"{getattr(section, f'{name}_file') or name} must hold 16 to {MOST} bytes")
    return secret


def written(settings: Settings) -> Iterator[str]:
    """Find the key paths of secrets in the options file itself. Call it before ``taken`` reads the environment."""
    for secret in SECRETS:
        if getattr(secret.of(settings), secret.name) is not None:
            yield secret.path
    if re.match(r"[^/]*//[^/@]*:[^/@]*@", settings.audit_database.url):
        yield "audit_database.url"


def file_errors(file: Path, paths: list[str]) -> Iterator[Finding]:
    """Check that others cannot read an options file that holds secrets; the rule is the same as for key files.

    :param paths: key paths of the secrets in it.
    """
    if paths:
        try:
            read_key_file(file, 0)
        except KeyFileError as error:
            yield paths[0], f"it is a secret, and {error}"
        except OSError:
            return


def file_warnings(file: Path) -> Iterator[str]:
    """Warn if others can change an options file."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if mode & 0o022:
        yield f"{file}: others can change it (mode {mode:04o})"
=======
>>>>>>> 90d872a (Keep the values of secrets apart from the keys that name them)

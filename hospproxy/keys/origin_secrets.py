"""The gateway's secrets: read them, and compare a secret in constant time."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen

from .secrets import KeyFileError, read_secret

_PRINTABLE = re.compile(rb"[!-~](?:[ -~]*[!-~])?")


class SecretError(Exception):
    """A secret is not usable; the text says why, and contains no byte of it."""


def secret_of_file(path: Path) -> bytes:
    """:raise SecretError: the file is missing, readable by others, or not usable in a header field."""
    try:
        return _usable(read_secret(path), str(path))
    except KeyFileError as error:
        raise SecretError(str(error)) from None


def secret_of_variable(name: str, environment: Mapping[str, str]) -> bytes:
    """:raise SecretError: the variable is not set, or not usable in a header field."""
    if name not in environment:
        raise SecretError(f"the environment variable {name} is not set")
    return _usable(environment[name].encode("utf-8", "surrogateescape"), name)


def _usable(secret: bytes, where: str) -> bytes:
    if not 16 <= len(secret) <= 4096 or _PRINTABLE.fullmatch(secret) is None:
        raise SecretError(
            f"{where} must hold 16 to 4096 printable ASCII characters, without spaces around them"
        )
    return secret


def read_secrets(
    files: Sequence[Path], variables: Sequence[str], environment: Mapping[str, str]
) -> tuple[bytes, ...]:
    """Read all secrets that are valid now.

    :raise SecretError: one of them is not usable.
    """
    of_files = [secret_of_file(path) for path in files]
    return (*of_files, *(secret_of_variable(name, environment) for name in variables))


@frozen(slots=True)
class OriginSecrets:
    """The valid secrets, as digests.

    :param key: random key of the digests, for this process only, so that compared values have one length and cannot
        be chosen by a client.
    """

    key: bytes = field(repr=False)
    digests: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, secrets: Sequence[bytes], key: bytes) -> OriginSecrets:
        return cls(key, tuple(hmac.digest(key, secret, sha256) for secret in secrets))

    def know(self, given: bytes) -> bool:
        """Whether this is a valid secret. Always compares with all of them, to take constant time."""
        digest = hmac.digest(self.key, given, sha256)
        known = [hmac.compare_digest(digest, each) for each in self.digests]
        return any(known)

"""The secret by which the gateway in front is known: read, and compared in a time that tells nothing of it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen

from ..secrets import KeyFileError, read_secret

_PRINTABLE = re.compile(rb"[!-~](?:[ -~]*[!-~])?")


class SecretError(Exception):
    """A secret cannot be used; the text says why, and never holds a byte of it."""


def secret_of_file(path: Path) -> bytes:
    """:raise SecretError: it is missing, readable by others, or no secret for a header field."""
    try:
        return _usable(read_secret(path), str(path))
    except KeyFileError as error:
        raise SecretError(str(error)) from None


def secret_of_variable(name: str, environment: Mapping[str, str]) -> bytes:
    """:raise SecretError: it is not set, or no secret for a header field."""
    if name not in environment:
        raise SecretError(f"the environment has no {name}")
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
    """All secrets that are valid at present.

    :raise SecretError: one of them cannot be used.
    """
    of_files = [secret_of_file(path) for path in files]
    return (*of_files, *(secret_of_variable(name, environment) for name in variables))


@frozen(slots=True)
class OriginSecrets:
    """The secrets that are valid, as digests.

    :param key: of the digests, random, of this process only: what is compared is of one length and cannot be chosen.
    """

    key: bytes = field(repr=False)
    digests: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, secrets: Sequence[bytes], key: bytes) -> OriginSecrets:
        return cls(key, tuple(hmac.digest(key, secret, sha256) for secret in secrets))

    def know(self, given: bytes) -> bool:
        """Whether this is one of them. It is compared with all, whichever it is."""
        digest = hmac.digest(self.key, given, sha256)
        known = [hmac.compare_digest(digest, each) for each in self.digests]
        return any(known)

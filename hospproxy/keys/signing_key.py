"""The private key that signs the journal's digests, and the public keys that an auditor checks them with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from twisted.logger import Logger

from ..process.folders import create_whole, write_whole
from .secrets import KEY_BYTES, KeyFileError, read_key_file

_log = Logger()
_MOST = 4096
"""Largest key file that is read, in bytes; a key has 119."""


def key_id(public: Ed25519PublicKey) -> str:
    """Sixteen hexadecimal digits that identify a public key."""
    return sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


@frozen(slots=True)
class Signer:
    """Signs with Ed25519 (RFC 8032): small, fast, and without parameters that could be chosen badly."""

    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Signer:
        """A new key that is stored nowhere."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Signer:
        """Read a private key (PEM, PKCS #8, as openssl writes it) from a file of mode 0600.

        :raise KeyFileError: the file cannot be read, others may read it, or it holds no such key.
        """
        try:
            content = read_key_file(path, _MOST)
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
        return cls.of_pem(content, str(path))

    @classmethod
    def of_pem(cls, content: bytes, name: str) -> Signer:
        """Read a private key from memory.

        :param content: PEM, PKCS #8.
        :param name: how error messages call the key.
        :raise KeyFileError: it is no such key.
        """
        try:
            key = load_pem_private_key(content, None)
        except (ValueError, TypeError):
            raise KeyFileError(f"{name} is not an unencrypted private key in PEM form") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{name} is not an Ed25519 key")
        return cls(key)

    @classmethod
    def load_or_create(cls, path: Path, entropy: Callable[[int], bytes] = os.urandom) -> Signer:
        """Read the key from a file; create the file if it is missing.

        :raise KeyFileError: as for ``load``, or the file cannot be made.
        """
        if not os.path.lexists(path):
            key = Ed25519PrivateKey.from_private_bytes(entropy(KEY_BYTES))
            try:
                create_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            except OSError as error:
                raise KeyFileError(f"{path} cannot be created: {error.strerror}") from None
        return cls.load(path)

    @property
    def key_id(self) -> str:
        return key_id(self._key.public_key())

    @property
    def public_pem(self) -> bytes:
        """The public key for the auditor, as PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def signer_for(
    named: Path | None,
    default: Path,
    pem: bytes | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Signer:
    """The key that the settings name, or the one at the default path, which is created if it is missing.

    Writes the public key beside it. A key that the settings name is never created: the auditor already has the
    public key of the intended one.

    :param pem: the key itself, if it is in no file.
    :param entropy: returns that many random bytes.
    :raise KeyFileError: the key cannot be used.
    """
    if pem is not None:
        signer = Signer.of_pem(pem, "audit.signing_key")
    else:
        signer = Signer.load(named) if named is not None else Signer.load_or_create(default, entropy)
    place = (named or default).with_suffix(".pub")
    if not os.path.lexists(place):
        try:
            write_whole(place, signer.public_pem, 0o644)
        except OSError as error:  # the folder of a mounted secret is read-only
            _log.warn(
                "The public key for auditors cannot be written to {path} ({why}): make it with openssl pkey -pubout",
                path=str(place),
                why=error.strerror,
            )
    return signer


@frozen(slots=True)
class PublicKeys:
    """Checks signatures against several keys, since a journal outlives a key."""

    _keys: tuple[Ed25519PublicKey, ...]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> PublicKeys:
        """Read public keys from PEM files.

        :raise KeyFileError: a file cannot be read, or is not an Ed25519 public key.
        """
        return cls.of(path.read_bytes() if path.is_file() else _no_file(path) for path in paths)

    @classmethod
    def of(cls, pems: Iterable[bytes]) -> PublicKeys:
        """Read public keys from PEM in memory.

        :raise KeyFileError: one is not an Ed25519 public key.
        """
        keys = []
        for pem in pems:
            try:
                key = load_pem_public_key(pem)
            except ValueError:
                raise KeyFileError("a public key is not in PEM form") from None
            if not isinstance(key, Ed25519PublicKey):
                raise KeyFileError("a public key is not an Ed25519 key")
            keys.append(key)
        return cls(tuple(keys))

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether one of the keys made this signature."""
        for key in self._keys:
            try:
                key.verify(signature, message)
            except InvalidSignature:
                continue
            return True
        return False


def _no_file(path: Path) -> bytes:
    raise KeyFileError(f"{path} is not a file")

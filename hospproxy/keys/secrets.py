"""The master key, and the keys that are derived from it.

Each purpose has its own key (HKDF-SHA256, RFC 5869), so that a leaked key is of no use elsewhere. Data made with a
key carries a key id, so that a later master key can be distinguished from this one.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Callable
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..process.folders import create_whole

KEY_BYTES = 32
HEIR: ContextVar[int | None] = ContextVar("heir", default=None)
"""The user that the process changes to once its ports are bound; set while it is still root."""


class KeyFileError(Exception):
    """The master key's file is not usable; the text says why, and contains no byte of the key."""


@frozen(slots=True)
class MasterKey:
    """32 random bytes. Only keys derived from them are used.

    :param secret: the key itself.
    :param further: keys that only decrypt what was made with them, while one master key replaces another.
    """

    secret: bytes = field(repr=False)
    further: tuple[MasterKey, ...] = field(default=(), repr=False)

    @secret.validator
    def _whole(self, _attribute: object, value: bytes) -> None:
        if len(value) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(value)}")

    @classmethod
    def load(cls, path: Path) -> MasterKey:
        """Read the master key from a file, after checking the file's permissions.

        :raise KeyFileError: it is missing, not a regular file, readable by others, or not 32 bytes long.
        """
        try:
            content = read_key_file(path, KEY_BYTES)
        except OSError as error:
            raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
        if len(content) != KEY_BYTES:
            raise KeyFileError(f"{path} is not a master key: it must hold exactly {KEY_BYTES} bytes")
        return cls(content)

    @classmethod
    def load_or_create(cls, path: Path, entropy: Callable[[int], bytes] = os.urandom) -> MasterKey:
        """Read a key file; create it first if it is missing (mode 0600, its folder 0700).

        Processes that start together get the same key: the file appears complete or not at all, and only once.

        :raise KeyFileError: it is not usable, or cannot be created.
        """
        if not os.path.lexists(path):
            try:
                create_whole(path, entropy(KEY_BYTES))
            except OSError as error:
                raise KeyFileError(f"{path} cannot be created: {error.strerror}") from None
        return cls.load(path)

    @property
    def key_id(self) -> str:
        """Eight hexadecimal digits that identify this key and reveal nothing about it."""
        return self.subkey("key id")[:4].hex()

    def subkey(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose; the same purpose always gives the same key.

        :param purpose: its name ("ledger", "credentials", …).
        """
        info = b"hospproxy/1/" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self.secret)

    def hmac(self, purpose: str) -> Hmac:
        """Return a keyed hash for one purpose (RFC 2104)."""
        return Hmac(self.subkey(purpose))


@frozen(slots=True)
class Hmac:
    """HMAC-SHA256 under one key: call it with the data."""

    key: bytes = field(repr=False)

    def __call__(self, data: bytes) -> bytes:
        return hmac.digest(self.key, data, sha256)


def read_key_file(path: Path, most: int) -> bytes:
    """Return a private file's content, up to one byte more than ``most``.

    :param most: maximum length of a key in bytes.
    :raise KeyFileError: it is not a regular file, or others can read it.
    :raise OSError: it cannot be read.
    """
    # O_NONBLOCK: if the path is a pipe, opening it must not block the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file")
        _refuse_others(path, status)
        return os.read(descriptor, most + 1)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> bytes:
    """Return a secret that is shared with another system, as text or bytes, without a line end after it.

    :raise KeyFileError: it is missing, readable by others, or not of 16 to 4096 bytes.
    """
    try:
        secret = read_key_file(path, 4098).rstrip(b"\r\n")
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if not 16 <= len(secret) <= 4096:
        raise KeyFileError(f"{path} must hold 16 to 4096 bytes")
    return secret


def _refuse_others(path: Path, status: os.stat_result) -> None:
    """PostgreSQL's rule for key files (`ssl_key_file`): 0600, or 0640 if owned by root, as mounted secrets are."""
    mode = stat.S_IMODE(status.st_mode)
    # While root reads keys for the later user (twistd's --uid), that user's file is as private as root's.
    if status.st_uid not in (0, os.geteuid(), HEIR.get()):
        raise KeyFileError(f"{path} belongs to another user; chown it to the user of the proxy")
    if mode & (0o027 if status.st_uid == 0 != os.geteuid() else 0o077):
        raise KeyFileError(f"{path} can be read or changed by others (mode {mode:04o}): run chmod 600 on it")

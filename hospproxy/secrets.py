"""The one master key, and the keys that are made of it.

Every purpose has a key of its own (HKDF-SHA256, RFC 5869), so that what leaks from one place opens no other. A key id
goes with what a key has made, so that a later master key can be told from this one.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Callable
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .folders import make_private

if TYPE_CHECKING:
    from .config import Settings

KEY_BYTES = 32
HEIR: ContextVar[int | None] = ContextVar("heir", default=None)
"""The user who the process will be once its ports are bound, while it is still root."""


class KeyFileError(Exception):
    """The master key's file cannot be used; the text says why, and never holds a byte of it."""


def master_key(settings: Settings, entropy: Callable[[int], bytes] = os.urandom) -> MasterKey:
    """The key that the settings name; without a name the one in ``state_dir``, made if there is none.

    A named key is never made: a second key beside the one that other machines share would make their state
    unreadable.

    :param entropy: gives so many random bytes.
    :raise KeyFileError: it cannot be used, or a named one is missing.
    """
    others = (settings.master_key_next_file, settings.master_key_previous_file)
    further = tuple(MasterKey.load(path) for path in others if path is not None)
    return MasterKey(_first(settings, entropy).secret, further)


def _first(settings: Settings, entropy: Callable[[int], bytes]) -> MasterKey:
    if settings.master_key is not None:
        from .options.secret_fields import key_of  # it needs this module

        return MasterKey(key_of(settings.master_key.value))
    if settings.master_key_file is not None:
        return MasterKey.load(settings.master_key_file)
    return MasterKey.load_or_create(settings.master_key_path, entropy)


@frozen(slots=True)
class MasterKey:
    """32 random bytes. Only keys derived from them are used.

    :param secret: the key itself.
    :param further: that only open what was made with them, while one key takes the place of another.
    """

    secret: bytes = field(repr=False)
    further: tuple[MasterKey, ...] = field(default=(), repr=False)

    @secret.validator
    def _whole(self, _attribute: object, value: bytes) -> None:
        if len(value) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(value)}")

    @classmethod
    def load(cls, path: Path) -> MasterKey:
        """Read a key file.

        :raise KeyFileError: it is missing, not a plain file, readable by others, or not 32 bytes long.
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
        """Read a key file, made first if there is none (mode 0600, its folder 0700).

        Processes that start together agree on one key: the file appears whole or not at all, and only once.

        :raise KeyFileError: it cannot be used, or not be made.
        """
        if not os.path.lexists(path):
            try:
                make_key_file(path, entropy(KEY_BYTES))
            except OSError as error:
                raise KeyFileError(f"{path} cannot be made: {error.strerror}") from None
        return cls.load(path)

    @property
    def key_id(self) -> str:
        """Eight hexadecimal digits that name this key and tell nothing of it."""
        return self.subkey("key id")[:4].hex()

    def subkey(self, purpose: str) -> bytes:
        """32 bytes for one purpose: the same purpose gives the same key, for ever.

        :param purpose: its name ("ledger", "credentials", …).
        """
        info = b"hospproxy/1/" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self.secret)

    def hmac(self, purpose: str) -> Hmac:
        """A keyed hash for one purpose (RFC 2104)."""
        return Hmac(self.subkey(purpose))


@frozen(slots=True)
class Hmac:
    """HMAC-SHA256 under one key: call it with what to hash."""

    key: bytes = field(repr=False)

    def __call__(self, data: bytes) -> bytes:
        return hmac.digest(self.key, data, sha256)


def read_key_file(path: Path, most: int) -> bytes:
    """A private file's content, and at most one byte more than a key may have.

    :param most: bytes.
    :raise KeyFileError: it is no plain file, or others can read it.
    :raise OSError: it cannot be read.
    """
    # O_NONBLOCK: opening a pipe that somebody put there must not hang the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a plain file")
        _refuse_others(path, status)
        return os.read(descriptor, most + 1)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> bytes:
    """A secret that is shared with somebody else, as text or bytes; a line end after it is not part of it.

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
    """PostgreSQL's rule for key files (`ssl_key_file`): 0600, or 0640 if root owns it, as a mounted secret is."""
    mode = stat.S_IMODE(status.st_mode)
    # Root reads the keys of the user whom it will be (twistd's --uid): that user's file is as private as root's.
    if status.st_uid not in (0, os.geteuid(), HEIR.get()):
        raise KeyFileError(f"{path} belongs to another user")
    if mode & (0o027 if status.st_uid == 0 != os.geteuid() else 0o077):
        raise KeyFileError(f"{path} can be read or changed by others (mode {mode:04o}): chmod 600 it")


def make_key_file(path: Path, content: bytes) -> None:
    """A private file (0600, its folder 0700) that appears whole or not at all; one that is there stays.

    :raise OSError: it cannot be made.
    """
    make_private(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            # A link, not a rename: it fails where another process was first, and its key stays.
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

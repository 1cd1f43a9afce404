"""The users file of the audit page: names with scrypt hashes (RFC 7914) of their passwords."""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ..process.folders import create_whole, make_private, write_whole
from .secrets import KeyFileError, read_key_file

MAX_BYTES: Final = 1 << 20
MAX_PASSWORD_BYTES: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_HASH_BYTES: Final = 32
_SALT_BYTES: Final = 16


class UsersError(Exception):
    """The users file, a name or a password cannot be used; the text says why, and never holds a password."""


@frozen(slots=True)
class Cost:
    """Cost of one scrypt hash (RFC 7914 §2); by default 32 MiB and about a tenth of a second.

    :param n: CPU and memory cost; a power of two.
    :param r: block size.
    :param p: parallelization.
    """

    n: int = 1 << 15
    r: int = 8
    p: int = 1

    def __attrs_post_init__(self) -> None:
        # A users file from elsewhere must not be able to exhaust the memory.
        if not (
            1 < self.n <= 1 << 20 and self.n & (self.n - 1) == 0 and 0 < self.r <= 32 and 0 < self.p <= 16
        ):
            raise UsersError("the scrypt cost parameters n, r and p are out of bounds")

    def derive(self, password: str, salt: bytes) -> bytes:
        """Hash a password. It is slow: never call it in the reactor's thread."""
        raw = password.encode("utf-8", "surrogatepass")
        room = 132 * self.n * self.r + 256 * self.r * self.p + (1 << 20)
        return hashlib.scrypt(raw, salt=salt, n=self.n, r=self.r, p=self.p, maxmem=room, dklen=_HASH_BYTES)


@frozen(slots=True)
class StoredPassword:
    """The stored hash of one password."""

    cost: Cost
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str, cost: Cost | None = None) -> StoredPassword:
        """Hash a new password with a fresh random salt, to store it in the users file.

        :raise UsersError: it is empty or too long.
        """
        if not password or len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
            raise UsersError(f"a password must have 1 to {MAX_PASSWORD_BYTES} bytes")
        salt = secrets.token_bytes(_SALT_BYTES)
        chosen = cost or Cost()
        return cls(chosen, salt, chosen.derive(password, salt))

    @classmethod
    def parse(cls, text: str) -> StoredPassword:
        """Parse a hash as the users file holds it (see ``__str__``).

        :raise UsersError: it is not ``scrypt$n$r$p$salt$hash``.
        """
        try:
            kind, n, r, p, salt, made = text.split("$")
            kept = cls(
                Cost(int(n), int(r), int(p)),
                base64.b64decode(salt, validate=True),
                base64.b64decode(made, validate=True),
            )
        except (ValueError, binascii.Error):
            raise UsersError("it is not scrypt$n$r$p$salt$hash") from None
        if kind != "scrypt" or len(kept.hash) != _HASH_BYTES or len(kept.salt) < _SALT_BYTES:
            raise UsersError("it is not scrypt$n$r$p$salt$hash")
        return kept

    def __str__(self) -> str:
        salt, made = (base64.b64encode(each).decode() for each in (self.salt, self.hash))
        return f"scrypt${self.cost.n}${self.cost.r}${self.cost.p}${salt}${made}"

    def fits(self, password: str) -> bool:
        """Whether a password is the right one. Slow, like ``Cost.derive``."""
        if len(password) > MAX_PASSWORD_BYTES:
            return False
        return hmac.compare_digest(self.cost.derive(password, self.salt), self.hash)


Users = Mapping[str, StoredPassword]

NOBODY: Final = StoredPassword(Cost(), bytes(_SALT_BYTES), bytes(_HASH_BYTES))
"""Matches no password. An unknown name costs as much time as a known one, so timing does not reveal names."""


def parse(text: str) -> dict[str, StoredPassword]:
    """Parse the content of a users file.

    :raise UsersError: a line is not ``name:scrypt$…``, or repeats a name.
    """
    users: dict[str, StoredPassword] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, kept = line.strip().partition(":")
        if not colon or not _NAME.match(name) or name in users:
            raise UsersError(
                f"line {number}: expected a name that no other line has, a colon and scrypt$n$r$p$salt$hash"
            )
        try:
            users[name] = StoredPassword.parse(kept)
        except UsersError as error:
            raise UsersError(f"line {number}: {error}") from None
    return users


def load(path: Path) -> dict[str, StoredPassword]:
    """Read a users file, after checking its permissions and size.

    :raise UsersError: it is missing, readable by others, too long or malformed.
    """
    try:
        content = read_key_file(path, MAX_BYTES)
    except KeyFileError as error:
        raise UsersError(str(error)) from None
    except OSError as error:
        raise UsersError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UsersError(f"{path} has more than {MAX_BYTES} bytes")
    try:
        return parse(content.decode())
    except UnicodeDecodeError:
        raise UsersError(f"{path} is not UTF-8") from None
    except UsersError as error:
        raise UsersError(f"{path}: {error}") from None


def add(path: Path, name: str, password: str, cost: Cost | None = None) -> bool:
    """Add a user, or change a user's password; create the file if there is none.

    :return: whether the name is new.
    :raise UsersError: the name, the password or the file cannot be used.
    """
    if not _NAME.match(name):
        raise UsersError(
            "a name must have 1 to 64 letters, digits or . _ @ -, and start with a letter or digit"
        )
    kept = StoredPassword.of(password, cost)
    with _changing(path) as users:
        new = name not in users
        users[name] = kept
    return new


def remove(path: Path, name: str) -> None:
    """Remove a user from the users file; the audit page then refuses this name.

    :raise UsersError: there is no such user, or the file cannot be used.
    """
    with _changing(path) as users:
        if users.pop(name, None) is None:
            raise UsersError(f"{path}: there is no user with this name")


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, StoredPassword]]:
    """Lock the file, yield its users for changes, and replace the file by renaming, so that no change is lost."""
    try:
        make_private(path.parent)
        lock = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsersError(f"{path.parent} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = load(path) if os.path.lexists(path) else {}
        yield users
        # Keep the owner even if root changes the file: the proxy must be able to read it.
        write_whole(path, spelled(users), keep_owner=True)
    except OSError as error:
        raise UsersError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        os.close(lock)


def spelled(users: Users) -> bytes:
    """Build the content of a users file."""
    return "".join(f"{name}:{kept}\n" for name, kept in users.items()).encode()


def make_first(path: Path, password_file: Path, name: str = "auditor") -> bool:
    """If there is no users file, create one user with a random password, which is written to ``password_file``.

    :return: whether a user was created.
    :raise UsersError: a file cannot be written.
    """
    if os.path.lexists(path):
        return False
    password = secrets.token_urlsafe(18)
    try:
        # Write the password first: after a crash, a user with an unknown password would be worse than none.
        password_file.unlink(missing_ok=True)
        create_whole(password_file, password.encode() + b"\n")
        create_whole(path, spelled({name: StoredPassword.of(password)}))
    except OSError as error:
        raise UsersError(f"{path} cannot be made: {error.strerror}") from None
    return True

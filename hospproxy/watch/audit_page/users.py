"""Who may look at the trail: a file of names and of what scrypt (RFC 7914) makes of their passwords."""

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

from ...secrets import KeyFileError, make_key_file, read_key_file

MAX_BYTES: Final = 1 << 20
MAX_PASSWORD_BYTES: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_HASH_BYTES: Final = 32
_SALT_BYTES: Final = 16


class UsersError(Exception):
    """The users file, a name or a password cannot be used; the text says why, and never holds a password."""


@frozen(slots=True)
class Cost:
    """How dear one try is (RFC 7914 §2): 32 MiB and about a tenth of a second.

    :param n: rounds; a power of two.
    :param r: size of a block.
    :param p: how many times beside each other.
    """

    n: int = 1 << 15
    r: int = 8
    p: int = 1

    def __attrs_post_init__(self) -> None:
        # A file that somebody else wrote must not take all memory.
        if not (
            1 < self.n <= 1 << 20 and self.n & (self.n - 1) == 0 and 0 < self.r <= 32 and 0 < self.p <= 16
        ):
            raise UsersError("the cost of a password is out of bounds")

    def derive(self, password: str, salt: bytes) -> bytes:
        """What is kept of a password. It takes its time: never in the reactor's thread."""
        raw = password.encode("utf-8", "surrogatepass")
        room = 132 * self.n * self.r + 256 * self.r * self.p + (1 << 20)
        return hashlib.scrypt(raw, salt=salt, n=self.n, r=self.r, p=self.p, maxmem=room, dklen=_HASH_BYTES)


@frozen(slots=True)
class Kept:
    """What is kept of one password."""

    cost: Cost
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str, cost: Cost | None = None) -> Kept:
        """:raise UsersError: it is empty or too long."""
        if not password or len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
            raise UsersError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
        salt = secrets.token_bytes(_SALT_BYTES)
        chosen = cost or Cost()
        return cls(chosen, salt, chosen.derive(password, salt))

    @classmethod
    def parse(cls, text: str) -> Kept:
        """:raise UsersError: it is not ``scrypt$n$r$p$salt$hash``."""
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
        """Whether it is this password. It takes its time."""
        if len(password) > MAX_PASSWORD_BYTES:
            return False
        return hmac.compare_digest(self.cost.derive(password, self.salt), self.hash)


Users = Mapping[str, Kept]

NOBODY: Final = Kept(Cost(), bytes(_SALT_BYTES), bytes(_HASH_BYTES))
"""Fits no password. A name that nobody has costs as much as one that somebody has, so that time does not tell."""


def parse(text: str) -> dict[str, Kept]:
    """The users of a file.

    :raise UsersError: a line is not ``name:scrypt$…``, or a name stands twice.
    """
    users: dict[str, Kept] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, kept = line.strip().partition(":")
        if not colon or not _NAME.match(name) or name in users:
            raise UsersError(
                f"line {number}: it is not a name of its own, a colon and scrypt$n$r$p$salt$hash"
            )
        try:
            users[name] = Kept.parse(kept)
        except UsersError as error:
            raise UsersError(f"line {number}: {error}") from None
    return users


def load(path: Path) -> dict[str, Kept]:
    """Read a users file.

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
    """Add somebody, or give a new password to somebody; the file is made if there is none.

    :return: whether the name is new.
    :raise UsersError: the name, the password or the file cannot be used.
    """
    if not _NAME.match(name):
        raise UsersError("a name has 1 to 64 letters, digits and . _ @ -, and begins with a letter or digit")
    kept = Kept.of(password, cost)
    with _changing(path) as users:
        new = name not in users
        users[name] = kept
    return new


def remove(path: Path, name: str) -> None:
    """:raise UsersError: there is no such user, or the file cannot be used."""
    with _changing(path) as users:
        if users.pop(name, None) is None:
            raise UsersError(f"{path}: there is no user of this name")


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Kept]]:
    """The users, to be changed: written beside the file and renamed, under a lock, so that none is lost."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsersError(f"{path.parent} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = load(path) if os.path.lexists(path) else {}
        yield users
        _replace(path, spelled(users))
        os.fsync(lock)
    except OSError as error:
        raise UsersError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        os.close(lock)


def spelled(users: Users) -> bytes:
    """The file of these users."""
    return "".join(f"{name}:{kept}\n" for name, kept in users.items()).encode()


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.path.lexists(path):
                # Changed by root, the file stays its owner's: the proxy must be able to read it.
                status = path.stat()
                os.fchown(descriptor, status.st_uid, status.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def make_first(path: Path, password_file: Path, name: str = "auditor") -> bool:
    """At the first start, when there is no file: one user with a random password, which is put into a file.

    :return: whether one was made.
    :raise UsersError: they cannot be written.
    """
    if os.path.lexists(path):
        return False
    password = secrets.token_urlsafe(18)
    try:
        # The password first: a user whose password nobody knows would be worse than a password without a user.
        password_file.unlink(missing_ok=True)
        make_key_file(password_file, password.encode() + b"\n")
        make_key_file(path, spelled({name: Kept.of(password)}))
    except OSError as error:
        raise UsersError(f"{path} cannot be made: {error.strerror}") from None
    return True

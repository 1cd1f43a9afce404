"""Give up privileges at the start, and prepare the state folder for the user that the process becomes.

Twisted's ``--uid`` changes the user after the ports are bound and the keys are read. What is created in the state
folder before that must belong to the later user.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

UMASK = 0o077
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_LATE = (
    "_strptime",
    "encodings.ascii",
    "encodings.unicode_escape",
    "encodings.idna",
    "jinja2",
    "twisted.internet._resolver",
)
Prctl = Callable[[int, int], int]


class OwnershipError(Exception):
    """The later user cannot write to the state folder; the text says what to do."""


def _prctl(option: int, value: int) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    return int(library.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def harden(prctl: Prctl = _prctl) -> list[str]:
    """Give up what a proxy never needs: files readable by others, core dumps (with passwords), new privileges.

    Afterwards only root can look into the process (ptrace, /proc/PID/mem).

    :return: what could not be given up.
    """
    os.umask(UMASK)
    troubles = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        troubles.append(f"core dumps: {error}")
    for option, value, name in (
        (_PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE"),
        (_PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS"),
    ):
        try:
            if prctl(option, value) != 0:
                troubles.append(name)
        except (AttributeError, OSError) as error:
            troubles.append(f"{name}: {error}")
    return troubles


def heir(uid: int | None, gid: int | None) -> tuple[int, int] | None:
    """Return the user and group that the process will change to; None if it does not change.

    :param uid: of twistd's ``--uid``.
    :param gid: of ``--gid``; the user's own group if it is not given.
    """
    if uid is None or uid == os.geteuid():
        return None
    try:
        return uid, gid if gid is not None else pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid, os.getegid()


def prepare(state_dir: Path, uid: int, gid: int) -> None:
    """Create the state folder for the later user, or check that it belongs to that user.

    :raise OwnershipError: it belongs to another user, or cannot be created.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        owner = state_dir.stat().st_uid
        if owner != uid:
            raise OwnershipError(
                f"{state_dir} belongs to user {owner}, but the proxy will run as user {uid}:"
                f" run chown -R {uid}:{gid} {state_dir}"
            ) from None
        return
    except OSError as error:
        raise OwnershipError(f"{state_dir} cannot be created: {error.strerror}") from None
    os.chown(state_dir, uid, gid)


def load_late_modules() -> None:
    """Import modules that are otherwise imported at first use: the later user may have no access to the libraries."""
    for name in _LATE:
        with suppress(ImportError):  # an optional dependency that is not installed
            import_module(name)


def hand_over(state_dir: Path, uid: int, gid: int) -> None:
    """Give what this process created in the state folder as root to the later user.

    Links are never followed, and files with more than one name are left alone: the folder belongs to a user who may
    have placed them there.

    :raise OSError: a file cannot be given.
    """
    for path, flags in _made(state_dir):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | flags)
        try:
            status = os.fstat(descriptor)
            plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            if status.st_uid == os.geteuid() and (plain or stat.S_ISDIR(status.st_mode)):
                os.fchown(descriptor, uid, gid)
        finally:
            os.close(descriptor)


def _made(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield what is in a folder and belongs to this process's user, innermost first."""
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        if entry.is_symlink() or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _made(Path(entry.path))
            yield Path(entry.path), os.O_DIRECTORY
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path), 0

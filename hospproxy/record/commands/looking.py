"""Whoever looks at the trail is on record in it: a look becomes a record in a journal of the command's own."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import RecordFailed
from ...secrets import KeyFileError
from ..describe import VERSION, Record, timestamp
from ..trail.encoding import encode_record
from ..trail.keeper import Keeper
from ..trail.signing import Signer

_TEXT = 200


class LookFailed(Exception):
    """It could not be recorded; why, in words for the terminal."""


def who_asks() -> str:
    """The name of the account that runs the command."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def look(route: str, filters: Mapping[str, Any], name: str, wall: float, request_id: str) -> Record:
    """The record of a look from a terminal; docs/audit.md has the fields.

    :param route: the command.
    :param filters: what was asked, by name.
    :param name: of the account.
    :param wall: seconds since the epoch.
    """
    return {
        "v": VERSION,
        "kind": "look",
        "time": timestamp(wall),
        "request_id": request_id,
        "who": {"id": None, "name": name[:_TEXT], "certainty": "auditor"},
        "client": {"address": None, "peer": None, "chain": [], "scheme": "terminal"},
        "method": None,
        "route": route,
        "action": "search" if route.endswith("search") else "export",
        "outcome": "success",
        "status": None,
        "filters": {each: str(value)[:_TEXT] for each, value in filters.items()},
        "patient_id": filters.get("patient"),
    }


def keep(record: Record, folder: Path, key: Path, wall: Callable[[], float]) -> None:
    """Put a look on disk, in the next journal that nobody writes, and end its file in order.

    :param key: the proxy's private signing key: what it does not sign, no auditor takes for the trail.
    :raise LookFailed: it is not there.
    """
    try:
        owner = folder.stat().st_uid
        if os.geteuid() not in (0, owner):
            # The lock that this would leave behind could not be taken by the proxy.
            raise LookFailed(f"{folder} is another's")
        keeper = Keeper(folder, wall, signer=Signer.load(key))
        try:
            keeper.keep([encode_record(record)])
        finally:
            journal = keeper.journal
            keeper.close()
            if journal is not None:  # whatever came of it: else the proxy could not take the lock
                hand_over(folder, f"audit-{journal}", owner)
    except KeyFileError as error:
        raise LookFailed(str(error)) from error
    except RecordFailed as error:
        raise LookFailed(str(error)) from error
    except OSError as error:
        raise LookFailed(f"{folder}: {error.strerror}") from error


def hand_over(folder: Path, start: str, owner: int) -> None:
    """Make what root has made the proxy's: it will go on in this journal some day, and takes its lock.

    :param start: of the names of what was made.
    :param owner: of the folder.
    """
    if os.geteuid() == owner:
        return
    for path in (*folder.glob(f"{start}-*"), *folder.glob(f"{start}.*")):
        with suppress(FileNotFoundError):  # packed meanwhile
            os.chown(path, owner, folder.stat().st_gid, follow_symlinks=False)

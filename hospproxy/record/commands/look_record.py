"""Records each look at the trail from a terminal, in a journal of the command's own."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...http.errors import RecordFailed
from ...keys.secrets import KeyFileError
from ...keys.signing_key import Signer
from ..describe import VERSION, Record, timestamp
from ..trail.keeper import TrailKeeper
from ..trail.record_line import encode_record

_TEXT = 200


class LookFailed(Exception):
    """The look could not be recorded; the text says why, for the terminal."""


def who_asks() -> str:
    """Name of the account that runs the command."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def look(route: str, filters: Mapping[str, Any], name: str, wall: float, request_id: str) -> Record:
    """The record of a look from a terminal; docs/audit.md lists the fields.

    :param route: the command.
    :param filters: the filters given, by name.
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
    """Write a look to disk, in the next journal that no process writes, and close its file.

    :param key: the proxy's private signing key: ``verify`` accepts only records in files that it signed.
    :raise LookFailed: the look is not on disk.
    """
    try:
        owner = folder.stat().st_uid
        if os.geteuid() not in (0, owner):
            # This would leave a lock file that the proxy's account cannot open.
            raise LookFailed(f"{folder} belongs to another user; run this command as its owner or as root")
        keeper = TrailKeeper(folder, wall, signer=Signer.load(key))
        try:
            keeper.keep([encode_record(record)])
        finally:
            journal = keeper.journal
            keeper.close()
            if journal is not None:  # also after a failure: else the proxy could not open the lock file
                hand_over(folder, f"audit-{journal}", owner)
    except KeyFileError as error:
        raise LookFailed(str(error)) from error
    except RecordFailed as error:
        raise LookFailed(str(error)) from error
    except OSError as error:
        raise LookFailed(f"{folder}: {error.strerror}") from error


def hand_over(folder: Path, start: str, owner: int) -> None:
    """Give files that root made to the folder's owner: the proxy may later continue this journal and lock it.

    :param start: prefix of the names of those files.
    :param owner: of the folder.
    """
    if os.geteuid() == owner:
        return
    for path in (*folder.glob(f"{start}-*"), *folder.glob(f"{start}.*")):
        with suppress(FileNotFoundError):  # compressed in the meantime
            os.chown(path, owner, folder.stat().st_gid, follow_symlinks=False)

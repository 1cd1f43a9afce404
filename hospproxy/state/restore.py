"""Checks a backup, and restores it into a new state folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from ..copy.files import MAJOR as COPY_MAJOR
from ..keys.secrets import KeyFileError, MasterKey
from ..keys.signing_key import PublicKeys, Signer
from ..outward.ledger.format import MAJOR
from ..process.folders import sync_folder
from ..record.sinks.positions import FOLDER as POSITIONS
from ..record.trail.identity import FILE as TRAIL_ID
from ..record.trail.verify import verify
from . import manifest
from .backup import COPY, LEDGER
from .manifest import CONTENT, Manifest, StateError


def check(folder: Path, public_keys: list[Path]) -> Manifest:
    """Check all of a backup that can be checked without starting a proxy: files, keys, ledger, trail.

    :param public_keys: public keys of the trail, besides the one in the backup.
    :raise StateError: lists everything that is wrong.
    """
    found = manifest.read(folder)
    content = folder / CONTENT
    try:
        wrong = _differences(content, found)
        if not wrong:
            wrong = [*_keys(content), *_database(content / LEDGER, MAJOR)]
            wrong += [each for name in COPY for each in _database(content / name, COPY_MAJOR)]
            wrong += _trail(content, found, public_keys)
    except (OSError, KeyFileError) as error:
        wrong = [str(error)]
    if wrong:
        raise StateError("\n".join(wrong))
    return found


def restore(folder: Path, state: Path, public_keys: list[Path], *, same_trail: bool = False) -> Manifest:
    """Check a backup, and restore it into a state folder that a proxy can start with.

    The folder appears complete or not at all. Records that the old proxy made after the backup may have reached the
    sinks, and the new proxy will give their numbers to other records. So the trail gets a new name in the sinks,
    unless ``same_trail`` is set.

    :param state: must not exist, or be empty.
    :param same_trail: nothing was recorded after the backup: keep the trail's name, and the cursors.
    :raise StateError: the backup is incomplete or damaged, or the folder cannot be written.
    """
    found = check(folder, public_keys)
    state = state.resolve()  # "." has no name from which to derive the draft's
    draft = state.with_name(f"{state.name}.restoring")
    try:
        if state.exists() and any(state.iterdir()):
            raise StateError(f"{state} is not empty: name a new folder, or move the old one away")
        if draft.exists():
            raise StateError(
                f"{draft} is left from an interrupted restore: remove it and run the restore again"
            )
        _put(folder / CONTENT, draft)
        if not same_trail:
            (draft / "audit" / TRAIL_ID).unlink(missing_ok=True)
            shutil.rmtree(draft / "audit" / POSITIONS, ignore_errors=True)
        if state.exists():
            state.rmdir()
        draft.rename(state)
        sync_folder(state.parent)
    except OSError as error:
        raise StateError(str(error)) from None
    return found


def _put(source: Path, target: Path) -> None:
    """Copy a tree (folders 0700, files 0600), and sync every file to disk."""
    target.mkdir(mode=0o700, parents=True)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(mode=0o700, exist_ok=True)
            continue
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with path.open("rb") as read, os.fdopen(descriptor, "wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(descriptor)


def _differences(content: Path, found: Manifest) -> list[str]:
    there = {file.path: file for file in manifest.measured(content)}
    told = {file.path: file for file in found.files}
    wrong = [f"{path} is missing" for path in told if path not in there]
    wrong += [f"{path} is not in the list" for path in there if path not in told]
    return wrong + [
        f"{path} is not what it was" for path in told if path in there and told[path] != there[path]
    ]


def _keys(content: Path) -> list[str]:
    if (content / "master.key").exists():
        MasterKey.load(content / "master.key")
    if (content / "audit-signing.key").exists():
        Signer.load(content / "audit-signing.key")
    return []


def _database(path: Path, major: int) -> list[str]:
    """Say what is wrong with a database, if there is one.

    :param major: the newest format that this version reads.
    """
    wrong: list[str] = []
    if not path.exists():
        return wrong
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            wrong.append(f"{path} is damaged")
        else:
            row = connection.execute("SELECT value FROM about WHERE name = 'version'").fetchone()
            if row is not None and int(str(row[0]).split(".")[0]) > major:
                wrong.append(f"{path} was written by a newer hospproxy (format {row[0]})")
    except sqlite3.Error as error:
        wrong.append(f"{path} is damaged: {error}")
    finally:
        connection.close()
    return wrong


def _trail(content: Path, found: Manifest, public_keys: list[Path]) -> list[str]:
    if not found.journals:
        return []
    own = content / "audit-signing.pub"
    keys = [*public_keys, *([own] if own.exists() else [])]
    if not keys:
        return ["the trail cannot be checked without its public key: give it with --public-key"]
    heads = [journal.head for journal in found.journals]
    return list(verify(content / "audit", PublicKeys.read(keys), heads).problems)

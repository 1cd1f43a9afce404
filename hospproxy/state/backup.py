"""Backs up the state folder of a running proxy. It blocks no request and changes nothing in the folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..copy.files import KEYS, RECORDS
from ..record.sinks.positions import FOLDER as POSITIONS
from ..record.trail.files import OsFiles, TrailFiles
from ..record.trail.identity import FILE as TRAIL_ID
from ..record.trail.names import PACKED, TOMBSTONE, FileName, of_journal, parse
from ..record.trail.scan import scan
from . import manifest
from .manifest import CONTENT, JournalFiles, Manifest, StateError

if TYPE_CHECKING:
    from ..config import Settings

_SMALL = ("master.key", "audit-signing.key", "audit-signing.pub", "self-signed.crt", "self-signed.key", "audit-users",
          "audit-page-password", "noticing.json", "status.json")  # fmt: skip
LEDGER = Path("ledger") / "ledger.sqlite"
COPY = (Path("copy") / RECORDS, Path("copy") / KEYS)
"""The copy of HOSP's records, in the order in which it is backed up."""


def backup(settings: Settings, folder: Path, wall: Callable[[], float]) -> Manifest:
    """Copy everything that a restore needs, in an order that keeps the copy consistent.

    The sinks' cursors go first, the ledger and the copy of HOSP's records next, and the trail last: the trail may then
    hold more records than the others refer to, never fewer. The index is made from the trail again.

    :param folder: the backup folder, created here; it must not exist, or be empty.
    :param wall: returns seconds since the Unix epoch.
    :raise StateError: there is nothing to copy, or it cannot be copied.
    """
    state = settings.state_dir
    if not state.is_dir():
        raise StateError(f"{state} is not a folder: name the state folder with --state, or its --config")
    taken = datetime.fromtimestamp(wall(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StateError(f"{folder} is not empty: name a new folder for the backup")
        content = folder / CONTENT
        content.mkdir(mode=0o700)
        _copy_small(settings, content)
        _copy_database(settings.ledger_path, content / LEDGER)
        for name in COPY:  # what is forgotten in between has no key in the backup
            _copy_database(settings.copy_path / name.name, content / name)
        journals = _copy_trail(settings.audit_path, content / "audit", OsFiles())
        made = Manifest(manifest.FORMAT, taken, manifest.measured(content), journals, _elsewhere(settings))
        manifest.write(folder, made)
    except (OSError, sqlite3.Error) as error:
        raise StateError(str(error)) from None
    return made


def _elsewhere(settings: Settings) -> list[str]:
    named = {
        "master_key_file": settings.master_key_file,
        "master_key_next_file": settings.master_key_next_file,
        "master_key_previous_file": settings.master_key_previous_file,
        "audit.signing_key_file": settings.audit.signing_key_file,
        "audit_page.users_file": settings.audit_page.users_file,
    }
    return [f"{name}: {path}" for name, path in named.items() if path is not None]


def _copy_small(settings: Settings, content: Path) -> None:
    state, trail = settings.state_dir, settings.audit_path
    for name in (*_SMALL, "admin/self-signed.crt", "admin/self-signed.key"):
        _copy(state / name, content / name)
    for path in sorted(state.glob("noticing-*.json")):  # one per further worker
        _copy(path, content / path.name)
    _copy(trail / TRAIL_ID, content / "audit" / TRAIL_ID)
    if (trail / POSITIONS).is_dir():
        for path in sorted((trail / POSITIONS).glob("*.json")):
            _copy(path, content / "audit" / POSITIONS / path.name)


def _copy(source: Path, target: Path) -> None:
    """Copy one small file, if it exists. The proxy replaces such files by renaming, so a read is never partial."""
    try:
        manifest.keep(target, source.read_bytes())
    except FileNotFoundError:
        return


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database with SQLite's backup API: a snapshot of one moment, even while the proxy writes."""
    if not source.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    read = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, timeout=30.0)
    written = sqlite3.connect(target)
    try:
        read.backup(written)
        # A single file without WAL, so that a reader without write access to the folder can open it.
        written.execute("PRAGMA journal_mode = DELETE")
    finally:
        written.close()
        read.close()


def _copy_trail(source: Path, target: Path, files: TrailFiles) -> list[JournalFiles]:
    """Copy every file of the trail; of each journal's last file only the part whose hash chain is intact."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = files.names(source) if source.is_dir() else []
    journals = sorted({name.journal for each in names if (name := parse(each)) is not None})
    return [_copy_journal(source, target, files, of_journal(names, journal)) for journal in journals]


def _copy_journal(source: Path, target: Path, files: TrailFiles, names: list[FileName]) -> JournalFiles:
    once = list({name.number: name for name in names if name.form != PACKED or _alone(name, names)}.values())
    for name in once[:-1]:
        _copy_whole(source, target, name)
    last = once[-1]
    if last.form == TOMBSTONE:
        raise StateError(f"{source / last.name}: the newest file of journal {last.journal} was removed")
    with _opened(files, source, last) as file:
        found = scan(file)
        file.seek(0)
        draft = file.read(found.size)
    manifest.keep(target / last.stem, draft)
    return JournalFiles(last.journal, found.head.seq, found.head.hash.decode())


def _alone(name: FileName, names: list[FileName]) -> bool:
    return not any(other.stem == name.stem and other.form != PACKED for other in names)


def _opened(files: TrailFiles, source: Path, name: FileName):  # type: ignore[no-untyped-def]  # a BinaryIO
    try:
        return files.read(source, name.name)
    except FileNotFoundError:  # the proxy has packed it meanwhile
        return files.read(source, name.stem + PACKED)


def _copy_whole(source: Path, target: Path, name: FileName) -> None:
    """Copy a completed file. Meanwhile the proxy may have packed it, or replaced it by its tombstone."""
    for form in dict.fromkeys((name.form, PACKED, TOMBSTONE)):
        try:
            with (source / (name.stem + form)).open("rb") as read:
                manifest.keep(target / (name.stem + form), b"")
                with (target / (name.stem + form)).open("wb") as written:
                    shutil.copyfileobj(read, written, 1 << 20)
                    written.flush()
                    os.fsync(written.fileno())
            return
        except FileNotFoundError:
            continue
    raise StateError(f"{source / name.name} was removed during the backup: run the backup again")

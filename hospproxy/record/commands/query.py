"""What ``search``, ``export`` and ``extract`` share: the source, the filters, and the record of the look."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from ...process import clocks
from ..search.filters import BadFilterError, Filters, parse
from ..search.rows import IndexRow
from .indexed_folder import folder_source
from .look_record import LookFailed, keep, look, who_asks
from .sources import RowSource, SourceError, say

_INSTALL = "pip install 'hospproxy[postgresql]'"
_WORDS = {
    "patient": "id of a patient; also matches lists that held the patient",
    "staff": "id or exact name of a member of staff whose password HOSP accepted",
    "claimed": "exact name that was claimed but not proved (log-in failures, early refusals)",
    "auditor": "exact name of a person who looked at the trail",
    "action": "create, read, update, delete, search, execute, or log-in failure",
    "outcome": "success, refused, unknown, …",
    "route": "path template of the contract, such as /patients/{id}",
    "resource": "notes, patients, …",
    "record_id": "id of the record",
    "request_id": "X-Request-Id of a response; also matches requests made on its behalf",
    "address": "IP address of the client",
    "kind": "request, own, finding, alert, look, gap, …",
    "status": "HTTP status of the response",
    "since": "date, or date and time (UTC unless it has an offset), inclusive",
    "until": "date, or date and time, exclusive",
}


@frozen(slots=True)
class SearchCommand:
    """A search, ready to run: its source, its filters, and the look that it must leave out.

    :param look: request id of the look's own record, which is left out: the result is the trail before the
        look.
    """

    source: RowSource
    filters: Filters
    look: str

    def rows(self) -> Iterator[IndexRow]:
        """All matching rows, newest first.

        :raise SourceError: the source cannot be read.
        """
        rows = self.source.rows(self.filters)
        return (row for row in rows if row.record.get("request_id") != self.look)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the source and all filters."""
    add_source(command)
    asked = add_filters(command, _WORDS)
    asked.add_argument("--own", action="store_true", help="include the proxy's own requests")
    asked.add_argument("--trouble", action="store_true", help="only failed log-ins, refusals and alerts")


def add_filters(command: argparse.ArgumentParser, names: Iterable[str]) -> argparse._ArgumentGroup:
    """Add the filters of these names, and return their group."""
    asked = command.add_argument_group("filters; a record must match all that are given")
    for name in names:
        option = "--" + name.replace("_", "-")
        asked.add_argument(option, action="append", default=[], metavar="VALUE", help=_WORDS[name])
    return asked


def add_source(command: argparse.ArgumentParser) -> None:
    """Add what names the trail, and how this look at it is recorded."""
    command.add_argument("source", metavar="SOURCE", help="the trail's folder, or the URL of the database")
    command.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file that holds the password of the database"
    )
    command.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="the index of the trail's folder (default: audit-index beside it, if there is one)",
    )
    command.add_argument(
        "--signing-key",
        type=Path,
        metavar="FILE",
        help="the proxy's private key, which signs the record of this look at the trail"
        " (default: audit-signing.key beside the trail's folder)",
    )
    command.add_argument(
        "--record-in",
        type=Path,
        metavar="DIR",
        help="the trail's folder, to record this look if SOURCE is a database",
    )


def pairs_of(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the filter options as names and texts; a command may lack some of them."""
    pairs = [(name, value) for name in _WORDS for value in getattr(arguments, name, ())]
    return pairs + [(name, "true") for name in ("own", "trouble") if getattr(arguments, name, False)]


def ask(arguments: argparse.Namespace, route: str, answer: Callable[[SearchCommand], int]) -> int:
    """Parse the filters, record the look, and only then answer.

    :return: the exit status: 1 if a part could not be read, 2 if nothing could be.
    """
    pairs = pairs_of(arguments)
    try:
        filters = parse(pairs)
        source = source_of(arguments.source, arguments.password_file, arguments.index)
    except BadFilterError as error:
        say(f"--{error.field.replace('_', '-')}: {error.words}")
        return 2
    except SourceError as error:
        say(str(error))
        return 2
    question = SearchCommand(source, filters, secrets.token_hex(16))
    _record(arguments, route, dict(pairs), question)
    try:
        status = answer(question)
    except SourceError as error:
        say(str(error))
        return 2
    return status or (1 if source.troubles else 0)


def _record(
    arguments: argparse.Namespace, route: str, filters: dict[str, Any], question: SearchCommand
) -> None:
    folder = arguments.record_in or question.source.folder
    if folder is None:
        say("this look is not recorded: give the trail's folder with --record-in")
        return
    key = arguments.signing_key or folder.absolute().parent / "audit-signing.key"
    record = look(route, filters, who_asks(), clocks.wall(), question.look)
    try:
        keep(record, folder, key, clocks.wall)
    except LookFailed as error:
        say(f"this look is not recorded: {error}")


def source_of(text: str, password_file: Path | None, index: Path | None = None) -> RowSource:
    """Open the source that an argument names.

    :param text: a folder, or the URL of a database.
    :param password_file: holds the password of the database, so that it need not be in the URL.
    :param index: folder of the index of the trail's folder; None for the one beside it.
    :raise SourceError: the text is none of these.
    """
    if "://" in text:
        try:
            from .indexed import database_of  # SQLAlchemy is slow to import
        except ImportError:
            raise SourceError(f"PostgreSQL needs the package sqlalchemy: {_INSTALL}") from None
        return database_of(text, password_file)
    path = Path(text)
    if path.is_dir():
        return folder_source(path, index)
    if path.is_file():
        raise SourceError(f"{text}: it is not a folder of journals; the index in SQLite is no longer used")
    raise SourceError(f"{text}: no such folder")

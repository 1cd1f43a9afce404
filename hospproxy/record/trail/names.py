"""File names of the journal: make and parse them.

``audit-w0-00000007-20261124T131536.123Z.jsonl`` is the seventh file of journal w0, begun at that time (UTC).
``.gz`` is the same file compressed; ``.tombstone`` replaces a file that was removed at the end of its
retention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import frozen

_NAME = re.compile(r"(audit-(w\d{1,4})-(\d{8})-(\d{8}T\d{6}\.\d{3}Z)\.jsonl)(|\.gz|\.tombstone)\Z")

PLAIN, PACKED, TOMBSTONE = "", ".gz", ".tombstone"


@frozen(slots=True)
class FileName:
    """A parsed file name of a journal: which file it is, and in which form.

    :param stem: the name that the file was begun with; records refer to the file by it.
    :param journal: "w0", "w1", …
    :param number: counts the files of a journal from 1.
    :param begun: when the file was begun, UTC.
    :param form: PLAIN, PACKED or TOMBSTONE.
    """

    stem: str
    journal: str
    number: int
    begun: datetime
    form: str

    @property
    def name(self) -> str:
        """The name in the folder, with the suffix of its form."""
        return self.stem + self.form


def parse(name: str) -> FileName | None:
    """Parse a file name; None if it does not belong to a journal."""
    match = _NAME.match(name)
    if match is None:
        return None
    stem, journal, number, begun, form = match.groups()
    try:
        moment = datetime.fromisoformat(
            begun
        )  # a folder may hold tens of thousands of files, and strptime is slow
    except ValueError:
        return None
    return FileName(stem, journal, int(number), moment, form)


def made(journal: str, number: int, seconds: float) -> str:
    """The name of a file that is begun now.

    :param seconds: since the epoch.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{start_of(journal, number)}{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z.jsonl"


def start_of(journal: str, number: int) -> str:
    """The common prefix of a file's names, whatever its form."""
    return f"audit-{journal}-{number:08d}-"


def of_journal(names: Iterable[str], journal: str) -> list[FileName]:
    """The files of one journal in order; a plain file comes before its compressed twin."""
    found = [file for name in names if (file := parse(name)) is not None and file.journal == journal]
    return sorted(
        found, key=lambda file: (file.number, file.stem, (PLAIN, PACKED, TOMBSTONE).index(file.form))
    )

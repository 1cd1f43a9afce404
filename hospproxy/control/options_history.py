"""The texts of the options files that were applied, in the state folder, so that ``undo`` can go back to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from ..folders import read_bounded, write_whole
from ..options.loader import MOST_BYTES

_log = Logger()
FOLDER: Final = "options"
"""In the state folder."""
MOST: Final = 20
"""Texts that are kept; the oldest is removed first."""
_NAME: Final = re.compile(r"(\d{6,12})\.toml")


class OptionsHistory:
    """A stack of texts, each in a private file (0600): they may hold secrets. All calls block.

    A crash between two steps leaves at most one text too many.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def texts(self) -> list[Path]:
        """Return the files, the oldest first.

        :raise OSError: the folder cannot be read.
        """
        if not self._folder.is_dir():
            return []
        named = [
            (int(found[1]), each) for each in self._folder.iterdir() if (found := _NAME.fullmatch(each.name))
        ]
        return [each for _, each in sorted(named)]

    def applied(self, content: bytes) -> None:
        """Put the text that is in force now on top, unless it is there already.

        :raise OSError: it cannot be stored.
        """
        kept = self.texts()
        if kept and self.read(kept[-1]) == content:
            return
        number = int(kept[-1].stem) + 1 if kept else 1
        write_whole(self._folder / f"{number:06}.toml", content)
        for each in kept[: max(0, len(kept) + 1 - MOST)]:
            each.unlink(missing_ok=True)

    def before(self, content: bytes) -> bytes | None:
        """Return the latest text that differs from the one in force; None if there is none.

        :param content: in force.
        :raise OSError: a text cannot be read.
        """
        for each in reversed(self.texts()):
            text = self.read(each)
            if text is not None and text != content:
                return text
        return None

    def gone_back_to(self, content: bytes) -> None:
        """Remove the texts above this one: it is in force again.

        :raise OSError: one cannot be removed.
        """
        for each in reversed(self.texts()):
            if self.read(each) == content:
                return
            each.unlink(missing_ok=True)

    @staticmethod
    def read(path: Path) -> bytes | None:
        """Return a text; None if it is longer than an options file may be, or gone.

        :raise OSError: it cannot be read.
        """
        try:
            return read_bounded(path, MOST_BYTES)
        except ValueError:
            _log.warn("{path} is too long and is ignored", path=str(path))
            return None

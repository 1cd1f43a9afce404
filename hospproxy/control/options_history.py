"""The texts of the options files that were applied, in the state folder, so that ``undo`` can go back to them.

An options file may hold secrets. A copy of it outlives their removal from the file, so it is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from ..keys.encryption import Seal, Unsealable
from ..keys.secrets import MasterKey
from ..options.loader import MOST_BYTES
from ..process.folders import read_bounded, write_whole

_log = Logger()
FOLDER: Final = "options"
"""In the state folder."""
MOST: Final = 20
"""Texts that are kept; the oldest is removed first."""
_NAME: Final = re.compile(r"(\d{6,12})\.sealed")
_SEALED_BYTES: Final = 64
"""More than a sealed text is longer than its plain text."""


class OptionsHistory:
    """A stack of texts, each sealed in a private file (0600). All calls block.

    A crash between two steps leaves at most one text too many.

    :param master: returns the master key; it is read when the first text is.
    """

    def __init__(self, state_dir: Path, master: Callable[[], MasterKey]) -> None:
        self._folder = state_dir / FOLDER
        self._master = master
        self._made: Seal | None = None

    @property
    def _seal(self) -> Seal:
        if self._made is None:
            self._made = Seal.of(self._master(), "options")
        return self._made

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
        :raise KeyFileError: the master key cannot be used.
        """
        kept = self.texts()
        if kept and self.read(kept[-1]) == content:
            return
        number = int(kept[-1].stem) + 1 if kept else 1
        path = self._folder / f"{number:06}.sealed"
        write_whole(path, self._seal.seal(content, path.name))
        for each in kept[: max(0, len(kept) + 1 - MOST)]:
            each.unlink(missing_ok=True)

    def before(self, content: bytes) -> bytes | None:
        """Return the latest text that differs from the one in force; None if there is none.

        :param content: in force.
        :raise OSError: a text cannot be read.
        :raise KeyFileError: the master key cannot be used.
        """
        for each in reversed(self.texts()):
            text = self.read(each)
            if text is not None and text != content:
                return text
        return None

    def gone_back_to(self, content: bytes) -> None:
        """Remove the texts above this one: it is in force again.

        :raise OSError: one cannot be removed.
        :raise KeyFileError: the master key cannot be used.
        """
        for each in reversed(self.texts()):
            if self.read(each) == content:
                return
            each.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes | None:
        """Return a text; None if it is gone, or cannot be used: sealed with another key, damaged, or too long.

        :raise OSError: it cannot be read.
        :raise KeyFileError: the master key cannot be used.
        """
        try:
            sealed = read_bounded(path, MOST_BYTES + _SEALED_BYTES)
            return None if sealed is None else self._seal.open(sealed, path.name)
        except (ValueError, Unsealable) as error:
            _log.warn("former options in {path} are ignored: {why}", path=str(path), why=str(error))
            return None

"""Where options come from: a file as it was read, and the flags that override it."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from .loader import NO_FLAGS, Overrides, content_of, parsed


@frozen(slots=True)
class OptionsSource:
    """The file and the flags from which options were made.

    :param file: the options file; None: there is none.
    :param content: of the file, as it was read. It may hold secrets.
    :param folder: relative paths are in this folder.
    """

    file: Path | None = None
    flags: Overrides = NO_FLAGS
    content: bytes = field(default=b"", repr=False)
    folder: Path = field(factory=Path.cwd)

    @property
    def document(self) -> dict[str, Any]:
        """The keys that the file sets, as TOML tables."""
        return {} if self.file is None else parsed(self.file, self.content)


@frozen(slots=True)
class OptionsState:
    """What happened to the options since the start; times are seconds since the epoch, 0: never.

    :param generation: how often changed options were applied.
    :param applied_at: when options were applied the last time.
    :param refused_at: when an options file was refused the last time.
    """

    generation: int = 0
    applied_at: float = 0.0
    refused_at: float = 0.0


NO_RELOAD: Final = OptionsState()
NO_SOURCE: Final = OptionsSource()
"""Of settings that a program has built itself."""


@define(slots=True)
class SecretEnvironment:
    """Takes secrets out of the environment, and keeps them: the options are read again at every reload.

    :param environment: os.environ; no child inherits what was taken.
    """

    environment: MutableMapping[str, str] = field(factory=lambda: os.environ, repr=False)
    _kept: dict[str, str] = field(factory=dict, repr=False)

    def take(self, name: str) -> str | None:
        """Return the value of a variable; None if it is not set. It is no longer in the environment then."""
        value = self.environment.pop(name, None)
        if value is not None:
            self._kept[name] = value
        return self._kept.get(name)

    @property
    def kept(self) -> Mapping[str, str]:
        """The variables that were taken, for a successor of this process."""
        return self._kept


NO_ENVIRONMENT: Final = SecretEnvironment({})
"""Of settings that name no variables."""


def source_of(file: Path | None, flags: Overrides = NO_FLAGS) -> OptionsSource:
    """Read the options file. Blocks.

    :raise ConfigError: it cannot be read.
    """
    if file is None:
        return OptionsSource(None, flags)
    return OptionsSource(file.absolute(), flags, content_of(file))

"""What a command may ask of the process that owns the state folder."""

from __future__ import annotations

from typing import Protocol

from ..config import Settings
from ..options.source import OptionsSource


class Owner(Protocol):
    """The only process of a proxy, or the supervisor of several workers."""

    @property
    def settings(self) -> Settings:
        """The options in force."""

    @property
    def source(self) -> OptionsSource:
        """Where they come from."""

"""What a command may ask of the process that owns the state folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..config import Settings
from ..record.admin_events import AdminTrail
from .options_reload import OptionsReload


class Replaceable(Protocol):
    """Lets another version take the place of this process."""

    async def replace(self, python: Path, progress: Callable[[str], object]) -> str:
        """Let a version take over; return it. This process ends once its connections have.

        :param python: its interpreter.
        :param progress: gets a sentence for each step.
        :raise ReplacementFailed: this process serves as before.
        """


class ReplacementFailed(Exception):
    """The running process was not replaced, and goes on. The text is one line for the operator."""


class Owner(Protocol):
    """The only process of a proxy, or the supervisor of several workers."""

    @property
    def options(self) -> OptionsReload:
        """The options in force, and the way to others."""

    @property
    def settings(self) -> Settings:
        """The options in force now; a reload replaces them."""

    @property
    def events(self) -> AdminTrail:
        """Where the audit trail says who has changed what."""

    @property
    def replaceable(self) -> Replaceable | None:
        """How it can be replaced; None: it cannot."""

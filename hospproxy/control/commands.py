"""The table of all commands of ``hospproxyctl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .command import Command
from .config_command import CONFIG
from .replace_commands import ROLLBACK, UPGRADE, VERSIONS
from .version_command import VERSION

COMMANDS: Final[Mapping[str, Command]] = {
    each.name: each for each in (VERSION, CONFIG, UPGRADE, ROLLBACK, VERSIONS)
}

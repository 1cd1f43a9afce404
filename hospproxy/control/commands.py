"""The table of all commands of ``hospproxyctl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .command import Command
from .config_command import CONFIG
from .diff_command import DIFF
from .log_command import LOG
from .reload_command import RELOAD
from .replace_commands import ROLLBACK, UPGRADE, VERSIONS
from .undo_command import UNDO
from .version_command import VERSION

COMMANDS: Final[Mapping[str, Command]] = {
    each.name: each for each in (VERSION, CONFIG, DIFF, RELOAD, UNDO, LOG, UPGRADE, ROLLBACK, VERSIONS)
}
